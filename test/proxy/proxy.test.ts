/** The proxy as a whole over a fake data plane: start, log, reload. */
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Config } from '../../src/config/schema.ts';
import type { Inspection } from '../../src/data-plane/data-plane.ts';
import { PgtlsError } from '../../src/errors.ts';
import { startProxy } from '../../src/proxy/proxy.ts';
import { config, proxyConfig } from '../data-plane/configuration.ts';
import { report } from '../data-plane/report-fixture.ts';
import { RawClient } from '../listener/fixture.ts';
import { CLIENT_HELLO, SSL_REQUEST, STARTUP } from '../negotiation/packets.ts';
import { captureLog, FakeDataPlane, type RunningFake, startFake } from './fixture.ts';

const running: RunningFake[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map(({ proxy }) => proxy.close()));
});

async function start(settings: Config, inspection?: () => Inspection): Promise<RunningFake> {
  const fake = await startFake(settings, inspection);
  running.push(fake);
  return fake;
}

function connect(fake: RunningFake, index = 0): RawClient {
  return new RawClient(fake.proxy.addresses[index]?.address ?? '');
}

/** Holds reloads up until the answer is called. */
function closeGate(fake: RunningFake): () => void {
  let open = () => {};
  fake.dataPlane.reloadGate = new Promise((resolve) => {
    open = resolve;
  });
  return () => open();
}

const DEBUG = { logLevel: 'debug' } as const;

describe('the start of a proxy', () => {
  it('binds every address of every route and says so with the real port', async () => {
    const loopback = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
    const a = proxyConfig('a', { bindAddresses: [loopback, loopback] });
    const fake = await start(config([a, proxyConfig('b')]));
    expect(fake.proxy.addresses.map(({ route }) => route)).toEqual(['a', 'a', 'b']);
    const bound = fake.log.filter(({ event }) => event === 'listener.bind');
    expect(bound.map(({ route, listener_addr }) => ({ route, address: listener_addr }))).toEqual(
      fake.proxy.addresses,
    );
    expect(fake.proxy.addresses[0]?.address).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
  });

  it('binds nothing when the data plane refuses the configuration', async () => {
    const { log, logger } = captureLog('info');
    const refusal = new PgtlsError('PGTLS_TLS_CONFIG_INVALID', 'the key does not match');
    const started = startProxy(config([proxyConfig('a')]), {
      logger,
      createDataPlane: () => Promise.reject(refusal),
    });
    await expect(started).rejects.toBe(refusal);
    expect(log).toEqual([]);
  });

  it('starts no data plane when an access list is wrong, and names the route', async () => {
    const createDataPlane = vi.fn();
    const { logger } = captureLog('info');
    const settings = config([proxyConfig('a'), proxyConfig('b', { deny: ['nonsense'] })]);
    await expect(startProxy(settings, { logger, createDataPlane })).rejects.toMatchObject({
      code: 'PGTLS_CONFIG_INVALID',
      message: expect.stringMatching(/^proxy "b".*nonsense/),
    });
    expect(createDataPlane).not.toHaveBeenCalled();
  });

  it('leaves nothing behind when one of its ports is in use', async () => {
    const first = await start(config([proxyConfig('first')]));
    const port = Number(first.proxy.addresses[0]?.address.split(':').at(-1));
    const taken = { kind: 'tcp', host: '127.0.0.1', port } as const;
    const dataPlanes: FakeDataPlane[] = [];
    const { logger } = captureLog('info');
    const settings = config([
      proxyConfig('a'),
      proxyConfig('b', { bindAddresses: [taken, taken] }),
    ]);
    const started = startProxy(settings, {
      logger,
      createDataPlane: async (options, onEvent) => {
        const dataPlane = new FakeDataPlane(options, onEvent);
        dataPlanes.push(dataPlane);
        return dataPlane;
      },
    });
    const line = `proxy "b" cannot listen on 127.0.0.1:${port}: .*`;
    await expect(started).rejects.toMatchObject({
      code: 'PGTLS_BIND_FAILED',
      message: expect.stringMatching(new RegExp(`^${line}\n${line}$`)),
    });
    expect(dataPlanes.map(({ calls }) => calls)).toEqual([['close']]);
  });

  it('warns loudly of a certificate that has expired or is doubtful', async () => {
    const identity = {
      routeId: 0,
      role: 'listener' as const,
      path: 'listener.ssl_cert_file[0]',
      hostnames: [],
      file: '/tls/server.crt',
      subject: 'CN=db',
      sans: [],
      issuer: 'CN=ca',
      chainLength: 1,
      notBeforeSeconds: 0,
      notAfterSeconds: 86_400,
      sha256: '00',
      staple: null,
    };
    const current = { ...identity, notAfterSeconds: 4e9 };
    const fake = await start(config([proxyConfig('a')]), () => ({
      problems: [],
      warnings: [{ routeId: 0, path: 'listener.ssl_ocsp_file', message: 'REVOKED' }],
      identities: [identity, current],
      dated: [],
    }));
    expect(fake.log.filter(({ event }) => event === 'cert.warning')).toEqual([
      expect.objectContaining({
        level: 'warn',
        route: 'a',
        key: 'listener.ssl_ocsp_file',
        msg: 'REVOKED',
      }),
    ]);
    expect(fake.log.filter(({ event }) => event === 'cert.expired')).toEqual([
      expect.objectContaining({
        level: 'warn',
        route: 'a',
        file: '/tls/server.crt',
        not_after: '1970-01-02T00:00:00.000Z',
      }),
    ]);
  });
});

