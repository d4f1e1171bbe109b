/** A log that nobody reads, and a disk that is full: neither sessions nor logins notice, and what is lost is counted. */
import { constants, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adminPort, Scrape } from '../support/admin-client.ts';
import { Bystander } from '../support/bystander.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { acceptAndIdle, FakeBackend } from '../support/fake-backend.ts';
import { material } from '../support/material.ts';
import { quietPort } from '../support/quiet-port.ts';
import { openTcp, startSession } from '../support/raw-client.ts';
import { proxyForTest, type RunningProxy, type StartOptions } from '../support/running-proxy.ts';
import { until, WAIT_MILLIS } from '../support/until.ts';

const DROPPED = 'pgtls_log_lines_dropped_total';
const CONNECTIONS = 2_000;
const AT_ONCE = 20;

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

/** Routes `busy`, plaintext with a fake backend, and `quiet`; the admin server listens on `port`. */
async function start(options: StartOptions, port: number, busy = 0): Promise<RunningProxy> {
  const fake = await FakeBackend.listen(acceptAndIdle);
  const routes = tls.config([
    {
      name: 'busy',
      listener: { sslmode: 'prefer', bind_address: `127.0.0.1:${busy}` },
      backend: plainBackend(fake.port),
    },
    { name: 'quiet', backend: plainBackend(material().plain.port) },
  ]);
  return proxyForTest(`${routes}[admin]\nbind_address = "127.0.0.1:${port}"\n`, options);
}

/** Logs in and leaves, `count` times. */
async function comeAndGo(port: number, count: number): Promise<void> {
  let left = count;
  const client = async () => {
    while (left > 0) {
      left -= 1;
      const channel = await openTcp(port);
      await startSession(channel);
      channel.destroy();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, client));
}

const busyLines = (proxy: RunningProxy) => proxy.logs.filter(({ route }) => route === 'busy');
const busyEnds = (proxy: RunningProxy) =>
  busyLines(proxy).filter(({ event }) => event === 'conn.close');

describe.each(['socket', 'pipe'] as const)('a log on a %s that is not read', (stdout) => {
  test('stalls nobody; lost lines are counted, and told when it is read again', async () => {
    const proxy = await start({ stdout }, await quietPort());
    const [admin, port] = [await adminPort(proxy), proxy.port('busy')];
    const bound = busyLines(proxy).length;
    await comeAndGo(port, 1);
    await until('its line is there', () => busyEnds(proxy).length === 1);
    const linesEach = busyLines(proxy).length - bound;
    const bystander = await Bystander.watch(proxy.port('quiet'), tls.clientOptions);

    proxy.stopReadingLog();
    await comeAndGo(port, CONNECTIONS);
    await until('all are over', async () => {
      const scrape = await Scrape.of(admin);
      const closed = scrape.sum('pgtls_client_connections_closed_total', { route: 'busy' });
      return closed === CONNECTIONS + 1;
    });
    const lost = (await Scrape.of(admin)).sum(DROPPED);
    expect(lost).toBeGreaterThan(0);
    await bystander.wasUndisturbed();

    proxy.readLogAgain();
    expect(await proxy.logged({ event: 'log.dropped' })).toMatchObject({ level: 'warn' });
    await comeAndGo(port, 1);
    await until('the log goes on', () => proxy.logs.at(-1)?.['event'] === 'conn.close');
    const told = proxy.logs.filter(({ event }) => event === 'log.dropped');
    const counted = told.reduce((sum, { count }) => sum + Number(count), 0);
    expect((await Scrape.of(admin)).sum(DROPPED)).toBe(counted);
    const expected = bound + linesEach * (CONNECTIONS + 2);
    // Its own lines are those of its login, before, and of its end, after.
    expect(busyLines(proxy).length).toBe(expected - counted);
  });

  test('keeps nobody from ending pgtls', async () => {
    const proxy = await start({ stdout }, await quietPort());
    proxy.stopReadingLog();
    await comeAndGo(proxy.port('busy'), CONNECTIONS / 2);
    const begun = performance.now();
    proxy.signal('SIGTERM');
    await until('it has ended', () => proxy.hasExited);
    expect(performance.now() - begun).toBeLessThan(WAIT_MILLIS / 2);
    proxy.readLogAgain();
    expect(await proxy.exited()).toEqual({ code: 0, signal: null });
  });
});

test('a disk that is full for the log costs its lines, which are counted, and nothing else', async () => {
  const [admin, port] = [await quietPort(), await quietPort()];
  const options = { stdout: { file: '/dev/full' }, listeners: 0 };
  const proxy = await start(options, admin, port);
  const scraped = () => Scrape.of(admin).catch(() => null);
  await until('it is ready', async () => (await scraped())?.sum('pgtls_client_connections_limit'));
  const first = await openTcp(port);
  await startSession(first);
  await until('lines are lost', async () => {
    await comeAndGo(port, CONNECTIONS / 2);
    return (await Scrape.of(admin)).sum(DROPPED) > 0;
  });
  expect(first.stream.destroyed).toBe(false);
  first.destroy();
  await proxy.stop();
});

test('stdout stays as it is for others who share it: its blocking mode is not touched', async () => {
  const { O_NONBLOCK } = constants;
  const proxy = await start({ stdout: 'pipe' }, await quietPort());
  const [, flags = ''] = /^flags:\s+(\d+)/m.exec(
    readFileSync(`/proc/${proxy.pid}/fdinfo/1`, 'utf8'),
  ) ?? [''];
  expect(Number.parseInt(flags, 8) & O_NONBLOCK).toBe(0);
});
