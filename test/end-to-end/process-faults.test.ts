/** What befalls pgtls itself: files that vanish, descriptors that run out, clocks that jump, SIGKILL. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { adminPort, askAdmin } from '../support/admin-client.ts';
import { Bystander } from '../support/bystander.ts';
import type { ByteChannel } from '../support/byte-channel.ts';
import { LOCAL_NAMES } from '../support/certificates.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { isInstalled } from '../support/programs.ts';
import { quietPort } from '../support/quiet-port.ts';
import { ask, openNegotiatedTls, openTcp, startSession } from '../support/raw-client.ts';
import { proxyForTest, RunningProxy } from '../support/running-proxy.ts';
import { WAIT_MILLIS, within } from '../support/until.ts';

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

const backend = () => plainBackend(material().plain.port);

function quietRoute() {
  return { name: 'quiet', backend: backend() };
}

function watchQuiet(proxy: RunningProxy): Promise<Bystander> {
  return Bystander.watch(proxy.port('quiet'), tls.clientOptions);
}

async function login(port: number): Promise<ByteChannel> {
  const channel = await openNegotiatedTls(port, tls.clientOptions);
  onTestFinished(() => channel.destroy());
  await startSession(channel);
  return channel;
}

test('certificate files that vanish are told, those in use stay, and files that are there again are used', async () => {
  const leaf = { commonName: 'localhost', names: LOCAL_NAMES };
  const { certFile, keyFile } = await tls.issue('vanishing', leaf);
  const listener = { ssl_cert_file: certFile, ssl_key_file: keyFile };
  const routes = [{ name: 'faulty', listener, backend: backend() }, quietRoute()];
  const proxy = await proxyForTest(`${tls.config(routes)}[admin]\nbind_address = "127.0.0.1:0"\n`);
  const bystander = await watchQuiet(proxy);
  const session = await login(proxy.port('faulty'));
  for (const file of [certFile, keyFile]) {
    renameSync(file, `${file}.away`);
  }
  const failure = await proxy.logged({ event: 'cert.reload', result: 'failure' });
  expect(JSON.stringify(failure)).toContain(certFile);
  const admin = await adminPort(proxy);
  const status = JSON.parse((await askAdmin(admin, '/status')).body);
  expect(status.last_reload.certificates).toMatchObject({ result: 'failure' });

  expect(await ask(await login(proxy.port('faulty')), 'select 1')).toEqual([['1']]);
  expect(await ask(session, 'select 1')).toEqual([['1']]);
  for (const file of [certFile, keyFile]) {
    renameSync(`${file}.away`, file);
  }
  await proxy.logged({ event: 'cert.reload', result: 'success' });
  await bystander.wasUndisturbed();
});

/** With 100 open files, see src/proxy/open-files.ts. */
const CLIENTS_OF_100_FILES = 18;

test('where open files are few, clients beyond those they suffice for are told 53300, and none runs out of them', async () => {
  const routes = [{ name: 'faulty', backend: backend() }, quietRoute()];
  const proxy = await proxyForTest(tls.config(routes), { openFiles: 100 });
  const bystander = await watchQuiet(proxy);
  const sessions: ByteChannel[] = [];
  while (sessions.length < CLIENTS_OF_100_FILES - 1) {
    sessions.push(await login(proxy.port('faulty')));
  }
  await expect(login(proxy.port('faulty'))).rejects.toThrow(/53300/);
  expect(await proxy.logged({ event: 'conn.close', route: 'faulty' })).toMatchObject({
    reason: 'too_many_connections',
    sqlstate: '53300',
  });
  for (const session of sessions) {
    expect(await ask(session, 'select 1')).toEqual([['1']]);
  }
  sessions.pop()?.destroy();
  await proxy.logged({ event: 'conn.close', reason: 'client_closed' });
  expect(await ask(await login(proxy.port('faulty')), 'select 1')).toEqual([['1']]);
  expect(proxy.output).not.toContain('Too many open files');
  await bystander.wasUndisturbed();
});

