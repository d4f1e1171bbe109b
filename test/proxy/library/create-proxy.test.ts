/** createProxy without a PostgreSQL: what may be called when, what is refused, who is told, and that nobody else is bothered. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  type CreateProxyOptions,
  createProxy,
  type PgtlsConfig,
  type PgtlsConfigInput,
  PgtlsError,
  type PgtlsProxy,
  type ProxyHooks,
} from '../../../src/index.ts';
import { ListenerTls } from '../../support/config.ts';
import { openTcp } from '../../support/raw-client.ts';

const PLAIN = { bind_address: '127.0.0.1:0', sslmode: 'disable' } as const;
const NOWHERE = { address: '127.0.0.1:1', sslmode: 'disable' } as const;
const CONFIG: PgtlsConfigInput = { proxy: [{ name: 'a', listener: PLAIN, backend: NOWHERE }] };

function proxyFor(config: PgtlsConfig = CONFIG, options: CreateProxyOptions = {}): PgtlsProxy {
  const proxy = createProxy(config, options);
  onTestFinished(() => proxy.close());
  return proxy;
}

/** Names of events as they come. */
function recorded(proxy: PgtlsProxy): string[] {
  const events: string[] = [];
  for (const event of ['listening', 'reload', 'certificates', 'drain', 'close'] as const) {
    proxy.on(event, () => events.push(event));
  }
  return events;
}

function portOf(addresses: readonly { address: string }[]): number {
  return Number(addresses[0]?.address.split(':').at(-1));
}

