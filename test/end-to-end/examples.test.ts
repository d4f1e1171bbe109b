/** The programs and configurations of examples/ that need no container, as they stand but for addresses and paths. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../src/cli/demo/free-port.ts';
import { CertificateAuthority, LOCAL_NAMES } from '../support/certificates.ts';
import { ListenerTls } from '../support/config.ts';
import { material } from '../support/material.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import { connectPg } from '../support/pg-client.ts';
import { proxyForTest } from '../support/running-proxy.ts';
import { until, WAIT_MILLIS, within } from '../support/until.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url));

let tls: ListenerTls;
/** A server of the tests' own authority, with TLS 1.3 until the tests below `tls13-only` take it away. */
let own: OwnCluster;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const localhost = { commonName: 'localhost', names: LOCAL_NAMES };
  own = await OwnCluster.start({ identity: await tls.authority.issue(localhost) });
  const both = `${tls.authority.certPem}${readFileSync(material().caFile, 'utf8')}`;
  tls.write('backend-ca.crt', both);
  for (const name of ['orders', 'billing']) {
    await tls.issue(name, { commonName: name, names: [`${name}.db.example`] });
  }
});

afterAll(async () => {
  await own?.stop();
  tls?.remove();
});

/** The text of a configuration with these words replaced, each of which must be there. */
function configuration(path: string, replaced: Readonly<Record<string, string>>): string {
  return Object.entries(replaced).reduce(
    (text, [word, other]) => {
      expect(text).toContain(word);
      return text.replaceAll(word, other);
    },
    readFileSync(join(EXAMPLES, path), 'utf8'),
  );
}

/** Names of files in the examples, and where they are here. */
function files(): Record<string, string> {
  const { certFile, keyFile } = tls.server;
  return { '"tls.crt"': `"${certFile}"`, '"tls.key"': `"${keyFile}"` };
}

const BACKEND_CA = () => ({ '"backend-ca.crt"': `"${join(tls.directory, 'backend-ca.crt')}"` });

interface Program {
  readonly port: number;
  readonly output: () => string;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Its exit code. */
  readonly exited: () => Promise<number | null>;
}

