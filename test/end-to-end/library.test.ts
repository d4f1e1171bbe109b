/** createProxy with real PostgreSQL: sessions are told and counted, reloads leave them alone, drains report, two proxies share a process. */
import { createPrivateKey } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../src/cli/demo/free-port.ts';
import {
  createProxy,
  type PgtlsConfigInput,
  type PgtlsProxy,
  type SessionReport,
} from '../../src/index.ts';
import { ListenerTls } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectPg } from '../support/pg-client.ts';
import { openNegotiatedTls, openTcp } from '../support/raw-client.ts';
import { until } from '../support/until.ts';

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

function config(name: string): PgtlsConfigInput {
  return {
    shutdown_timeout: 60,
    proxy: [
      {
        name,
        listener: {
          bind_address: '127.0.0.1:0',
          sslmode: 'require',
          ssl_cert_file: tls.server.certFile,
          ssl_key_file: tls.server.keyFile,
        },
        backend: {
          address: `localhost:${material().tls.port}`,
          sslmode: 'verify-full',
          sslrootcert: material().caFile,
        },
      },
    ],
  };
}

interface Embedded {
  readonly proxy: PgtlsProxy;
  readonly port: number;
  readonly sessions: SessionReport[];
}

async function embed(name = 'embedded'): Promise<Embedded> {
  const proxy = createProxy(config(name));
  onTestFinished(() => proxy.close());
  const sessions: SessionReport[] = [];
  proxy.on('session', (report) => sessions.push(report));
  const [bound] = await proxy.listen();
  return { proxy, port: Number(bound?.address.split(':').at(-1)), sessions };
}

function connect(port: number) {
  return connectPg({ port, ssl: tls.clientOptions, application_name: 'library' });
}

test('a session is counted while it lives, and told of when it is over', async () => {
  const { proxy, port, sessions } = await embed();
  const client = await connect(port);
  await client.query("select repeat('x', 10000)");
  expect(proxy.stats()).toMatchObject({
    sessions: { live: 1, negotiating: 0 },
    workers: { running: 1, restarts: 0 },
    routes: [
      {
        connections: { negotiating: 0, login: 0, session: 1 },
        accepted: 1,
        clientHandshakes: { succeeded: 1, resumed: 0, failed: {} },
        backendHandshakes: { succeeded: 1 },
      },
    ],
  });
  await client.end();
  const report = await until('the session is told of', () => sessions[0]);
  expect(report).toMatchObject({
    route: 'embedded',
    clientAddr: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
    backend: null,
    serverName: 'localhost',
    user: 'trusted',
    database: 'postgres',
    applicationName: 'library',
    clientTls: { version: 'TLSv1.3', resumed: false, peerCertificate: null },
    backendTls: { version: 'TLSv1.3', peerCertificate: { sha256: expect.any(String) } },
    phase: 'relay',
    reason: 'client_closed',
    faultSide: null,
    error: null,
    isCancel: false,
  });
  expect(Object.keys(report)).not.toContain('routeId');
  const [route] = proxy.stats().routes;
  expect(route).toMatchObject({ closed: { client_closed: 1 }, bytesOut: report.bytesOut });
  expect(route?.bytesOut).toBeGreaterThan(10_000);
});

test('the numbers are those of /status and /metrics', async () => {
  const port = await freePort();
  const admin = { bind_address: `127.0.0.1:${port}` };
  const proxy = createProxy({ ...config('counted'), admin });
  onTestFinished(() => proxy.close());
  const [bound] = await proxy.listen();
  const to = Number(bound?.address.split(':').at(-1));
  const client = await connect(to);
  await client.query("select repeat('x', 5000)");
  const refused = await openNegotiatedTls(to, tls.clientOptions);
  refused.destroy();
  const probe = await openTcp(to);
  probe.destroy();
  const sum = (counts: Readonly<Record<string, number>>) =>
    Object.values(counts).reduce((total, count) => total + count, 0);
  await until('both are over', () => sum(proxy.stats().routes[0]?.closed ?? {}) === 2);

  const { sessions, routes, certificates, workers } = proxy.stats();
  const [route] = routes;
  const get = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  const status = JSON.parse(await get('/status'));
  expect(status).toMatchObject({
    sessions,
    workers,
    routes: [{ listeners: route?.addresses, backends: route?.backends, bytes_in: route?.bytesIn }],
  });
  expect(status.certificates.map(({ not_after }: { not_after: string }) => not_after)).toEqual(
    certificates.map(({ notAfter }) => notAfter?.toISOString()),
  );
  const metrics = (await get('/metrics')).split('\n');
  expect(route?.accepted).toBe(3);
  expect(metrics).toContain('pgtls_client_connections_accepted_total{route="counted"} 3');
  expect(metrics).toContain(
    `pgtls_bytes_total{route="counted",direction="out"} ${route?.bytesOut}`,
  );
  for (const [reason, count] of Object.entries(route?.closed ?? {})) {
    const labels = `route="counted",reason="${reason}"`;
    expect(metrics).toContain(`pgtls_client_connections_closed_total{${labels}} ${count}`);
  }
});

