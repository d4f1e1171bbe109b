/**
 * PgBouncer as the backend, node-postgres' pool as the client. PgBouncer lets its clients resume their TLS sessions, by ticket in
 * TLS 1.2 and by two tickets a full handshake, one a resumed one, in TLS 1.3; which handshakes were resumed is what the log says.
 */
import { readdirSync } from 'node:fs';
import { Writable } from 'node:stream';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/config/parse.ts';
import { createLogger } from '../../src/proxy/process-log.ts';
import { type Proxy as InProcessProxy, startProxy } from '../../src/proxy/proxy.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { ListenerTls, type Table } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectDirectly, connectPg } from '../support/pg-client.ts';
import { PGBOUNCER, PgBouncer } from '../support/pgbouncer.ts';
import { openNegotiatedTls } from '../support/raw-client.ts';
import { type LogLine, proxyForTest } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';
import { cancelRequest } from '../support/wire.ts';

const PROTOCOLS = ['TLSv1.2', 'TLSv1.3'] as const;
type Protocol = (typeof PROTOCOLS)[number];

/** So many logins come at once. */
const BURST = 4;
/** One more than that: the keeper may be looking at one just when it is wanted. */
const WARM = BURST + 1;
/** Longer than a test takes on a slow machine: none is to be made anew for its age. */
const MAX_AGE = '5m';
const MISSING = PGBOUNCER === null ? ' (skipped: no pgbouncer is installed)' : '';

let tls: ListenerTls;
let pgbouncer: PgBouncer;

beforeAll(async () => {
  if (PGBOUNCER !== null) {
    tls = await ListenerTls.create();
    pgbouncer = await PgBouncer.start(PGBOUNCER, tls.server, material().plain);
  }
});

afterAll(async () => {
  await pgbouncer?.stop();
  tls?.remove();
});

function backendOf(protocol: Protocol, more: Table = {}): Table {
  return {
    address: `localhost:${pgbouncer.port}`,
    sslmode: 'verify-full',
    sslrootcert: tls.caFile,
    ssl_min_protocol_version: protocol,
    ssl_max_protocol_version: protocol,
    ...more,
  };
}

function configOf(protocol: Protocol, more: Table = {}): string {
  return tls.config([{ name: 'pooled', backend: backendOf(protocol, more) }]);
}

/** pgtls within this process, where its counters can be read, and its log. */
interface Observed {
  readonly proxy: InProcessProxy;
  readonly logs: readonly LogLine[];
}

async function start(protocol: Protocol, more: Table = {}): Promise<Observed> {
  const { config } = loadConfig(tls.write('pgtls.toml', configOf(protocol, more)), {});
  const logs: LogLine[] = [];
  const destination = new Writable({
    write(line: Buffer, _encoding, done) {
      logs.push(JSON.parse(line.toString()) as LogLine);
      done();
    },
  });
  const logger = createLogger({ level: 'debug', format: 'json', destination });
  const proxy = await startProxy(config, { logger });
  onTestFinished(() => proxy.close());
  return { proxy, logs };
}

function startWarm(protocol: Protocol, more: Table = {}): Promise<Observed> {
  return start(protocol, { warm_connections: WARM, warm_max_age: MAX_AGE, ...more });
}

function countersOf(proxy: InProcessProxy) {
  const [route] = proxy.snapshot().routes;
  if (route === undefined) {
    throw new Error('there is no route');
  }
  return route;
}