/** A folder that is gone when the test ends. */
function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'pgtls-library-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const toml = (name: string) => `
[[proxy]]
name = "${name}"
listener = { bind_address = "127.0.0.1:0", sslmode = "disable" }
backend = { address = "\${BACKEND}", sslmode = "disable" }
`;

/** Node.js's own answer to what nobody catches, for one test. */
function uncaught(): unknown[] {
  const errors: unknown[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const note = (error: unknown) => void errors.push(error);
  process.on('uncaughtException', note);
  onTestFinished(() => {
    process.off('uncaughtException', note);
    for (const listener of others) {
      process.on('uncaughtException', listener);
    }
  });
  return errors;
}

describe('the life of a proxy', () => {
  it('is told in events and in stats', async () => {
    const proxy = proxyFor();
    const events = recorded(proxy);
    expect(proxy.stats()).toMatchObject({ phase: 'idle', routes: [], sessions: { limit: null } });
    const listening = proxy.listen();
    expect(proxy.stats().phase).toBe('starting');
    const addresses = await listening;
    expect(addresses).toEqual([{ route: 'a', address: expect.stringMatching(/^127.0.0.1:\d+$/) }]);
    expect(proxy.stats()).toMatchObject({
      phase: 'ready',
      routes: [{ name: 'a', addresses: [addresses[0]?.address], backends: ['127.0.0.1:1'] }],
    });
    await proxy.reload();
    expect(proxy.stats().reloads.config).toMatchObject({ succeeded: 1, failed: 0 });
    const draining = proxy.drain();
    expect(proxy.stats().phase).toBe('draining');
    expect(await draining).toEqual({ drained: 0, cut: 0 });
    expect(proxy.stats()).toMatchObject({ phase: 'closed', routes: [{ name: 'a' }] });
    expect(events).toEqual([
      'certificates',
      'listening',
      'certificates',
      'reload',
      'reload',
      'drain',
      'close',
    ]);
  });

  it('can end before it has begun', async () => {
    const drained = proxyFor();
    expect(await drained.drain()).toEqual({ drained: 0, cut: 0 });
    await expect(drained.listen()).rejects.toMatchObject({ code: 'PGTLS_CLOSED' });
    const closed = proxyFor();
    await closed.close();
    await expect(closed.listen()).rejects.toMatchObject({ code: 'PGTLS_CLOSED' });
    expect(closed.stats().phase).toBe('closed');
  });

  it.each(['close', 'drain'] as const)(
    'can end by %s() in the middle of its start',
    async (end) => {
      const proxy = proxyFor();
      const events = recorded(proxy);
      const listening = proxy.listen();
      const refused = expect(listening).rejects.toMatchObject({ code: 'PGTLS_CLOSED' });
      await proxy[end]();
      await refused;
      expect(events).toEqual(expect.arrayContaining(['drain', 'close']));
      expect(events).not.toContain('listening');
    },
  );

  it('ends at the end of a block, by await using', async () => {
    const proxy = proxyFor();
    await proxy.listen();
    await proxy[Symbol.asyncDispose]();
    expect(proxy.stats().phase).toBe('closed');
  });

  it('goes on after a start that failed, with what is there by then', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const listener = { ...PLAIN, bind_address: `127.0.0.1:${port}` };
    const proxy = proxyFor({ proxy: [{ listener, backend: NOWHERE }] });
    await expect(proxy.listen()).rejects.toMatchObject({
      code: 'PGTLS_BIND_FAILED',
      message: expect.stringContaining(String(port)),
    });
    expect(proxy.stats().phase).toBe('idle');
    taken.close();
    await once(taken, 'close');
    expect(portOf(await proxy.listen())).toBe(port);
  });

  it('is not that of another one in the same process', async () => {
    const [one, two] = [proxyFor(), proxyFor()];
    await Promise.all([one.listen(), two.listen()]);
    await one.close();
    const channel = await openTcp(portOf([{ address: two.stats().routes[0]?.addresses[0] ?? '' }]));
    channel.destroy();
    await vi.waitFor(() => expect(two.stats().routes[0]?.accepted).toBe(1));
    expect(one.stats().routes[0]?.accepted).toBe(0);
    await two.reload();
  });
});

describe('misuse', () => {
  it('is refused by its code', async () => {
    const proxy = proxyFor();
    await expect(proxy.reload()).rejects.toMatchObject({ code: 'PGTLS_NOT_LISTENING' });
    const listening = proxy.listen();
    await expect(proxy.listen()).rejects.toMatchObject({ code: 'PGTLS_ALREADY_LISTENING' });
    await expect(proxy.reload()).rejects.toMatchObject({ code: 'PGTLS_NOT_LISTENING' });
    await listening;
    await expect(proxy.listen()).rejects.toMatchObject({ code: 'PGTLS_ALREADY_LISTENING' });
    await expect(proxy.drain({ timeout: 'soon' })).rejects.toMatchObject({
      code: 'PGTLS_ARGUMENTS_INVALID',
    });
    await proxy.close();
    await proxy.close();
    await expect(proxy.reload()).rejects.toMatchObject({ code: 'PGTLS_CLOSED' });
    await expect(proxy.drain()).rejects.toMatchObject({ code: 'PGTLS_CLOSED' });
    await expect(proxy.listen()).rejects.toMatchObject({ code: 'PGTLS_CLOSED' });
  });

  it('of drain is none: it is one, however often it is asked for', async () => {
    const proxy = proxyFor();
    await proxy.listen();
    const reports = await Promise.all([proxy.drain({ timeout: 1 }), proxy.drain()]);
    expect(await proxy.drain()).toBe(reports[0]);
    await proxy.close();
  });

  it('of drain is none in a listener that hears of it, either', async () => {
    const proxy = proxyFor();
    await proxy.listen();
    const again: Promise<unknown>[] = [];
    proxy.on('drain', () => void again.push(proxy.drain()));
    const report = await proxy.drain();
    expect(await Promise.all(again)).toEqual([report]);
  });

  it('by an event that there is not is refused at once', () => {
    const proxy = proxyFor();
    const neverCalled = vi.fn() as never;
    expect(() => proxy.on('closed' as never, neverCalled)).toThrow('expected listening, session');
    expect(() => proxy.once('close', null as never)).toThrow('is no function');
    expect(() => proxy.off('toString' as never, neverCalled)).toThrow('no event "toString"');
  });

  it('by a configuration that is none is told by listen, and both spellings of one at once', async () => {
    const none = createProxy(undefined as never);
    await expect(none.listen()).rejects.toThrow('expected an object, got undefined');
    expect(() => createProxy({ file: 'a', workers: 1 } as never)).toThrow('workers: has no place');
    expect(() => createProxy({ file: 7 } as never)).toThrow('file: expected the path');
  });
});

describe('listeners', () => {
  it('are called in order, until they are taken off, and one for once only once', async () => {
    const proxy = proxyFor();
    const heard: string[] = [];
    const a = () => void heard.push('a');
    proxy
      .on('reload', a)
      .once('reload', () => void heard.push('once'))
      .on('reload', () => void heard.push('b'));
    await proxy.listen();
    await proxy.reload();
    proxy.off('reload', a).off('reload', a);
    await proxy.reload();
    expect(heard).toEqual(['a', 'once', 'b', 'a', 'b', 'b', 'b']);
  });

  it('that throw are reported as uncaught, and harm neither the proxy nor the next one', async () => {
    const errors = uncaught();
    const proxy = proxyFor();
    const next = vi.fn();
    proxy.on('listening', () => {
      throw new Error('mine');
    });
    proxy.on('listening', next);
    await proxy.listen();
    expect(next).toHaveBeenCalledOnce();
    await vi.waitFor(() => expect(errors).toMatchObject([{ message: 'mine' }]));
    expect(proxy.stats().phase).toBe('ready');
  });
});

describe('the log', () => {
  const lines = () => {
    const written: [string, string][] = [];
    const fields: Record<string, unknown>[] = [];
    const method = (level: string) => (all: object) => {
      written.push([level, String(Reflect.get(all, 'event'))]);
      fields.push({ ...all });
    };
    const logger = {
      debug: method('debug'),
      info: method('info'),
      warn: method('warn'),
      error: method('error'),
    };
    return { logger, written, fields };
  };

  it('goes to the logger that is given, from log_level on', async () => {
    const { logger, written } = lines();
    await proxyFor({ ...CONFIG, log_level: 'warn' }, { logger }).listen();
    expect(written.every(([level]) => level === 'warn')).toBe(true);
    await proxyFor(CONFIG, { logger }).listen();
    expect(written).toContainEqual(['info', 'listener.bind']);
  });

  it('asks whether debug is wanted', async () => {
    const { logger, written } = lines();
    const quiet = { ...logger, isLevelEnabled: (level: string) => level !== 'debug' };
    const proxy = proxyFor({ ...CONFIG, log_level: 'debug' }, { logger: quiet });
    const channel = await openTcp(portOf(await proxy.listen()));
    channel.destroy();
    await proxy.close();
    expect(written.filter(([level]) => level === 'debug')).toEqual([]);
  });

  it('is nowhere by itself: nothing is written, no signal is listened to', async () => {
    const out = vi.spyOn(process.stdout, 'write');
    const err = vi.spyOn(process.stderr, 'write');
    onTestFinished(() => void [out, err].map((spy) => spy.mockRestore()));
    const signals = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'] as const;
    const before = signals.map((signal) => process.listenerCount(signal));
    const proxy = proxyFor(CONFIG, { logger: false });
    await proxy.listen();
    expect(signals.map((signal) => process.listenerCount(signal))).toEqual(before);
    await proxy.close();
    expect([out, err].map((spy) => spy.mock.calls)).toEqual([[], []]);
  });

  it('has the doubts about the configuration', async () => {
    const { logger, written } = lines();
    const listener = { ...PLAIN, unix_socket_mode: '0770' };
    await proxyFor({ proxy: [{ listener, backend: NOWHERE }] }, { logger }).listen();
    expect(written).toContainEqual(['warn', 'config.warning']);
  });

  it.each(['listen', 'reload'])(
    'has the doubts about an object without a place, those about a file with it: %s',
    async (when) => {
      const { logger, fields } = lines();
      const listener = { ...PLAIN, unix_socket_mode: '0770' };
      const key = 'proxy[0].listener.unix_socket_mode';
      const doubtful = { proxy: [{ listener, backend: NOWHERE }] };
      const file = join(directory(), 'pgtls.toml');
      writeFileSync(file, `\n${toml('a').replace('" }', '", unix_socket_mode = "0770" }')}`);
      const environment = { BACKEND: '127.0.0.1:1' };
      for (const config of [doubtful, { file }]) {
        const proxy = proxyFor(when === 'listen' ? config : CONFIG, { logger, environment });
        await proxy.listen();
        await (when === 'listen' ? null : proxy.reload(config));
      }
      const warnings = fields.filter(({ event }) => event === 'config.warning');
      expect(warnings).toEqual([
        { event: 'config.warning', key },
        { event: 'config.warning', key, file, line: 5, column: expect.any(Number) },
      ]);
      expect(Object.keys(warnings[0] ?? {})).toEqual(['event', 'key']);
    },
  );

  it('has no doubts about a backend that the hook route may name', async () => {
    const { logger, fields } = lines();
    const backends = { replica: NOWHERE };
    const file = join(directory(), 'pgtls.toml');
    writeFileSync(
      file,
      `${toml('a')}backends = { replica = { address = "db:1", sslmode = "disable" } }`,
    );
    const options = { logger, environment: { BACKEND: '127.0.0.1:1' } };
    const warned = async (hooks: ProxyHooks) => {
      fields.length = 0;
      for (const config of [
        { proxy: [{ name: 'a', listener: PLAIN, backend: NOWHERE, backends }] },
        { file },
      ]) {
        const proxy = proxyFor(config, { ...options, hooks });
        await proxy.listen();
        await proxy.reload();
      }
      return fields.filter(({ event }) => event === 'config.warning').map(({ key }) => key);
    };
    expect(await warned({ route: () => 'replica' })).toEqual([]);
    expect(await warned({ route: undefined })).toEqual(Array(4).fill('proxy[0].backends.replica'));
  });

  it('has what keeps certificates from being read, as an error', async () => {
    const { logger, fields } = lines();
    const tls = await ListenerTls.create();
    onTestFinished(() => tls.remove());
    const { certFile: ssl_cert_file, keyFile: ssl_key_file } = tls.server;
    const listener = { bind_address: PLAIN.bind_address, ssl_cert_file, ssl_key_file };
    const config: PgtlsConfigInput = { proxy: [{ listener, backend: NOWHERE }] };
    await proxyFor(config, { logger }).listen();
    const other = await tls.issue('other', { commonName: 'other', names: ['other'] });
    tls.write('server.key', readFileSync(other.keyFile, 'utf8'), 0o600);
    const failure = () =>
      fields.find(({ event, result }) => event === 'cert.reload' && result === 'failure');
    const options = { timeout: 45_000, interval: 20 };
    const { err } = (await vi.waitUntil(failure, options)) ?? {};
    expect(err).toBeInstanceOf(PgtlsError);
    expect(err).toMatchObject({ code: 'PGTLS_TLS_CONFIG_INVALID' });
  });
});

describe('a configuration', () => {
  it('is copied when it is given', async () => {
    const config = { proxy: [{ name: 'before', listener: PLAIN, backend: NOWHERE }] };
    const proxy = proxyFor(config);
    config.proxy = [];
    expect(await proxy.listen()).toMatchObject([{ route: 'before' }]);
  });

  it('has its paths from the directory that is given', async () => {
    const listener = { bind_address: 'unix:s', sslmode: 'disable' } as const;
    const path = directory();
    const proxy = proxyFor({ proxy: [{ listener, backend: NOWHERE }] }, { directory: path });
    expect(await proxy.listen()).toMatchObject([{ address: `unix:${path}/s` }]);
  });

  it('is a file with places in its errors, or an object without', async () => {
    const file = join(directory(), 'pgtls.toml');
    writeFileSync(file, 'workers = "many"');
    await expect(proxyFor({ file }).listen()).rejects.toMatchObject({
      code: 'PGTLS_CONFIG_INVALID',
      file,
      diagnostics: expect.arrayContaining([expect.objectContaining({ line: 1, column: 1 })]),
    });
    const proxy = proxyFor({ ...CONFIG, workers: 'many' as never });
    await expect(proxy.listen()).rejects.toMatchObject({
      file: null,
      diagnostics: [{ line: null }],
    });
  });

  it('of a file is read again when the file changes, and by reload()', async () => {
    const file = join(directory(), 'pgtls.toml');
    writeFileSync(file, toml('one'));
    const proxy = proxyFor({ file }, { environment: { BACKEND: '127.0.0.1:1' } });
    const names = () => proxy.stats().routes.map(({ name }) => name);
    await proxy.listen();
    expect(names()).toEqual(['one']);
    writeFileSync(file, toml('two'));
    await vi.waitFor(() => expect(names()).toEqual(['two']), { timeout: 45_000, interval: 20 });
    writeFileSync(file, toml('three'));
    await proxy.reload();
    expect(names()).toEqual(['three']);
  });

  it('gives way to another object or file, and a wrong one changes nothing', async () => {
    const file = join(directory(), 'pgtls.toml');
    writeFileSync(file, toml('file'));
    const proxy = proxyFor(CONFIG, { environment: { BACKEND: '127.0.0.1:1' } });
    const reloads: (string | null)[] = [];
    proxy.on('reload', ({ kind, error }) => {
      if (kind === 'config') {
        reloads.push(error === null ? null : error.message);
      }
    });
    const names = () => proxy.stats().routes.map(({ name }) => name);
    const [bound] = await proxy.listen();
    const wrong = proxy.reload({ ...CONFIG, workers: -1 });
    await expect(wrong).rejects.toMatchObject({ code: 'PGTLS_CONFIG_INVALID' });
    expect(names()).toEqual(['a']);
    await proxy.reload();
    expect(proxy.stats().routes[0]?.addresses).toEqual([bound?.address]);
    await proxy.reload({ file });
    expect(names()).toEqual(['file']);
    await proxy.reload({ proxy: [{ name: 'b', listener: PLAIN, backend: NOWHERE }] });
    await proxy.reload();
    expect(names()).toEqual(['b']);
    // The file that gave way is not watched any more.
    writeFileSync(file, toml('again'));
    await proxy.reload();
    expect(names()).toEqual(['b']);
    const failure = expect.stringContaining('workers: expected');
    expect(reloads).toEqual([failure, null, null, null, null, null]);
  });
});
