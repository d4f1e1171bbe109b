/**
 * Client mode × listener mode × backend mode × PostgreSQL's set-up: every cell is a real login through the running program,
 * and what must become of it is computed by `support/tls-oracle.ts`. One process serves all routes.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  CertificateAuthority,
  type IdentityFiles,
  writeIdentity,
} from '../support/certificates.ts';
import { ListenerTls, type RouteText, type Table } from '../support/config.ts';
import { newLibpq } from '../support/libpq.ts';
import { LibpqLikeClient } from '../support/libpq-like-client.ts';
import { connectionBooks } from '../support/log-books.ts';
import { material } from '../support/material.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import { isInstalled, runClient } from '../support/programs.ts';
import { RunningProxy, runProgram } from '../support/running-proxy.ts';
import {
  allCells,
  BACKEND_MODES,
  type BackendMode,
  type Cell,
  type ClientMode,
  describeOutcome,
  type Failure,
  LISTENER_MODES,
  type ListenerMode,
  nameOf,
  type Outcome,
  SERVER_MODES,
  type ServerMode,
  WEAK_CLIENT_MODES,
} from '../support/tls-oracle.ts';

const CELLS = allCells();

/** psql takes 50 times as long: one cell for each pair of client and listener, with backends taken in turn. */
const DIAGONAL = CELLS.filter(
  (_, index) => index % (BACKEND_MODES.length * SERVER_MODES.length) === diagonal(index),
);

function diagonal(index: number): number {
  const perPair = BACKEND_MODES.length * SERVER_MODES.length;
  return (Math.floor(index / perPair) * 7) % perPair;
}

/** The user whose pg_hba.conf rules make the set-up. */
const USERS: Readonly<Record<ServerMode, string>> = {
  'ssl=on': 'trusted',
  'ssl=off': 'trusted',
  'hostssl only': 'encrypted',
};

const RULES = `
hostssl all encrypted 127.0.0.1/32 trust
`;

const libpq = newLibpq();

let tls: ListenerTls;
let clientFiles: IdentityFiles;
let cluster: OwnCluster;
let proxy: RunningProxy;
let client: LibpqLikeClient;
let ports: ReadonlyMap<string, number>;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const clients = await CertificateAuthority.create('clients CA');
  writeFileSync(join(tls.directory, 'clients.crt'), clients.certPem);
  const identity = await clients.issue({ commonName: 'app', names: [] });
  clientFiles = writeIdentity(tls.directory, 'client', identity);
  client = new LibpqLikeClient({ authorityPem: tls.authority.certPem, identity });
  const server = await tls.authority.issue({ commonName: 'localhost', names: ['localhost'] });
  cluster = await OwnCluster.start({ identity: server, rules: RULES, roles: ['encrypted'] });
  proxy = await RunningProxy.start(tls.config(allRoutes()));
  ports = new Map(proxy.logs.filter(({ event }) => event === 'listener.bind').map(portOfLine));
}, 120_000);

afterAll(async () => {
  await proxy?.stop();
  await cluster?.stop();
  tls?.remove();
});

function allRoutes(): RouteText[] {
  return LISTENER_MODES.flatMap((listener) =>
    BACKEND_MODES.flatMap((backend) =>
      SERVER_MODES.map((server) => ({
        name: routeName(listener, backend, server),
        listener: listenerTable(listener),
        backend: backendTable(backend, server),
      })),
    ),
  );
}

function routeName(listener: ListenerMode, backend: BackendMode, server: ServerMode): string {
  const modes = [listener, backend].map((mode) => `${mode.sslmode}/${mode.sslnegotiation}`);
  return [...modes, server].join(' ');
}

function listenerTable({ sslmode, sslnegotiation }: ListenerMode): Table {
  const files: Table = {
    ...(sslmode === 'disable' ? { ssl_cert_file: null, ssl_key_file: null } : {}),
    ...(sslmode === 'verify-ca' ? { ssl_ca_file: join(tls.directory, 'clients.crt') } : {}),
  };
  return { sslmode, sslnegotiation, ...files };
}

function backendTable({ sslmode, sslnegotiation }: BackendMode, server: ServerMode): Table {
  const port = server === 'ssl=off' ? material().plain.port : cluster.port;
  const isVerified = sslmode === 'verify-ca' || sslmode === 'verify-full';
  return {
    address: `localhost:${port}`,
    sslmode,
    sslnegotiation,
    ...(isVerified ? { sslrootcert: tls.caFile } : {}),
  };
}

function portOfLine(line: Readonly<Record<string, unknown>>): [string, number] {
  return [String(line['route']), Number(/:(\d+)$/.exec(String(line['listener_addr']))?.[1])];
}

function portOf({ listener, backend, server }: Cell): number {
  return ports.get(routeName(listener, backend, server)) ?? 0;
}