test.skipIf(!isInstalled('prlimit'))(
  'without descriptors to be had, new clients are turned away at once, sessions go on, and clients are served when there are some again',
  async () => {
    const routes = [{ name: 'faulty', backend: backend() }, quietRoute()];
    const proxy = await proxyForTest(tls.config(routes));
    const bystander = await watchQuiet(proxy);
    const session = await login(proxy.port('faulty'));
    const limit = (count: number) =>
      execFileSync('prlimit', ['--pid', String(proxy.pid), `--nofile=${count}:`]);
    // They run out when a client is accepted, is handed over, gets its backend.
    for (const spare of [0, 1, 2, 3]) {
      limit(proxy.openDescriptors() + spare);
      const attempts = Array.from({ length: 5 }, () => isServed(proxy.port('faulty')));
      const served = await within(WAIT_MILLIS, 'they are turned away', Promise.all(attempts));
      expect(served.filter(Boolean).length).toBeLessThanOrEqual(spare);
      await bystander.goesOn();
      expect(await ask(session, 'select 1')).toEqual([['1']]);
    }
    const lines = proxy.logs.filter((line) =>
      String(line['error']).includes('Too many open files'),
    );
    expect(lines).not.toEqual([]);
    const blamed = lines.map((line) => line['fault_side'] ?? 'proxy');
    expect(new Set(blamed)).toEqual(new Set(['proxy']));
    limit(1_024);
    expect(await ask(await login(proxy.port('faulty')), 'select 1')).toEqual([['1']]);
    await bystander.wasUndisturbed();
  },
);

/** Whether a client is let in, or its connection ends, with an ErrorResponse or without. */
async function isServed(port: number): Promise<boolean> {
  try {
    const channel = await login(port);
    channel.destroy();
    return true;
  } catch (error) {
    expect(String(error)).toMatch(/refused: .*(08006|53300)|ended|closed|ECONNRESET|EPIPE/);
    return false;
  }
}

test('a wall clock that jumps by a day to and fro ends no session, and makes no deadline longer or shorter', async () => {
  const script = tls.write('jump.mjs', JUMPING_CLOCK);
  const top = { client_login_timeout: '3s', log_level: 'debug' };
  const listener = { client_idle_timeout: '1h' };
  const routes = [{ name: 'faulty', listener, backend: backend() }, quietRoute()];
  const environment = { NODE_OPTIONS: `--import=${script}` };
  const proxy = await proxyForTest(tls.config(routes, top), { environment });
  const bystander = await watchQuiet(proxy);
  const session = await login(proxy.port('faulty'));

  const begun = performance.now();
  const silent = await openTcp(proxy.port('faulty'));
  await silent.rest();
  silent.destroy();
  const millis = performance.now() - begun;
  expect(millis).toBeGreaterThan(2_900);
  expect(millis).toBeLessThan(20_000);
  const line = await proxy.logged({ event: 'conn.close', reason: 'login_timeout' });
  expect(Number(line['duration_ms'])).toBeGreaterThan(2_900);
  expect(Number(line['duration_ms'])).toBeLessThan(20_000);

  expect(await ask(session, 'select 1')).toEqual([['1']]);
  expect(await ask(await login(proxy.port('faulty')), 'select 1')).toEqual([['1']]);
  await bystander.wasUndisturbed();
  // The clock did jump while sessions began: there are lines of more than one day.
  await vi.waitFor(async () => {
    await login(proxy.port('faulty'));
    const days = new Set(proxy.logs.map(({ time }) => String(time).slice(0, 10)));
    expect(days.size).toBeGreaterThan(1);
  }, 10_000);
});

/** Two clocks a day apart, in turn. */
const JUMPING_CLOCK = `
const now = Date.now;
let isAhead = false;
Date.now = () => now() + (isAhead ? 86_400_000 : -86_400_000);
setInterval(() => { isAhead = !isAhead; }, 50).unref();
`;

test('after SIGKILL clients see the connection end at once, and a new process serves on the same port and path', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-kill-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const [port, path] = [await quietPort(), join(directory, '.s.PGSQL.6432')];
  const listener = { bind_address: [`127.0.0.1:${port}`, `unix:${path}`], sslmode: 'prefer' };
  const config = tls.config([{ name: 'faulty', listener, backend: backend() }]);
  const first = await RunningProxy.start(config, { listeners: 2 });
  const sessions = await Promise.all([login(port), login(port)]);
  const local = await openTcp({ path });
  onTestFinished(() => local.destroy());
  await startSession(local);
  const ends = Promise.all([...sessions, local].map((session) => session.rest()));
  await first.kill();
  expect((await ends).map(({ bytes }) => bytes.length)).toEqual([0, 0, 0]);
  expect(existsSync(path)).toBe(true);

  await proxyForTest(config, { listeners: 2 });
  expect(await ask(await login(port), 'select 1')).toEqual([['1']]);
  const again = await openTcp({ path });
  onTestFinished(() => again.destroy());
  await startSession(again);
});