describe('a CA or CRL that has expired', () => {
  it('is warned of loudly, at the start and at every reload', async () => {
    const crl = {
      routeId: 0,
      path: 'listener.ssl_crl_file',
      file: '/tls/crl.pem',
      kind: 'crl' as const,
      subject: 'CN=ca',
      fromSeconds: 0,
      untilSeconds: 86_400,
    };
    const dated = [
      crl,
      { ...crl, untilSeconds: 4e9 },
      { ...crl, kind: 'authority' as const, path: 'listener.ssl_ca_file' },
    ];
    const fake = await start(config([proxyConfig('a')]), () => ({
      problems: [],
      warnings: [],
      identities: [],
      dated,
    }));
    const warned = () => fake.log.filter(({ level, event }) => level === 'warn' && event !== null);
    expect(warned()).toEqual([
      expect.objectContaining({
        event: 'crl.expired',
        route: 'a',
        key: 'listener.ssl_crl_file',
        subject: 'CN=ca',
        not_after: '1970-01-02T00:00:00.000Z',
      }),
      expect.objectContaining({ event: 'cert.expired', key: 'listener.ssl_ca_file' }),
    ]);
    await fake.proxy.reloadCertificates();
    expect(warned()).toHaveLength(4);
  });
});

describe('a connection', () => {
  it('is handed to the data plane with the id of its route, and ids of its own', async () => {
    const fake = await start(config([proxyConfig('a'), proxyConfig('b')]));
    await connect(fake, 1).send(STARTUP);
    await vi.waitFor(() => expect(fake.dataPlane.handoffs).toHaveLength(1));
    await connect(fake, 0).send(STARTUP);
    await vi.waitFor(() => expect(fake.dataPlane.handoffs).toHaveLength(2));
    const ids = fake.dataPlane.handoffs.map(({ connectionId, routeId }) => [connectionId, routeId]);
    expect(ids).toEqual([
      [1, 1],
      [2, 0],
    ]);
  });

  it('is followed through accept and negotiation at debug', async () => {
    const fake = await start(config([proxyConfig('a')], DEBUG));
    await connect(fake).send(SSL_REQUEST);
    const address = fake.proxy.addresses[0]?.address;
    expect(await fake.line('conn.accept')).toMatchObject({
      level: 'debug',
      connection_id: 1,
      route: 'a',
      client_addr: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      listener_addr: address,
    });
    expect(await fake.line('negotiate')).toMatchObject({
      encryption: 'negotiated',
      is_cancel: false,
    });
    expect(fake.dataPlane.options.reportTlsEstablished).toBe(true);
  });

  it('is one line at info: its end, from the report', async () => {
    const fake = await start(config([proxyConfig('a')]));
    fake.dataPlane.emit({ type: 'connections-closed', reports: [report()] });
    expect(await fake.line('conn.close')).toMatchObject({
      level: 'info',
      route: 'a',
      connection_id: 5,
      reason: 'client_terminated',
    });
    expect(fake.dataPlane.options.reportTlsEstablished).toBe(false);
  });

  it('is one line at info also when the negotiation ended it', async () => {
    const fake = await start(config([proxyConfig('a', { sslmode: 'require' })]));
    await connect(fake).send(STARTUP);
    expect(await fake.line('conn.close')).toMatchObject({
      level: 'info',
      route: 'a',
      phase: 'negotiate',
      reason: 'tls_required',
      sqlstate: '28000',
      bytes_in: STARTUP.length,
      bytes_out: 0,
    });
  });

  it('without a byte is logged at debug only', async () => {
    const fake = await start(config([proxyConfig('a')], DEBUG));
    connect(fake).socket.end();
    expect(await fake.line('conn.close')).toMatchObject({ level: 'debug', reason: 'tcp_probe' });
  });

  it('without a byte is quiet also when the deadline ends it', async () => {
    const fake = await start(
      config([proxyConfig('a')], { ...DEBUG, clientLoginTimeoutMillis: 50 }),
    );
    connect(fake);
    expect(await fake.line('conn.close')).toMatchObject({
      level: 'debug',
      reason: 'login_timeout',
    });
  });

  it('whose TLS fails is a warning with peer, route and alert, and the next ones are counted', async () => {
    const fake = await start(config([proxyConfig('a')]));
    const alert = { direction: 'received', side: 'client', description: 'unknown_ca' } as const;
    for (const port of [1, 2, 3]) {
      const failed = report({
        alert,
        clientAddr: `192.0.2.1:${port}`,
        reason: 'client_tls_failed',
      });
      fake.dataPlane.emit({ type: 'connections-closed', reports: [failed] });
    }
    const other = report({ alert, clientAddr: '192.0.2.9:1', reason: 'client_tls_failed' });
    fake.dataPlane.emit({ type: 'connections-closed', reports: [other] });
    await fake.proxy.close();
    const lines = fake.log.filter(({ event }) => event === 'conn.close');
    expect(lines.map(({ client_addr, repeated }) => [client_addr, repeated])).toEqual([
      ['192.0.2.1:1', undefined],
      ['192.0.2.9:1', undefined],
      ['192.0.2.1:3', 2],
    ]);
    expect(lines[0]).toMatchObject({ level: 'warn', route: 'a', alert: 'unknown_ca' });
  });

  it('that established TLS is a debug line for each side', async () => {
    const fake = await start(config([proxyConfig('a')], DEBUG));
    const tls = report().clientTls;
    if (tls !== null) {
      const ids = { connectionId: 5, routeId: 0 };
      fake.dataPlane.emit({ type: 'tls-established', ...ids, side: 'client', tls });
      fake.dataPlane.emit({ type: 'tls-established', ...ids, side: 'backend', tls });
    }
    expect(await fake.line('tls.client')).toMatchObject({ level: 'debug', tls_version: 'TLSv1.3' });
    expect(await fake.line('tls.backend')).toMatchObject({ level: 'debug', connection_id: 5 });
  });

  it('that broke a worker is an error', async () => {
    const fake = await start(config([proxyConfig('a')]));
    fake.dataPlane.emit({ type: 'worker-restarted', worker: 2, reason: 'panic' });
    expect(await fake.line('worker.restart')).toMatchObject({ level: 'error', worker: 2 });
  });

  it('that broke a thread which went on is an error', async () => {
    const fake = await start(config([proxyConfig('a')]));
    fake.dataPlane.emit({ type: 'thread-restarted', thread: 'pgtls-keeper', reason: 'panic' });
    const line = { level: 'error', thread: 'pgtls-keeper', reason: 'panic' };
    expect(await fake.line('thread.restart')).toMatchObject(line);
  });

  it('of one route that is refused leaves the other route alone', async () => {
    const fake = await start(config([proxyConfig('a', { sslmode: 'disable' }), proxyConfig('b')]));
    vi.spyOn(fake.dataPlane, 'adopt');
    await connect(fake, 0).send(CLIENT_HELLO);
    expect(await fake.line('conn.close')).toMatchObject({
      route: 'a',
      reason: 'direct_tls_refused',
    });
    await connect(fake, 1).send(CLIENT_HELLO);
    await vi.waitFor(() => expect(fake.dataPlane.handoffs).toHaveLength(1));
  });
});

