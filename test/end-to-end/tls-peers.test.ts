/**
 * Other people's TLS: OpenSSL's s_client, node:tls, Go's crypto/tls, Java's JSSE and libpq 18 through pgtls to PostgreSQL with
 * TLS. Each verifies the certificate over TLS 1.2 and 1.3, behind an SSLRequest and direct with ALPN, and runs a query.
 * Programs that aren't installed are skipped. tokio-postgres, which is rustls, has its place in drivers.test.ts.
 */
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ListenerTls } from '../support/config.ts';
import { newLibpq } from '../support/libpq.ts';
import { material } from '../support/material.ts';
import { isInstalled, runClient } from '../support/programs.ts';
import { ask, openDirectTls, openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { type LogLine, RunningProxy } from '../support/running-proxy.ts';
import { until, within } from '../support/until.ts';
import {
  dataRow,
  type Message,
  MessageReader,
  message,
  query,
  startupMessage,
} from '../support/wire.ts';

const execute = promisify(execFile);

const WAYS = (['TLSv1.2', 'TLSv1.3'] as const).flatMap((version) => [
  [version, 'negotiated'] as const,
  [version, 'direct'] as const,
]);

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const { caFile, tls: cluster } = material();
  const address = `localhost:${cluster.port}`;
  const backend = { address, sslmode: 'verify-full', sslrootcert: caFile };
  const names = ['openssl', 'node', 'go', 'java', 'libpq', 'openssl -tls1', 'openssl -tls1_1'];
  proxy = await RunningProxy.start(
    tls.config(
      names
        .flatMap((peer) => WAYS.map((way) => ({ name: [peer, ...way].join(' '), backend })))
        .concat(names.map((name) => ({ name, backend }))),
    ),
  );
});

afterAll(async () => {
  await proxy?.stop();
  tls?.remove();
});

/** What the summary line of a session must say, whoever the client was. */
function sessionFields(version: string, way: string, group: string) {
  return {
    tls_version: version,
    group,
    sni: 'localhost',
    user: 'trusted',
    // Behind a Terminate either peer may be the first to close.
    reason: expect.stringMatching(/^(client|backend)_closed$/),
    backend_tls_version: 'TLSv1.3',
    ...(way === 'direct' ? { alpn: 'postgresql' } : {}),
  };
}

/** Whether a program starts at all. */
function runs(program: string, ...args: string[]): string | null {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch {
    return null;
  }
}

describe('node:tls', () => {
  test.each(WAYS)('over %s, %s', async (version, way) => {
    const route = `node ${version} ${way}`;
    const open = way === 'direct' ? openDirectTls : openNegotiatedTls;
    const versions = { minVersion: version, maxVersion: version };
    const channel = await open(proxy.port(route), { ...tls.clientOptions, ...versions });
    await startSession(channel);
    expect(channel.stream.authorized).toBe(true);
    expect(await ask(channel, 'select 6 * 7')).toEqual([['42']]);
    channel.destroy();
    const line = await proxy.logged({ event: 'conn.close', route });
    expect(line).toMatchObject(sessionFields(version, way, 'X25519'));
  });
});

describe.skipIf(runs('openssl', 'version') === null)('openssl s_client', () => {
  test.each(WAYS)('over %s, %s', async (version, way) => {
    const route = `openssl ${version} ${way}`;
    const messages = await sClient(proxy.port(route), [
      version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3',
      ...(way === 'direct' ? ['-alpn', 'postgresql'] : ['-starttls', 'postgres']),
    ]);
    const rows = messages.filter(({ type }) => type === 'D').map(({ body }) => dataRow(body));
    expect(rows).toEqual([['42']]);
    const line = await proxy.logged({ event: 'conn.close', route });
    expect(line).toMatchObject(sessionFields(version, way, expect.stringMatching(/^X25519/)));
  });

  const OLD = ['-tls1', '-tls1_1'] as const;
  // Where OpenSSL is built without them the options are unknown.
  const known = OLD.filter((option) => sClientHelp().includes(`${option} `));
  test.skipIf(known.length === 0).each(known)(
    'of %s is told that the version is too old',
    async (option) => {
      const port = proxy.port(`openssl ${option}`);
      const child = spawn('openssl', [
        ...['s_client', '-connect', `127.0.0.1:${port}`, '-starttls', 'postgres'],
        ...[option, '-cipher', 'ALL:@SECLEVEL=0'],
      ]);
      child.stdin.end();
      await within(60_000, 's_client ends', once(child, 'close'));
      const line = await proxy.logged({ event: 'conn.close', route: `openssl ${option}` });
      expect(line).toMatchObject({
        tls_failure: 'no_shared_version',
        alert: 'protocol_version',
        alert_direction: 'sent',
      });
    },
  );
});

function sClientHelp(): string {
  const { stdout, stderr } = spawnSync('openssl', ['s_client', '-help'], { encoding: 'utf8' });
  return `${stdout}${stderr}`;
}

