/** Session resumption through the running program: clients that resume, instances that share keys, reloads. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { CertificateAuthority } from '../support/certificates.ts';
import { ListenerTls, plainBackend, type Table } from '../support/config.ts';
import { material } from '../support/material.ts';
import { runClient } from '../support/programs.ts';
import { ask, openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { proxyForTest, type RunningProxy } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';

const PROTOCOLS = ['TLSv1.2', 'TLSv1.3'] as const;
const PROGRAMS = fileURLToPath(new URL('../support/resuming/', import.meta.url));
/** Compiling Go's crypto/tls for the first time on a loaded machine takes minutes. */
const COMPILE_MILLIS = 300_000;
const execute = promisify(execFile);
const GO = ['/usr/local/go/bin/go', '/usr/bin/go'].find(existsSync);
const JAVA = ['/usr/bin/java', '/usr/local/bin/java'].find(existsSync);

let clusterPort: number;

beforeAll(() => {
  clusterPort = material().plain.port;
});

async function listenerTls(): Promise<ListenerTls> {
  const tls = await ListenerTls.create();
  onTestFinished(() => tls.remove());
  return tls;
}

function configOf(tls: ListenerTls, listener: Table): string {
  return tls.config([{ name: 'orders', backend: plainBackend(clusterPort), listener }]);
}

/** A client of node:tls that remembers its newest session. */
class Client {
  readonly #tls: ListenerTls;
  readonly #protocol: (typeof PROTOCOLS)[number];
  #session: Buffer | null = null;

  constructor(tls: ListenerTls, protocol: (typeof PROTOCOLS)[number]) {
    this.#tls = tls;
    this.#protocol = protocol;
  }

  /** Whether the session of one query was resumed. */
  async isResumed(proxy: RunningProxy): Promise<boolean> {
    const channel = await openNegotiatedTls(proxy.port(), {
      ...this.#tls.clientOptions,
      minVersion: this.#protocol,
      maxVersion: this.#protocol,
      ...(this.#session !== null && { session: this.#session }),
    });
    channel.stream.on('session', (session: Buffer) => {
      this.#session = session;
    });
    await startSession(channel);
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
    const resumed = channel.stream.isSessionReused();
    if (this.#protocol === 'TLSv1.2') {
      // It came with the handshake, before anybody could listen.
      this.#session = channel.stream.getSession() ?? null;
    }
    channel.destroy();
    return resumed;
  }
}

/** What the log says of the sessions that have ended, once there are so many. */
async function loggedResumptions(proxy: RunningProxy, count: number): Promise<unknown[]> {
  const closed = () => proxy.logs.filter((line) => line['event'] === 'conn.close');
  await until(`${count} sessions ended`, () => closed().length >= count, {
    explain: () => proxy.output,
  });
  return closed().map((line) => line['resumed']);
}

async function reload(proxy: RunningProxy): Promise<void> {
  const count = () => proxy.logs.filter((line) => line['event'] === 'cert.reload').length;
  const before = count();
  proxy.signal('SIGHUP');
  await until('the reload is logged', () => count() > before, {
    explain: () => proxy.output,
  });
}

test.each(PROTOCOLS)('node:tls resumes and the log says so (%s)', async (protocol) => {
  const tls = await listenerTls();
  const proxy = await proxyForTest(configOf(tls, { session_tickets: 1 }));
  const client = new Client(tls, protocol);
  expect(await client.isResumed(proxy)).toBe(false);
  expect(await client.isResumed(proxy)).toBe(true);
  expect(await client.isResumed(proxy)).toBe(true);
  expect(await loggedResumptions(proxy, 3)).toEqual([false, true, true]);
});

test.each(PROTOCOLS)('nothing is resumed by default (%s)', async (protocol) => {
  const tls = await listenerTls();
  const proxy = await proxyForTest(configOf(tls, {}));
  const client = new Client(tls, protocol);
  expect(await client.isResumed(proxy)).toBe(false);
  expect(await client.isResumed(proxy)).toBe(false);
});

test.each(PROTOCOLS)(
  'a reload keeps sessions, one with another CA does not (%s)',
  async (protocol) => {
    const tls = await listenerTls();
    const caFile = tls.write('clients.crt', (await CertificateAuthority.create('one')).certPem);
    const proxy = await proxyForTest(configOf(tls, { session_tickets: 2, ssl_ca_file: caFile }));
    const client = new Client(tls, protocol);
    expect(await client.isResumed(proxy)).toBe(false);
    await reload(proxy);
    expect(await client.isResumed(proxy)).toBe(true);
    tls.write('clients.crt', (await CertificateAuthority.create('another')).certPem);
    await reload(proxy);
    expect(await client.isResumed(proxy)).toBe(false);
    expect(await client.isResumed(proxy)).toBe(true);
  },
);

test('instances that share a ticket_key_file resume each other’s sessions, over a change of keys', async () => {
  const tls = await listenerTls();
  const [old, fresh] = [randomBytes(64).toString('base64'), randomBytes(64).toString('base64')];
  const start = (keys: string[], name: string) => {
    const file = tls.write(name, `${keys.join('\n')}\n`, 0o600);
    return proxyForTest(configOf(tls, { session_tickets: 1, ticket_key_file: file }));
  };
  const one = await start([old], 'one.keys');
  const other = await start([old], 'other.keys');
  const client = new Client(tls, 'TLSv1.3');
  expect(await client.isResumed(one)).toBe(false);
  expect(await client.isResumed(other)).toBe(true);
  tls.write('other.keys', `${fresh}\n${old}\n`, 0o600);
  await reload(other);
  expect(await client.isResumed(other)).toBe(true);
  // The newest ticket is under the fresh key, which the first instance has not heard of.
  expect(await client.isResumed(one)).toBe(false);
});

test.skipIf(GO === undefined)('Go resumes', { timeout: COMPILE_MILLIS }, async () => {
  const tls = await listenerTls();
  const proxy = await proxyForTest(configOf(tls, { session_tickets: 1 }));
  const program = [`${PROGRAMS}resume.go`, String(proxy.port()), tls.caFile, '3'];
  const environment = { GOFLAGS: '-mod=mod', GOTOOLCHAIN: 'local', GO111MODULE: 'off' };
  const { stdout } = await execute(GO ?? '', ['run', ...program], {
    env: { ...process.env, ...environment },
    timeout: COMPILE_MILLIS,
  });
  expect(stdout).toBe('false\ntrue\ntrue\n');
});

test.skipIf(JAVA === undefined)('Java resumes', { timeout: COMPILE_MILLIS }, async () => {
  const tls = await listenerTls();
  const proxy = await proxyForTest(configOf(tls, { session_tickets: 1 }));
  const program = [`${PROGRAMS}Resume.java`, String(proxy.port()), tls.caFile, '3'];
  await runClient(JAVA ?? '', program);
  expect(await loggedResumptions(proxy, 3)).toEqual([false, true, true]);
});