/** Runs a program of examples/ in the directory of the certificates until it listens. */
async function run(path: string, environment: Readonly<Record<string, string>>): Promise<Program> {
  const child = spawn(process.execPath, [join(EXAMPLES, path)], {
    cwd: tls.directory,
    env: { ...process.env, PGTLS_BIND: '127.0.0.1:0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const exited = once(child, 'close').then(([code]) => code as number | null);
  const explain = () => output;
  const bound = await until(
    'it listens',
    () => child.exitCode !== null || /listening .*:(\d+)/.exec(output),
    { explain },
  );
  if (bound === true) {
    throw new Error(`it ended instead of listening\n${output}`);
  }
  return {
    port: Number(bound[1]),
    output: explain,
    signal: (signal) => child.kill(signal),
    exited: () => within(WAIT_MILLIS, 'it ends', exited),
  };
}

function connect(port: number, ssl: ConnectionOptions = {}, user = 'trusted') {
  return connectPg({ port, user, ssl: { ...tls.clientOptions, ...ssl } });
}

/** What a client is told that must not get a session. */
async function refusal(
  port: number,
  ssl: ConnectionOptions = {},
  user = 'trusted',
): Promise<{ code?: string; message: string }> {
  const options = { host: '127.0.0.1', port, user, database: 'postgres' };
  const client = new pg.Client({ ...options, ssl: { ...tls.clientOptions, ...ssl } });
  client.on('error', () => undefined);
  const error = await client.connect().catch((reason: Error) => reason);
  if (error instanceof Error) {
    return error;
  }
  await client.end();
  throw new Error('it got a session');
}

const TLS_OF_SERVER = 'select version from pg_stat_ssl where pid = pg_backend_pid()';

async function answer(client: pg.Client, query: string): Promise<unknown> {
  const { rows } = await client.query({ text: query, rowMode: 'array' });
  return rows[0]?.[0];
}

describe('node-service', () => {
  test('serves PostgreSQL and health, lets sessions finish and ends', async () => {
    const http = await freePort();
    const service = await run('node-service/service.mjs', {
      BACKEND: `unix:${material().plain.socketPath}`,
      HTTP_PORT: String(http),
      TLS_CERT: tls.server.certFile,
      TLS_KEY: tls.server.keyFile,
    });
    const status = async (path: string) => (await fetch(`http://127.0.0.1:${http}${path}`)).status;
    expect(await status('/healthz')).toBe(200);
    expect(await status('/readyz')).toBe(200);
    const client = await connect(service.port);
    expect(await answer(client, 'select 1')).toBe(1);
    const sessions = await fetch(`http://127.0.0.1:${http}/sessions`);
    expect(await sessions.json()).toMatchObject({ live: 1, negotiating: 0 });

    service.signal('SIGTERM');
    await until('it is not ready any more', async () => (await status('/readyz')) === 503);
    expect(await answer(client, 'select 2')).toBe(2);
    await client.end();
    expect(await service.exited()).toBe(0);
    expect(service.output()).toMatch(/trusted was connected to postgres for \d+ ms: client_closed/);
    expect(service.output()).toContain('1 sessions finished, 0 were cut');
  });

  test('says everything that is wrong, and ends with 1', async () => {
    const failing = run('node-service/service.mjs', {
      HTTP_PORT: '0',
      PGTLS_BIND: 'nowhere',
      TLS_CERT: 'absent.crt',
      TLS_KEY: tls.server.keyFile,
    });
    const error = await failing.catch(String);
    expect(error).toContain('proxy[0].listener.bind_address: "nowhere" has no port');
    expect(error).toContain('absent.crt" does not exist');
  });
});

test('two-clusters leads each server name to its cluster, and others nowhere', async () => {
  const program = await run('two-clusters/proxy.mjs', {
    ORDERS: `localhost:${own.port}`,
    BILLING: `localhost:${material().tls.port}`,
  });
  const portBehind = async (servername: string) => {
    const client = await connect(program.port, { servername });
    const port = await answer(client, 'select inet_server_port()');
    await client.end();
    return port;
  };
  expect(await portBehind('orders.db.example')).toBe(own.port);
  expect(await portBehind('billing.db.example')).toBe(material().tls.port);
  const other = await refusal(program.port, { servername: 'other.db.example' });
  expect(other.message).toMatch(/alert/);
  program.signal('SIGTERM');
  expect(await program.exited()).toBe(0);
});

test('client-certificates lets the holder of a certificate be whom the map says', async () => {
  const clients = await CertificateAuthority.create('clients CA');
  const issue = (name: string) => clients.issue({ commonName: name, names: [] });
  const proxy = await proxyForTest(
    configuration('client-certificates/pgtls.toml', {
      ...files(),
      '0.0.0.0:6432': '127.0.0.1:0',
      '"clients-ca.crt"': `"${tls.write('clients-ca.crt', clients.certPem)}"`,
      '"users.map"': `"${join(EXAMPLES, 'client-certificates/users.map')}"`,
      'unix:/var/run/postgresql': `unix:${material().plain.socketPath}`,
    }),
  );
  const port = proxy.port();
  const { certPem: cert, keyPem: key } = await issue('trusted@people.example');
  const client = await connect(port, { cert, key });
  expect(await answer(client, 'select current_user::text')).toBe('trusted');
  expect(await refusal(port, { cert, key }, 'postgres')).toMatchObject({ code: '28000' });
  const stranger = await issue('stranger');
  const shown = { cert: stranger.certPem, key: stranger.keyPem };
  expect(await refusal(port, shown)).toMatchObject({ code: '28000' });
  expect((await refusal(port)).message).toMatch(/alert/);
});

describe('tls13-only', () => {
  beforeAll(async () => {
    await own.query("alter system set ssl_max_protocol_version = 'TLSv1.2'");
    await own.query('select pg_reload_conf()');
  });

  test('demands TLS 1.3 of clients although the server has only 1.2', async () => {
    const proxy = await proxyForTest(
      configuration('tls13-only/strict-clients.toml', {
        ...files(),
        ...BACKEND_CA(),
        '0.0.0.0:6432': '127.0.0.1:0',
        'legacy.internal:5432': `localhost:${own.port}`,
      }),
    );
    await until('the server has only TLS 1.2', async () => {
      const client = await connect(proxy.port(), { minVersion: 'TLSv1.3' });
      return (await answer(client, TLS_OF_SERVER)) === 'TLSv1.2';
    });
    const old = await refusal(proxy.port(), { maxVersion: 'TLSv1.2' });
    expect(old.message).toMatch(/protocol version/);
  });

  test('demands TLS 1.3 of servers although the client has only 1.2', async () => {
    const start = (port: number) =>
      proxyForTest(
        configuration('tls13-only/strict-servers.toml', {
          ...files(),
          ...BACKEND_CA(),
          '127.0.0.1:6432': '127.0.0.1:0',
          'db.example.com:5432': `localhost:${port}`,
        }),
      );
    const proxy = await start(material().tls.port);
    const client = await connect(proxy.port(), { maxVersion: 'TLSv1.2' });
    expect(await answer(client, TLS_OF_SERVER)).toBe('TLSv1.3');
    const legacy = await start(own.port);
    expect(await refusal(legacy.port())).toMatchObject({ code: '08001' });
  });
});

test('sidecar lets an application without TLS reach the server over TLS that is verified', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-sidecar-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  await proxyForTest(
    configuration('sidecar/pgtls.toml', {
      ...BACKEND_CA(),
      '"unix:/run/pgtls/': `"unix:${directory}/`,
      'db.example.com:5432': `localhost:${material().tls.port}`,
    }),
  );
  expect(statSync(join(directory, '.s.PGSQL.5432')).mode & 0o777).toBe(0o770);
  const client = await connectPg({ host: directory, port: 5432 });
  expect(await answer(client, TLS_OF_SERVER)).toBe('TLSv1.3');
});
