/** Real drivers through pgtls with the certificate verified: node-postgres, postgres.js, tokio-postgres. */
import { execFile } from 'node:child_process';
import type { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type pg from 'pg';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { CertificateAuthority } from '../support/certificates.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectPg } from '../support/pg-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';

const TOKIO_POSTGRES_CLIENT = fileURLToPath(
  new URL('../../target/release/pgtls-tokio-postgres-client', import.meta.url),
);

let tls: ListenerTls;
let rsaTls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  rsaTls = await ListenerTls.create('rsa');
  const backend = plainBackend(material().plain.port);
  const rsaListener = {
    ssl_cert_file: rsaTls.server.certFile,
    ssl_key_file: rsaTls.server.keyFile,
  };
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'ecdsa', backend },
      { name: 'rsa', backend, listener: rsaListener },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
  rsaTls.remove();
});

function scramLogin(): { user: string; password: string } {
  return { user: 'postgres', password: material().plain.password };
}

function streamOf(client: pg.Client): TLSSocket {
  return (client as unknown as { connection: { stream: TLSSocket } }).connection.stream;
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', (version) => {
  const versions = { minVersion: version, maxVersion: version };

  test.each(['ecdsa', 'rsa'])(
    'node-postgres logs in with SCRAM and queries (%s certificate)',
    async (route) => {
      const ca = (route === 'rsa' ? rsaTls : tls).clientOptions;
      const client = await connectPg({
        ...scramLogin(),
        port: proxy.port(route),
        ssl: { ...ca, ...versions },
      });

      const { rows } = await client.query(
        'select $1::int + 1 as answer, length(repeat($2, 3000000)) as long',
        [41, 'x'],
      );

      expect(streamOf(client).getProtocol()).toBe(version);
      expect(rows).toEqual([{ answer: 42, long: 3_000_000 }]);
    },
  );

  test('node-postgres goes on after an error and reads a result of many records', async () => {
    const client = await connectPg({
      port: proxy.port('ecdsa'),
      ssl: { ...tls.clientOptions, ...versions },
    });

    await expect(client.query('select 1/0')).rejects.toMatchObject({ code: '22012' });
    const { rows } = await client.query(
      'select repeat(md5(n::text), 30) as text from generate_series(1, 5000) n',
    );

    expect(rows).toHaveLength(5000);
    expect(rows.every(({ text }) => text.length === 960)).toBe(true);
  });

  test('postgres.js runs parallel queries and a transaction', async () => {
    const sql = postgres({
      host: '127.0.0.1',
      port: proxy.port('ecdsa'),
      ...scramLogin(),
      database: 'postgres',
      ssl: { ...tls.clientOptions, ...versions },
      max: 5,
      onnotice: () => undefined,
    });
    onTestFinished(() => sql.end({ timeout: 5 }));

    const squares = await Promise.all(
      Array.from(
        { length: 50 },
        (_, n) => sql<{ square: number }[]>`select ${n}::int * ${n}::int as square`,
      ),
    );
    const inserted = await sql.begin(async (transaction) => {
      await transaction`create temporary table numbers (n int) on commit drop`;
      await transaction`insert into numbers ${transaction([{ n: 1 }, { n: 2 }])}`;
      return transaction`select sum(n)::int as sum from numbers`;
    });

    expect(squares.map(([row]) => row?.square)).toEqual(
      Array.from({ length: 50 }, (_, n) => n * n),
    );
    expect(inserted[0]?.['sum']).toBe(3);
  });
});

test('a client that does not trust the certificate sends no password, and the log names peer and route', async () => {
  const stranger = await CertificateAuthority.create('somebody else');
  const strangerFile = tls.write('stranger.crt', stranger.certPem);

  await expect(runTokioPostgres('ecdsa', strangerFile)).rejects.toThrow(/UnknownIssuer/);

  const line = await proxy.logged({ event: 'conn.close', reason: 'client_tls_handshake_failed' });
  expect(line).toMatchObject({ route: 'ecdsa', bytes_in: 0, bytes_out: 0 });
  expect(line['client_addr']).toMatch(/^127\.0\.0\.1:\d+$/);
});

test('the summary line of a session tells TLS, bytes, user and database', async () => {
  const client = await connectPg({ port: proxy.port('ecdsa'), ssl: tls.clientOptions });
  const { localPort } = streamOf(client);
  await client.query('select 1');
  await client.end();

  const line = await proxy.logged({ event: 'conn.close', client_addr: `127.0.0.1:${localPort}` });
  expect(line).toMatchObject({
    route: 'ecdsa',
    tls_version: 'TLSv1.3',
    user: 'trusted',
    database: 'postgres',
    sni: 'localhost',
    reason: 'client_closed',
  });
  expect(line['bytes_in']).toBeGreaterThan(0);
  expect(line['bytes_out']).toBeGreaterThan(0);
});

test('tokio-postgres queries, copies, pipelines, cancels and is notified over verified TLS', async () => {
  expect(JSON.parse(await runTokioPostgres('ecdsa', tls.caFile))).toMatchObject({ ok: true });
});

/** Runs the test kit's client; its line of JSON, or an error with that line. */
async function runTokioPostgres(route: string, caFile: string): Promise<string> {
  const { user, password } = scramLogin();
  const server = `host=localhost hostaddr=127.0.0.1 port=${proxy.port(route)} dbname=postgres`;
  const args = [`${server} user=${user} password=${password}`, caFile];
  try {
    return (await promisify(execFile)(TOKIO_POSTGRES_CLIENT, args)).stdout;
  } catch (error) {
    throw new Error(`tokio-postgres: ${(error as { stdout?: string }).stdout}`, { cause: error });
  }
}