describe('every mode', () => {
  test.concurrent.for(CELLS.map((cell) => [nameOf(cell), cell] as const))(
    '%s',
    async ([, cell], { expect: expectHere }) => {
      const outcome = await client.connect(portOf(cell), USERS[cell.server], cell.client);
      expectHere(outcome).toEqual(cell.expected);
    },
  );

  test('the books of the program balance: one conn.close for each conn.accept, and no panic', async () => {
    await proxy.stop();
    const books = connectionBooks(proxy.logs);
    expect(books).toEqual({ accepted: books.accepted, closed: books.accepted, internal: [] });
    expect(books.accepted).toBeGreaterThanOrEqual(CELLS.length);
    proxy = await RunningProxy.start(tls.config(allRoutes()));
    ports = new Map(proxy.logs.filter(({ event }) => event === 'listener.bind').map(portOfLine));
  });
});

describe.skipIf(!isInstalled('psql'))('psql with libpq 18 or newer', () => {
  test.concurrent.for(DIAGONAL.map((cell) => [nameOf(cell), cell] as const))(
    '%s',
    async ([, cell], { expect: expectHere }) => {
      const outcome = await psql(portOf(cell), USERS[cell.server], cell.client);
      if ('failures' in cell.expected) {
        const last = cell.expected.failures.at(-1);
        expectHere(outcome).toMatch(last === undefined ? /never/ : PSQL_WORDS[last]);
      } else {
        expectHere(outcome).toBe(describeOutcome(cell.expected));
      }
    },
  );

  test.each(WEAK_CLIENT_MODES)('%s/direct: libpq refuses by itself', async (sslmode) => {
    const mode = { sslmode, sslnegotiation: 'direct', hasCertificate: false } as const;
    expect(await psql(1, 'trusted', mode)).toMatch(/weak sslmode .* may not be used/);
  });
});

const PSQL_WORDS: Readonly<Record<Failure, RegExp>> = {
  'plaintext refused': /this server requires TLS/,
  'SSLRequest refused': /server sent an error response during SSL exchange/,
  'SSLRequest declined': /server does not support SSL, but SSL was required/,
  'direct TLS refused': /SSL SYSCALL error|server closed the connection unexpectedly/,
  'certificate required': /alert certificate required/,
  'server without TLS': /behind the proxy/,
  'no pg_hba.conf entry': /no pg_hba\.conf entry/,
};

/** What psql saw: the words of an outcome, or of its error. */
async function psql(port: number, user: string, mode: ClientMode): Promise<string> {
  const { sslmode, sslnegotiation, hasCertificate } = mode;
  const settings = {
    host: 'localhost',
    hostaddr: '127.0.0.1',
    port,
    user,
    dbname: 'postgres',
    sslmode,
    sslnegotiation,
    ...(sslmode.startsWith('verify') ? { sslrootcert: tls.caFile } : { sslrootcert: '' }),
    ...(hasCertificate ? { sslcert: clientFiles.certFile, sslkey: clientFiles.keyFile } : {}),
  };
  const text = Object.entries(settings).map(([key, value]) => `${key}='${value}'`);
  const query = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
  try {
    const { stdout } = await runClient(
      'psql',
      ['-XAt', text.join(' '), '-c', '\\conninfo', '-c', query],
      { ...libpq, HOME: tls.directory },
    );
    const outcome: Outcome = {
      client: stdout.includes('SSL connection') ? 'TLS' : 'plaintext',
      backend: /^t$/m.test(stdout) ? 'TLS' : 'plaintext',
    };
    return describeOutcome(outcome);
  } catch (error) {
    return String((error as { stderr?: string }).stderr ?? error);
  }
}

describe('modes that a configuration may not have', () => {
  const refused: ReadonlyArray<
    [side: 'listener' | 'backend', sslmode: string, sslnegotiation: string]
  > = [
    ['listener', 'disable', 'direct'],
    ['listener', 'prefer', 'direct'],
    ['listener', 'allow', 'any'],
    ['listener', 'verify-full', 'any'],
    ['backend', 'disable', 'direct'],
    ['backend', 'prefer', 'direct'],
    ['backend', 'allow', 'postgres'],
    ['backend', 'allow', 'direct'],
  ];

  test('validate refuses each of them by its key, all at once', async () => {
    const routes = refused.map(([side, sslmode, sslnegotiation]) => ({
      listener: side === 'listener' ? { sslmode, sslnegotiation } : {},
      backend: {
        address: 'localhost:5432',
        ...(side === 'backend' ? { sslmode, sslnegotiation } : {}),
      },
    }));
    const file = tls.write('refused.toml', tls.config(routes));
    const { code, stdout, stderr } = await runProgram(['validate', '-c', file]);
    expect(code).toBe(2);
    refused.forEach(([side, sslmode], index) => {
      const key = sslmode === 'disable' || sslmode === 'prefer' ? 'sslnegotiation' : 'sslmode';
      expect(`${stdout}${stderr}`).toContain(`proxy[${index}].${side}.${key}: `);
    });
  });
});