/** A session typed into s_client; the messages that it printed. */
async function sClient(port: number, args: readonly string[]): Promise<Message[]> {
  const child = spawn(
    'openssl',
    [
      's_client',
      ...['-connect', `127.0.0.1:${port}`, '-servername', 'localhost', '-quiet'],
      ...['-CAfile', tls.caFile, '-verify_return_error', '-verify_hostname', 'localhost'],
      ...args,
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  const output = { stdout: [] as Buffer[], stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => output.stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => {
    output.stderr += chunk.toString();
  });
  child.stdin.on('error', () => undefined);
  child.stdin.write(startupMessage({ user: 'trusted', database: 'postgres' }));
  child.stdin.write(query('select 6 * 7'));
  const received = () => new MessageReader().push(Buffer.concat(output.stdout));
  try {
    const reached = () => received().filter(({ type }) => type === 'Z').length === 2;
    await until('s_client has an answer', () => child.exitCode !== null || reached(), {
      millis: 60_000,
      explain: () => output.stderr,
    });
    child.stdin.write(message('X'));
    await within(60_000, 's_client ends', once(child, 'close'));
  } finally {
    child.kill('SIGKILL');
  }
  return received();
}

/** One line of tls_peer.go and TlsPeer.java. */
interface PeerLine {
  readonly version: string;
  readonly direct: boolean;
  readonly alpn: string;
  readonly client: string;
  readonly answer: string;
}

/** Checks the four sessions of a program, and what pgtls logged of each; `group` is that of TLS 1.3. */
async function expectFourSessions(stdout: string, group: string): Promise<void> {
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as PeerLine);
  expect(
    lines.map(({ version, direct, answer }) => [
      version.replace('TLS 1', 'TLSv1'),
      direct ? 'direct' : 'negotiated',
      answer,
    ]),
  ).toEqual(WAYS.map((way) => [...way, '42']));
  for (const [index, { client, alpn, direct }] of lines.entries()) {
    expect(alpn).toBe(direct ? 'postgresql' : '');
    const [version, way] = WAYS[index] ?? ['TLSv1.3', 'direct'];
    const line: LogLine = await proxy.logged({ event: 'conn.close', client_addr: client });
    expect(line).toMatchObject(
      sessionFields(version, way, version === 'TLSv1.3' ? group : 'X25519'),
    );
  }
}

const GO = /go1\.(\d+)/.exec(runs('go', 'version') ?? '');

describe.skipIf(GO === null)("Go's crypto/tls", () => {
  test('over TLS 1.2 and 1.3, negotiated and direct, with X25519MLKEM768 from Go 1.24 on', async () => {
    const program = join(tls.directory, 'tls-peer');
    await execute('go', ['build', '-o', program, fixture('tls_peer.go')], {
      env: { ...process.env, GOCACHE: cacheFolder('go'), GOTOOLCHAIN: 'local', GOFLAGS: '' },
      cwd: tls.directory,
    });
    const { stdout } = await execute(program, [String(proxy.port('go')), tls.caFile]);
    await expectFourSessions(stdout, Number(GO?.[1]) >= 24 ? 'X25519MLKEM768' : 'X25519');
  }, 300_000);
});

const JAVA = /version "(?:1\.)?(\d+)/.exec(javaVersion());

describe.skipIf(Number(JAVA?.[1] ?? 0) < 11)("Java's JSSE", () => {
  test('over TLS 1.2 and 1.3, negotiated and direct', async () => {
    const { stdout } = await execute('java', [
      fixture('TlsPeer.java'),
      String(proxy.port('java')),
      tls.caFile,
    ]);
    await expectFourSessions(stdout, expect.stringMatching(/^X25519/) as unknown as string);
  }, 120_000);
});

/** Java writes its version to stderr. */
function javaVersion(): string {
  return runs('sh', '-c', 'java -version 2>&1') ?? '';
}

function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}

/** A folder that outlives the run: compiling Go's library takes long only once. */
function cacheFolder(name: string): string {
  const folder = fileURLToPath(new URL(`../../.cache/${name}`, import.meta.url));
  mkdirSync(folder, { recursive: true });
  return folder;
}

describe.skipIf(!isInstalled('psql'))('libpq 18 or newer', () => {
  const environment = newLibpq();

  test.each(WAYS)('over %s, %s', async (version, way) => {
    const route = `libpq ${version} ${way}`;
    const settings = [
      `host=localhost hostaddr=127.0.0.1 port=${proxy.port(route)} user=trusted dbname=postgres`,
      `sslmode=verify-full sslrootcert=${tls.caFile} ssl_min_protocol_version=${version}`,
      `ssl_max_protocol_version=${version}`,
      `sslnegotiation=${way === 'direct' ? 'direct' : 'postgres'}`,
    ].join(' ');
    const { stdout } = await runClient(
      'psql',
      ['-XAt', settings, '-c', 'select 6 * 7'],
      environment,
    );
    expect(stdout).toBe('42\n');
    const line = await proxy.logged({ event: 'conn.close', route });
    const group = expect.stringMatching(/^(X25519|secp256r1)/);
    expect(line).toMatchObject({ ...sessionFields(version, way, group), alpn: 'postgresql' });
  });
});