describe('certificates', () => {
  it('are read again on request, with the same routes', async () => {
    const fake = await start(config([proxyConfig('a'), proxyConfig('b')]));
    await fake.proxy.reloadCertificates();
    expect(fake.dataPlane.reloads).toEqual([fake.dataPlane.options.routes]);
    expect(await fake.line('cert.reload')).toMatchObject({ level: 'info', result: 'success' });
  });

  it('stay as they are when reading them fails, and the log says why', async () => {
    const fake = await start(config([proxyConfig('a')]));
    fake.dataPlane.failReload = new PgtlsError('PGTLS_TLS_CONFIG_INVALID', 'no PEM in it');
    await fake.proxy.reloadCertificates();
    expect(await fake.line('cert.reload')).toMatchObject({
      level: 'error',
      result: 'failure',
      err: { code: 'PGTLS_TLS_CONFIG_INVALID', message: 'no PEM in it' },
    });
  });

  it('are told with their expiry once they have been read again', async () => {
    const identity = {
      routeId: 0,
      role: 'listener' as const,
      path: 'listener.ssl_cert_file[0]',
      hostnames: [],
      file: '/tls.crt',
      subject: 'CN=db.example.com',
      sans: [],
      issuer: 'CN=Test CA',
      chainLength: 1,
      notBeforeSeconds: 0,
      notAfterSeconds: Date.UTC(2100, 0, 1) / 1000,
      sha256: '',
      staple: null,
    };
    const inspection = () => ({ problems: [], warnings: [], identities: [identity], dated: [] });
    const fake = await startFake(config([proxyConfig('a')]), inspection);
    onTestFinished(() => fake.proxy.close());
    expect(fake.log.filter(({ event }) => event === 'cert.loaded')).toEqual([]);
    await fake.proxy.reloadCertificates();
    expect(await fake.line('cert.loaded')).toMatchObject({
      level: 'info',
      route: 'a',
      role: 'listener',
      file: '/tls.crt',
      subject: 'CN=db.example.com',
      not_after: '2100-01-01T00:00:00.000Z',
    });
  });

  it('are read by one at a time, and once more for all who asked meanwhile', async () => {
    const fake = await start(config([proxyConfig('a')]));
    const open = closeGate(fake);
    const first = fake.proxy.reloadCertificates();
    const others = [fake.proxy.reloadCertificates(), fake.proxy.reloadCertificates()];
    await new Promise(setImmediate);
    expect(fake.dataPlane.reloads).toHaveLength(1);
    open();
    await Promise.all([first, ...others]);
    expect(fake.dataPlane.reloads).toHaveLength(2);
    await fake.proxy.reloadCertificates();
    expect(fake.dataPlane.reloads).toHaveLength(3);
  });

  it('are not read again by those who waited when the proxy closes, and nothing is told', async () => {
    const fake = await start(config([proxyConfig('a')]));
    const open = closeGate(fake);
    fake.dataPlane.failReload = new PgtlsError('PGTLS_CLOSED', 'closed meanwhile');
    const reloads = [fake.proxy.reloadCertificates(), fake.proxy.reloadCertificates()];
    await fake.proxy.close();
    open();
    await Promise.all(reloads);
    expect(fake.dataPlane.reloads).toHaveLength(1);
    expect(fake.log.filter(({ event }) => event === 'cert.reload')).toEqual([]);
  });

  it('are read again at the shortest interval of all routes, until the proxy closes', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const routes = [30_000, 0, 10_000].map((certRefreshIntervalMillis, index) =>
        proxyConfig(`r${index}`, { certRefreshIntervalMillis }),
      );
      const fake = await start(config(routes));
      await vi.advanceTimersByTimeAsync(35_000);
      expect(fake.dataPlane.reloads).toHaveLength(3);
      await fake.proxy.close();
      await vi.advanceTimersByTimeAsync(35_000);
      expect(fake.dataPlane.reloads).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a reload', () => {
  it('adds and removes listeners, and gives routes the ids of their names', async () => {
    const fake = await start(config([proxyConfig('a'), proxyConfig('b')]));
    await fake.proxy.reload(config([proxyConfig('c'), proxyConfig('b')]));
    expect(fake.proxy.addresses.map(({ route }) => route)).toEqual(['c', 'b']);
    const [routes = []] = fake.dataPlane.reloads;
    expect(routes.map(({ name, routeId }) => [name, routeId])).toEqual([
      ['c', 2],
      ['b', 1],
    ]);
    expect(await fake.line('config.reload')).toMatchObject({ result: 'success', routes: 2 });
  });

  it('that fails rejects with the reason, and leaves everything as it was', async () => {
    const fake = await start(config([proxyConfig('a')]));
    const before = fake.proxy.addresses;
    fake.dataPlane.failReload = new PgtlsError('PGTLS_TLS_CONFIG_INVALID', 'no PEM in it');
    const next = config([proxyConfig('a'), proxyConfig('b')]);
    await expect(fake.proxy.reload(next)).rejects.toThrow('no PEM in it');
    expect(fake.proxy.addresses).toEqual(before);
    expect(await fake.line('config.reload')).toMatchObject({ level: 'error', result: 'failure' });
  });

  it('holds connections to new addresses back until it is decided', async () => {
    const fake = await start(config([proxyConfig('a')]));
    const open = closeGate(fake);
    const reload = fake.proxy.reload(config([proxyConfig('a'), proxyConfig('b')]));
    await vi.waitFor(() => expect(fake.dataPlane.reloads).toHaveLength(1));
    expect(fake.proxy.addresses).toHaveLength(1);
    open();
    await reload;
    await connect(fake, 1).send(STARTUP);
    await vi.waitFor(() => expect(fake.dataPlane.handoffs).toHaveLength(1));
    expect(fake.dataPlane.handoffs[0]).toMatchObject({ routeId: 1 });
  });
});

describe('a snapshot', () => {
  it('counts the connections that still negotiate', async () => {
    const fake = await start(config([proxyConfig('a')]));
    expect(fake.proxy.snapshot()).toMatchObject({ negotiating: 0, liveSessions: 0 });
    const client = connect(fake);
    await vi.waitFor(() => expect(fake.proxy.snapshot().negotiating).toBe(1));
    client.socket.destroy();
    await vi.waitFor(() => expect(fake.proxy.snapshot().negotiating).toBe(0));
  });
});