function portOf(proxy: InProcessProxy): number {
  const address = proxy.addresses[0]?.address ?? '';
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

async function filled(proxy: InProcessProxy): Promise<void> {
  await until(`${WARM} are warm`, () => countersOf(proxy).warmConnections === WARM, {
    explain: () => pgbouncer.log,
  });
}

function clientConfig(port: number): pg.ClientConfig {
  return {
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password: material().plain.password,
    database: 'postgres',
    ssl: tls.clientOptions,
  };
}

/** So many logins at once through a pool of their own. */
async function logIn(port: number, logins: number, database = 'postgres'): Promise<void> {
  const pool = new pg.Pool({ ...clientConfig(port), database, max: logins });
  pool.on('error', () => undefined);
  try {
    const queries = Array.from({ length: logins }, () => pool.query('select 6 * 7 as answer'));
    for (const { rows } of await Promise.all(queries)) {
      expect(rows).toEqual([{ answer: 42 }]);
    }
  } finally {
    await pool.end();
  }
}

/** Logins one after the other, each with its session over and its tickets received before the next. */
async function logInOneByOne(
  port: number,
  logs: readonly LogLine[],
  logins: number,
): Promise<void> {
  const before = sessionsOf(logs).length;
  for (let login = 1; login <= logins; login += 1) {
    await logIn(port, 1);
    await resumptions(logs, before + login);
  }
}

/** The sessions that have ended, CancelRequests aside. */
function sessionsOf(logs: readonly LogLine[]): LogLine[] {
  return logs.filter((line) => line['event'] === 'conn.close' && line['is_cancel'] !== true);
}

/** The first line with these fields, once there is one. */
function logged(logs: readonly LogLine[], fields: LogLine): Promise<LogLine> {
  const wanted = Object.entries(fields);
  return until(
    `the log has a line with ${JSON.stringify(fields)}`,
    () => logs.find((line) => wanted.every(([key, value]) => line[key] === value)),
    { explain: () => JSON.stringify(logs, null, 1) },
  );
}

/** What the log says of the backend handshakes of the sessions that have ended, once there are so many: oldest first. */
async function resumptions(logs: readonly LogLine[], sessions: number): Promise<unknown[]> {
  await until(`${sessions} sessions have ended`, () => sessionsOf(logs).length >= sessions, {
    explain: () => JSON.stringify(logs, null, 1),
  });
  return sessionsOf(logs).map((line) => line['backend_resumed']);
}

describe.skipIf(PGBOUNCER === null)(`behind PgBouncer${MISSING}`, () => {
  test.each(PROTOCOLS)(
    'of sessions one after the other the first shakes hands in full and every other resumes (%s)',
    async (protocol) => {
      const { proxy, logs } = await start(protocol);
      await logInOneByOne(portOf(proxy), logs, 5);
      expect(await resumptions(logs, 5)).toEqual([false, true, true, true, true]);
      for (const line of sessionsOf(logs)) {
        expect(line).toMatchObject({ backend_tls_version: protocol });
      }
    },
  );

  test.each(PROTOCOLS)(
    'each login of a pool takes a warm connection, and those made after the first logins resume (%s)',
    async (protocol) => {
      const rounds = 5;
      const { proxy, logs } = await startWarm(protocol);
      for (let round = 1; round <= rounds; round += 1) {
        await filled(proxy);
        await logIn(portOf(proxy), BURST);
        await resumptions(logs, BURST * round);
        expect(countersOf(proxy)).toMatchObject({ warmHits: BURST * round, warmMisses: 0 });
      }
      const all = await resumptions(logs, BURST * rounds);
      // At the start there was no session to resume, and perhaps none had come when the first were replaced.
      const full = all.filter((resumed) => resumed === false).length;
      const resumed = all.filter((resumed) => resumed === true).length;
      expect(full).toBeGreaterThanOrEqual(1);
      expect(full).toBeLessThanOrEqual(WARM + BURST);
      expect(full + resumed).toBe(BURST * rounds);
    },
  );

  test('a cancel reaches the query, takes no warm connection, and leaves the session usable', async () => {
    const { proxy, logs } = await startWarm('TLSv1.3');
    await filled(proxy);
    const client = await connectPg(clientConfig(portOf(proxy)));
    const cancelled = client.query("select pg_sleep(300), 'cancel me'").then(
      () => 'it ended by itself',
      (error: pg.DatabaseError) => error.code,
    );
    const observer = await connectDirectly(material().plain);
    await until('pg_sleep runs', async () => {
      const text = "select 1 from pg_stat_activity where wait_event = 'PgSleep' and query like $1";
      return (await observer.query(text, ['%cancel me%'])).rowCount === 1;
    });
    await filled(proxy);

    const canceller = await openNegotiatedTls(portOf(proxy), tls.clientOptions);
    onTestFinished(() => canceller.destroy());
    await canceller.write(cancelOf(client));
    expect((await canceller.ended()).kind).toBe('end');
    canceller.destroy();

    expect(await cancelled).toBe('57014');
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await logged(logs, { event: 'conn.close', is_cancel: true, reason: 'cancel_forwarded' });
    expect(countersOf(proxy)).toMatchObject({ warmHits: 1, warmMisses: 0, warmConnections: WARM });
  });

  test.each(PROTOCOLS)(
    'a SIGHUP with the same files keeps what can be resumed (%s)',
    async (protocol) => {
      const proxy = await proxyForTest(configOf(protocol));
      await logInOneByOne(proxy.port(), proxy.logs, 2);
      proxy.signal('SIGHUP');
      await proxy.logged({ event: 'cert.reload', result: 'success', trigger: 'request' });
      await logInOneByOne(proxy.port(), proxy.logs, 2);
      expect(await resumptions(proxy.logs, 4)).toEqual([false, true, true, true]);
    },
  );

  test.each(PROTOCOLS)(
    'a reload with the same files keeps the warm connections themselves (%s)',
    async (protocol) => {
      const { proxy } = await startWarm(protocol);
      await filled(proxy);
      const warm = pgbouncer.clientPorts();
      expect(warm).toHaveLength(WARM);
      await proxy.reloadCertificates();
      const database = `kept-${protocol}`;
      await logIn(portOf(proxy), BURST, database);
      expect(countersOf(proxy)).toMatchObject({ warmHits: BURST, warmMisses: 0 });
      const used = await pgbouncer.loginsTo(database, BURST);
      expect(used).toHaveLength(BURST);
      expect(used.filter((port) => !warm.includes(port))).toEqual([]);
    },
  );

  test.each(PROTOCOLS)(
    'a reload with another sslrootcert makes the warm connections anew (%s)',
    async (protocol) => {
      const other = await CertificateAuthority.create('another authority');
      const roots = tls.write('warm-roots.crt', tls.authority.certPem);
      const { proxy } = await startWarm(protocol, { sslrootcert: roots });
      await filled(proxy);
      const warm = pgbouncer.clientPorts();
      expect(warm).toHaveLength(WARM);
      tls.write('warm-roots.crt', `${tls.authority.certPem}\n${other.certPem}`);
      await proxy.reloadCertificates();
      await filled(proxy);
      const database = `replaced-${protocol}`;
      await logIn(portOf(proxy), BURST, database);
      expect(countersOf(proxy)).toMatchObject({ warmHits: BURST, warmMisses: 0 });
      const used = await pgbouncer.loginsTo(database, BURST);
      expect(used).toHaveLength(BURST);
      expect(used.filter((port) => warm.includes(port))).toEqual([]);
    },
  );

  test.each(PROTOCOLS)(
    'a reload with another sslrootcert resumes nothing that was verified with the old one (%s)',
    async (protocol) => {
      const other = await CertificateAuthority.create('another authority');
      const roots = tls.write('roots.crt', tls.authority.certPem);
      const { proxy, logs } = await start(protocol, { sslrootcert: roots });
      await logInOneByOne(portOf(proxy), logs, 2);
      tls.write('roots.crt', `${tls.authority.certPem}\n${other.certPem}`);
      await proxy.reloadCertificates();
      await logInOneByOne(portOf(proxy), logs, 2);
      expect(await resumptions(logs, 4)).toEqual([false, true, false, true]);
    },
  );

  test.each(PROTOCOLS)(
    'neither a warm connection nor a session outlives the sslrootcert it was verified with (%s)',
    async (protocol) => {
      const other = await CertificateAuthority.create('another authority');
      const roots = tls.write('trusted.crt', tls.authority.certPem);
      const { proxy, logs } = await startWarm(protocol, { sslrootcert: roots });
      await filled(proxy);
      await logInOneByOne(portOf(proxy), logs, 2);
      await filled(proxy);
      tls.write('trusted.crt', other.certPem);
      await proxy.reloadCertificates();
      await expect(logIn(portOf(proxy), 1)).rejects.toMatchObject({ code: '08001' });
      expect(await logged(logs, { event: 'conn.close', sqlstate: '08001' })).toMatchObject({
        reason: 'backend_tls_handshake_failed',
        tls_failure: 'unknown_ca',
      });
      expect(countersOf(proxy)).toMatchObject({ warmConnections: 0 });
      tls.write('trusted.crt', tls.authority.certPem);
      await proxy.reloadCertificates();
      await filled(proxy);
      await logIn(portOf(proxy), 1);
    },
  );

  test('the end leaves no descriptor open', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    const { proxy } = await startWarm('TLSv1.3');
    await filled(proxy);
    await logIn(portOf(proxy), BURST);
    await filled(proxy);
    expect(descriptors()).toBeGreaterThanOrEqual(before + WARM);
    await proxy.close();
    await until('as few descriptors are open as before', () => descriptors() <= before || null, {
      explain: () => `${descriptors()} are open, ${before} were`,
    });
  });
});

/** What cancels a query of this client: PgBouncer gave it a key of its own. */
function cancelOf(client: pg.Client): Buffer {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const key = Buffer.alloc(4);
  key.writeInt32BE(secretKey);
  return cancelRequest(processID, key);
}
