/** pgtls.toml read again while sessions run: on SIGHUP and when it changes, all of it or nothing. */
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend, type RouteText, type Table } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectPg } from '../support/pg-client.ts';
import { quietPort } from '../support/quiet-port.ts';
import { ask, openNegotiatedTls, openTcp, startSession } from '../support/raw-client.ts';
import { proxyForTest, type RunningProxy } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';

let tls: ListenerTls;
let backend: Table;
let directory = '';

beforeAll(async () => {
  tls = await ListenerTls.create();
  backend = plainBackend(material().plain.port);
});

afterAll(() => tls.remove());

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-reload-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
});

/** Only SIGHUP reloads. */
function config(routes: readonly RouteText[], top: Table = {}): string {
  return tls.config(routes, { reload_on_change: false, ...top });
}

function reloads(proxy: RunningProxy): number {
  return proxy.logs.filter(({ event, result }) => event === 'config.reload' && result).length;
}

/** Puts `text` in place, sends SIGHUP, and gives the result. */
async function reload(proxy: RunningProxy, text: string): Promise<unknown> {
  const before = reloads(proxy);
  proxy.rewrite(text);
  proxy.signal('SIGHUP');
  await until('the reload is told', () => reloads(proxy) > before, {
    explain: () => proxy.output,
  });
  return proxy.logs.findLast(({ event, result }) => event === 'config.reload' && result)?.[
    'result'
  ];
}

async function session(port: number | { path: string }): Promise<ByteChannel> {
  const channel = await openNegotiatedTls(port, tls.clientOptions);
  onTestFinished(() => channel.destroy());
  await startSession(channel);
  return channel;
}

async function isRefused(port: number): Promise<boolean> {
  try {
    (await openTcp(port)).destroy();
    return false;
  } catch {
    return true;
  }
}