test('the certificates are told at the start, and again when their file changes', async () => {
  const files = await tls.issue('renewed', { commonName: 'localhost', names: ['localhost'] });
  const proxy = createProxy(config('renewed'));
  onTestFinished(() => proxy.close());
  const told: (Date | null)[] = [];
  proxy.on('certificates', (certificates) => {
    const shown = certificates.find(({ role }) => role === 'listener');
    told.push(shown?.notAfter ?? null);
  });
  await proxy.listen();
  expect(told).toHaveLength(1);
  const roles = proxy.stats().certificates.map(({ role }) => role);
  expect(roles).toEqual(['listener', 'authority']);
  tls.write('server.crt', readFileSync(files.certFile, 'utf8'));
  tls.write('server.key', readFileSync(files.keyFile, 'utf8'), 0o600);
  await until('the renewed one is told', () => told.length > 1);
  expect(proxy.stats().reloads.certificates).toMatchObject({ succeeded: 1, failed: 0 });
});

test('a reload to another address leaves sessions alone', async () => {
  const { proxy, port } = await embed();
  const client = await connect(port);
  await proxy.reload(config('other'));
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  expect(proxy.stats()).toMatchObject({ sessions: { live: 1 }, routes: [{ name: 'other' }] });
  await client.end();
});

test('a drain reports who finished and who was cut', async () => {
  const { proxy, port, sessions } = await embed();
  const [patient, stubborn] = [await connect(port), await connect(port)];
  await patient.query('begin');
  await stubborn.query('begin');
  const drained = proxy.drain({ timeout: '2s' });
  await patient.end();
  expect(await drained).toEqual({ drained: 1, cut: 1 });
  expect(sessions.map(({ reason }) => reason).sort()).toEqual(['client_closed', 'drained']);
  expect(sessions.find(({ sqlstate }) => sqlstate !== null)?.sqlstate).toBe('57P01');
  expect(proxy.stats()).toMatchObject({
    phase: 'closed',
    workers: { running: 0 },
    sessions: { live: 0, negotiating: 0 },
    routes: [
      {
        connections: { negotiating: 0, login: 0, session: 0 },
        closed: { client_closed: 1, drained: 1 },
      },
    ],
  });
});

test('close in the middle of a drain ends it, and its report says whom that cut', async () => {
  const { proxy, port } = await embed();
  const events: unknown[] = [];
  proxy.on('close', (report) => events.push(report));
  await connect(port);
  const drained = proxy.drain();
  const isAccepting = () =>
    openTcp(port).then(
      (channel) => {
        channel.destroy();
        return true;
      },
      () => false,
    );
  await until('nobody is let in any more', async () => !(await isAccepting()));
  await proxy.close();
  expect(await drained).toEqual({ drained: 0, cut: 1 });
  expect(events).toEqual([{ drained: 0, cut: 1 }]);
});

test('close does not wait for a passphrase command of the start, which is refused afterwards', async () => {
  const passphrase = 'open sesame';
  const locked = createPrivateKey(readFileSync(tls.server.keyFile)).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase,
  });
  const listener = {
    bind_address: '127.0.0.1:0',
    ssl_cert_file: tls.server.certFile,
    ssl_key_file: tls.write('locked.key', String(locked), 0o600),
  };
  const begun = join(tls.directory, 'begun');
  const command = `touch ${begun}; while [ -e ${begun} ]; do sleep 0.05; done; echo ${passphrase}`;
  const proxy = createProxy({
    proxy: [
      {
        listener: { ...listener, ssl_passphrase_command: command },
        backend: { address: '127.0.0.1:1', sslmode: 'disable' },
      },
    ],
  });
  onTestFinished(() => proxy.close());
  const listening = proxy.listen();
  const refused = expect(listening).rejects.toMatchObject({ code: 'PGTLS_CLOSED' });
  await until('the command runs', () => existsSync(begun));
  await proxy.close();
  expect(existsSync(begun)).toBe(true);
  expect(proxy.stats().phase).toBe('closed');
  rmSync(begun);
  await refused;
});

test('two proxies in one process serve, reload and end apart from each other', async () => {
  const [one, two] = [await embed('one'), await embed('two')];
  const [first, second] = [await connect(one.port), await connect(two.port)];
  await Promise.all([one.proxy.reload(), two.proxy.reload()]);
  await first.end();
  await until('its end is told', () => one.sessions.length === 1);
  await one.proxy.close();
  expect((await second.query('select 2 as two')).rows).toEqual([{ two: 2 }]);
  const third = await connect(two.port);
  await Promise.all([second.end(), third.end()]);
  await until('their ends are told', () => two.sessions.length === 2);
  expect(two.sessions.map(({ route }) => route)).toEqual(['two', 'two']);
  expect(one.sessions).toHaveLength(1);
});
