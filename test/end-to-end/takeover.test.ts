/** SIGUSR2: a successor takes the listening sockets over, and nobody who connects meanwhile is refused or reset. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend, type Table } from '../support/config.ts';
import { material } from '../support/material.ts';
import { quietPort } from '../support/quiet-port.ts';
import { ask, openNegotiatedTls, openTcp, startSession } from '../support/raw-client.ts';
import { Generations } from '../support/successors.ts';
import { until } from '../support/until.ts';
import { SSL_REQUEST } from '../support/wire.ts';

let tls: ListenerTls;
let port = 0;
let path = '';

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

beforeEach(async () => {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-takeover-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  port = await quietPort();
  path = join(directory, '.s.PGSQL.6432');
});

/** One route by TCP and one by a unix socket. */
function start(top: Table = {}): Promise<Generations> {
  return Generations.start(config(top));
}

/** What {@link start} begins with; `unix` = more keys of that route's listener, null = without it. */
function config(top: Table = {}, unix: Table | null = {}): string {
  const backend = plainBackend(material().plain.port);
  const tcp = { name: 'tcp', backend, listener: { bind_address: `127.0.0.1:${port}` } };
  const other = { name: 'unix', backend, listener: { bind_address: `unix:${path}`, ...unix } };
  return tls.config(unix === null ? [tcp] : [tcp, other], { log_level: 'info', ...top });
}

async function login(to: number | { path: string }): Promise<ByteChannel> {
  const channel = await openNegotiatedTls(to, tls.clientOptions);
  onTestFinished(() => channel.destroy());
  await startSession(channel);
  return channel;
}

test('ten takeovers in a row refuse and reset nobody, by TCP or unix socket', async () => {
  const generations = await start();
  let isRunning = true;
  const logins = [0, 0];
  const load = [port, port, { path }].map(async (to) => {
    while (isRunning) {
      const channel = await openNegotiatedTls(to, tls.clientOptions);
      await startSession(channel);
      await ask(channel, 'select 1');
      channel.destroy();
      const kind = typeof to === 'number' ? 0 : 1;
      logins[kind] = (logins[kind] ?? 0) + 1;
    }
  });
  const all = Promise.all(load);
  const pids = new Set([generations.pid]);
  for (let count = 1; count <= 10; count += 1) {
    const before = [...logins];
    pids.add(await generations.next());
    await until('clients log in both ways', () =>
      logins.every((now, at) => now > (before[at] ?? 0)),
    );
  }
  isRunning = false;
  await all;
  expect(pids.size).toBe(11);
  await until('all predecessors have ended', () => generations.endedCount === 10, {
    explain: () => generations.proxy.output,
  });
  expect(lstatSync(path).isSocket()).toBe(true);
  // The last one owns the path, and removes it.
  process.kill(generations.pid, 'SIGTERM');
  await until('the last one has ended', () => generations.endedCount === 11);
  expect(existsSync(path)).toBe(false);
});

test('sessions, and connections that still negotiate, are served by the predecessor to their end', async () => {
  const generations = await start({ shutdown_timeout: '5m', log_level: 'debug' });
  const session = await login(port);
  const negotiating = await openTcp(port);
  await negotiating.write(SSL_REQUEST.subarray(0, 4));
  const { logs } = generations.proxy;
  await until(
    'both are accepted',
    () => logs.filter(({ event }) => event === 'conn.accept').length === 2,
  );
  await generations.next();
  expect(await ask(session, 'select 1')).toEqual([['1']]);
  await negotiating.write(SSL_REQUEST.subarray(4));
  expect((await negotiating.read(1)).toString()).toBe('S');
  expect(generations.endedCount).toBe(0);
  negotiating.destroy();
  session.destroy();
  await until('the predecessor has ended', () => generations.endedCount === 1, {
    explain: () => generations.proxy.output,
  });
  await until('it has exited', () => generations.proxy.hasExited);
  await login(port);
});

test('a successor that cannot start changes nothing, and the log says why', async () => {
  const generations = await start();
  const { proxy } = generations;
  const session = await login({ path });
  chmodSync(tls.server.keyFile, 0o644);
  onTestFinished(() => chmodSync(tls.server.keyFile, 0o600));
  proxy.signal('SIGUSR2');
  const failure = await proxy.logged({ event: 'takeover', result: 'failure' });
  expect(JSON.stringify(failure['err'])).toContain('ssl_key_file');
  expect(await ask(session, 'select 1')).toEqual([['1']]);
  expect(lstatSync(path).isSocket()).toBe(true);
  await login({ path });
  chmodSync(tls.server.keyFile, 0o600);
  await generations.next();
  await login(port);
});

test('a successor reads the file anew: an address that is gone is closed, one that is new is bound', async () => {
  const generations = await start({ reload_on_change: false });
  const other = await quietPort();
  const backend = plainBackend(material().plain.port);
  const listener = { bind_address: `127.0.0.1:${other}` };
  generations.proxy.rewrite(tls.config([{ name: 'new', backend, listener }]));
  await generations.next();
  await login(other);
  await until('the old address is closed', async () => {
    try {
      (await openTcp(port)).destroy();
      return false;
    } catch {
      return true;
    }
  });
  expect(existsSync(path)).toBe(false);
});