/** The inodes of the sockets that the process holds, by descriptor. */
function listeningInodes(proxy: RunningProxy): string[] {
  const listening = readFileSync(`/proc/${proxy.pid}/net/tcp`, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === '0A')
    .map((fields) => fields[9]);
  return readdirSync(`/proc/${proxy.pid}/fd`).flatMap((fd) => {
    try {
      const [, inode] =
        /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${proxy.pid}/fd/${fd}`)) ?? [];
      return inode !== undefined && listening.includes(inode) ? [`${fd}:${inode}`] : [];
    } catch {
      return [];
    }
  });
}

test('routes are added, renamed and removed, and every session goes on', async () => {
  const proxy = await proxyForTest(
    config([
      { name: 'kept', backend },
      { name: 'removed', backend },
    ]),
  );
  const [kept, removed] = [proxy.port('kept'), proxy.port('removed')];
  const sessions = [await session(kept), await session(removed)];

  // First in the file now: the place of a route is nothing that its sessions depend on.
  const result = await reload(
    proxy,
    config([
      { name: 'added', backend },
      { name: 'kept', backend },
    ]),
  );
  expect(result).toBe('success');
  await until('the removed address is closed', () => isRefused(removed));
  for (const channel of [...sessions, await session(proxy.port('added')), await session(kept)]) {
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
    channel.destroy();
  }
  const closed = (route: string) =>
    proxy.logs.filter((line) => line['event'] === 'conn.close' && line['route'] === route).length;
  await until('every session is reported under its own route', () => {
    return closed('kept') === 2 && closed('removed') === 1 && closed('added') === 1;
  });
});

test('an address that stays keeps its socket while everything behind it changes', async () => {
  const port = await quietPort();
  const bind = { bind_address: `127.0.0.1:${port}` };
  const proxy = await proxyForTest(config([{ name: 'old', backend, listener: bind }]));
  const inodes = listeningInodes(proxy);
  expect(inodes).toHaveLength(1);
  const before = await session(port);
  // Accepted under the old route, and handed over under the new configuration.
  const onItsWay = await openTcp(port);

  const listener = { ...bind, sslmode: 'prefer' };
  expect(await reload(proxy, config([{ name: 'new', backend, listener }]))).toBe('success');
  expect(listeningInodes(proxy)).toEqual(inodes);
  const plain = await openTcp(port);
  await startSession(plain);
  expect(await ask(plain, 'select 1')).toEqual([['1']]);
  expect(await ask(before, 'select 1')).toEqual([['1']]);
  onItsWay.destroy();
  plain.destroy();
  await proxy.logged({ event: 'conn.close', route: 'new' });
});

test('no connection is refused while the file is reloaded again and again', async () => {
  const port = await quietPort();
  const listener = { bind_address: `127.0.0.1:${port}` };
  const texts = ['a', 'b'].map((name) => config([{ name, backend, listener }]));
  const proxy = await proxyForTest(texts[0] ?? '');
  let isRunning = true;
  let logins = 0;
  const load = Promise.all(
    [1, 2].map(async () => {
      while (isRunning) {
        const client = await connectPg({ port, ssl: tls.clientOptions });
        await client.query('select 1');
        await client.end();
        logins += 1;
      }
    }),
  );
  for (let count = 1; count <= 10; count += 1) {
    const before = logins;
    expect(await reload(proxy, texts[count % 2] ?? '')).toBe('success');
    await until('clients log in', () => logins >= before + 2);
  }
  isRunning = false;
  await load;
});

test('an error anywhere in the file leaves all as it was, and the log names it', async () => {
  const proxy = await proxyForTest(config([{ name: 'a', backend }]));
  const channel = await session(proxy.port('a'));
  const bad = config([
    { name: 'a', backend },
    { name: 'b', backend, listener: { ssl_key_file: join(directory, 'missing.key') } },
  ]);
  expect(await reload(proxy, bad)).toBe('failure');
  const failure = await proxy.logged({ event: 'config.reload', result: 'failure' });
  expect(JSON.stringify(failure['err'])).toContain('missing.key');
  expect(await reload(proxy, 'nonsense')).toBe('failure');
  expect(proxy.logs.filter(({ event }) => event === 'listener.bind')).toHaveLength(1);
  expect(await ask(channel, 'select 1')).toEqual([['1']]);
  await session(proxy.port('a'));
});

test('an address in use leaves all as it was, and once it is free the same file is put in force', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => {
    other.close();
  });
  await until('it listens', () => other.address());
  const { port } = other.address() as { port: number };
  const proxy = await proxyForTest(config([{ name: 'a', backend }]));
  const next = config([
    { name: 'c', backend },
    { name: 'b', backend, listener: { bind_address: `127.0.0.1:${port}` } },
  ]);
  expect(await reload(proxy, next)).toBe('failure');
  const failure = await proxy.logged({ event: 'config.reload', result: 'failure' });
  expect(failure['err']).toMatchObject({ code: 'PGTLS_BIND_FAILED' });
  await session(proxy.port('a'));
  // As docs/migration.md has it: once its owner has ended, a reload is enough.
  await promisify(other.close.bind(other))();
  expect(await reload(proxy, next)).toBe('success');
  await session(port);
});

test('keys that only a start can change are named, and the rest is changed', async () => {
  const proxy = await proxyForTest(config([{ name: 'a', backend }]));
  const next = config(
    [
      { name: 'a', backend },
      { name: 'b', backend },
    ],
    { workers: 1, max_client_conn: 77 },
  );
  expect(await reload(proxy, next)).toBe('success');
  for (const key of ['workers', 'max_client_conn']) {
    expect(proxy.find({ event: 'config.reload', level: 'warn', key })).not.toBeNull();
  }
  await session(proxy.port('b'));
});

test('a unix socket that is added has its mode, and one that is removed takes its path along', async () => {
  const path = (name: string) => join(directory, name);
  const routes = (name: string, mode: string) => [
    { name: 'a', backend },
    { name, backend, listener: { bind_address: `unix:${path(name)}`, unix_socket_mode: mode } },
  ];
  const proxy = await proxyForTest(config(routes('first', '0600')));
  expect(await reload(proxy, config(routes('second', '0660')))).toBe('success');
  expect(lstatSync(path('second')).mode & 0o777).toBe(0o660);
  expect(lstatSync(path('first'), { throwIfNoEntry: false })).toBeUndefined();
  expect(await reload(proxy, config(routes('second', '0600')))).toBe('success');
  expect(lstatSync(path('second')).mode & 0o777).toBe(0o600);
  await session({ path: path('second') });
});

test('shutdown_timeout is the one that is in force when pgtls ends', async () => {
  const proxy = await proxyForTest(config([{ backend }], { shutdown_timeout: '10m' }));
  const channel = await session(proxy.port());
  expect(await reload(proxy, config([{ backend }], { shutdown_timeout: '0s' }))).toBe('success');
  proxy.signal('SIGTERM');
  await channel.rest();
  expect(await proxy.exited()).toEqual({ code: 0, signal: null });
});

test('a changed file is reloaded by itself, also when a Kubernetes volume exchanges its link', async () => {
  const proxy = await proxyForTest(tls.config([{ name: 'a', backend }]));
  const volume = join(directory, 'volume');
  mkdirSync(join(volume, '1'), { recursive: true });
  const names = (text: string[]) => tls.config(text.map((name) => ({ name, backend })));
  writeFileSync(join(volume, '1', 'pgtls.toml'), names(['a', 'b']));
  symlinkSync('1', join(volume, '..data'));
  symlinkSync(join(volume, '..data', 'pgtls.toml'), `${proxy.configFile}.new`);
  renameSync(`${proxy.configFile}.new`, proxy.configFile);
  await proxy.logged({ event: 'listener.bind', route: 'b' });

  mkdirSync(join(volume, '2'));
  writeFileSync(join(volume, '2', 'pgtls.toml'), names(['a', 'b', 'c']));
  symlinkSync('2', join(volume, '..tmp'));
  renameSync(join(volume, '..tmp'), join(volume, '..data'));
  await proxy.logged({ event: 'listener.bind', route: 'c' });
  expect(proxy.find({ event: 'config.reload', trigger: 'change' })).not.toBeNull();

  // Half a file is told once and changes nothing; the whole one then does.
  writeFileSync(join(volume, '2', 'pgtls.toml'), names(['a', 'b', 'c', 'd']).slice(0, -200));
  await proxy.logged({ event: 'config.reload', result: 'failure', trigger: 'change' });
  await session(proxy.port('c'));
  writeFileSync(join(volume, '2', 'pgtls.toml'), names(['a', 'b', 'c', 'd']));
  await proxy.logged({ event: 'listener.bind', route: 'd' });
});