test('the mode that the file gives a unix socket by now is set by the successor', async () => {
  const top = { reload_on_change: false };
  const generations = await Generations.start(config(top, { unix_socket_mode: '0777' }));
  expect(lstatSync(path).mode & 0o777).toBe(0o777);
  generations.proxy.rewrite(config(top, { unix_socket_mode: '0700' }));
  await generations.next();
  expect(lstatSync(path).mode & 0o777).toBe(0o700);
  await login({ path });
});

test('who negotiates at an address that a reload has just removed is served through a takeover', async () => {
  const top = { reload_on_change: false, shutdown_timeout: '5m', log_level: 'debug' };
  const generations = await start(top);
  const { proxy } = generations;
  const negotiating = await openTcp({ path });
  onTestFinished(() => negotiating.destroy());
  await negotiating.write(SSL_REQUEST.subarray(0, 4));
  await proxy.logged({ event: 'conn.accept', route: 'unix' });
  proxy.rewrite(config(top, null));
  proxy.signal('SIGHUP');
  await proxy.logged({ event: 'config.reload', result: 'success' });
  await generations.next();
  expect(existsSync(path)).toBe(false);
  await login(port);
  expect(generations.endedCount).toBe(0);
  await negotiating.write(SSL_REQUEST.subarray(4));
  expect((await negotiating.read(1)).toString()).toBe('S');
  negotiating.destroy();
  await until('the predecessor has ended', () => generations.endedCount === 1, {
    explain: () => proxy.output,
  });
});

test('what somebody else put in place of a unix socket is neither changed nor removed', async () => {
  const top = { reload_on_change: false };
  const generations = await start(top);
  renameSync(path, `${path}.away`);
  writeFileSync(path, 'of somebody else', { mode: 0o600 });
  generations.proxy.rewrite(config(top, { unix_socket_mode: '0777' }));
  await generations.next();
  await until('the predecessor has ended', () => generations.endedCount === 1);
  (await login({ path: `${path}.away` })).destroy();
  generations.proxy.rewrite(config(top, null));
  await generations.next();
  await until('the second has ended', () => generations.endedCount === 2);
  process.kill(generations.pid, 'SIGTERM');
  await until('the last one has ended', () => generations.endedCount === 3);
  expect(readFileSync(path, 'utf8')).toBe('of somebody else');
  expect(lstatSync(path).mode & 0o777).toBe(0o600);
});

test('a unix socket whose path cannot be reached any more keeps nobody from a takeover or from the end', async () => {
  const generations = await start();
  const directory = dirname(path);
  const away = `${directory}.away`;
  renameSync(directory, away);
  onTestFinished(() => rmSync(away, { recursive: true, force: true }));
  // Whoever looks behind it gets an error, root included.
  symlinkSync(directory, directory);
  await generations.next();
  (await login(port)).destroy();
  (await login({ path: join(away, basename(path)) })).destroy();
  await until('the predecessor has ended', () => generations.endedCount === 1, {
    explain: () => generations.proxy.output,
  });
  process.kill(generations.pid, 'SIGTERM');
  await until('the last one has ended', () => generations.endedCount === 2);
});

test('with so_reuseport several programs share a port, and each can be taken over', async () => {
  const backend = plainBackend(material().plain.port);
  const listener = { bind_address: `127.0.0.1:${port}`, so_reuseport: true };
  const config = tls.config([{ backend, listener }]);
  const [first, second] = [await Generations.start(config), await Generations.start(config)];
  await login(port);
  await first.next();
  await second.next();
  await login(port);
});

test('no program that pgtls runs inherits a listening socket', async () => {
  const generations = await start();
  await generations.next();
  const flags = listeningDescriptors(generations.pid).map((fd) => {
    const info = readFileSync(`/proc/${generations.pid}/fdinfo/${fd}`, 'utf8');
    return Number.parseInt(/^flags:\s+(\d+)/m.exec(info)?.[1] ?? '0', 8);
  });
  expect(flags).toHaveLength(2);
  const closeOnExec = 0o2000000;
  expect(flags.every((bits) => (bits & closeOnExec) !== 0)).toBe(true);
});

/** Descriptors of sockets that listen, TCP and unix. */
function listeningDescriptors(pid: number): string[] {
  const lines = (file: string) =>
    readFileSync(`/proc/${pid}/net/${file}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/));
  const tcp = lines('tcp').filter((fields) => fields[3] === '0A');
  const unix = lines('unix').filter((fields) => fields[7] === path && fields[5] === '01');
  const inodes = [...tcp.map((fields) => fields[9]), ...unix.map((fields) => fields[6])];
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? [];
      return inodes.includes(inode);
    } catch {
      return false;
    }
  });
}
