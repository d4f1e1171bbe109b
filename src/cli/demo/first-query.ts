/** The demo's own first query: node-postgres through the proxy, the certificate verified, and what TLS agreed on. */
import type { TLSSocket } from 'node:tls';
import { loadPg } from './packages.ts';

/** The answer and the connection's TLS parameters as the client saw them. */
export interface FirstQuery {
  readonly version: string;
  readonly tlsVersion: string;
  readonly cipher: string;
  /** The key-exchange group; null when this Node can't say. */
  readonly group: string | null;
}

/** Where the proxy listens, and how to trust and enter it. */
export interface FirstQueryOptions {
  readonly port: number;
  readonly password: string;
  readonly caPem: string;
}

/** Asks `select version()` with the equivalent of sslmode=verify-full. */
export async function runFirstQuery({
  port,
  password,
  caPem,
}: FirstQueryOptions): Promise<FirstQuery> {
  const { Client } = await loadPg();
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    password,
    ssl: { ca: caPem, servername: 'localhost' },
  });
  await client.connect();
  try {
    const { rows } = await client.query<{ version: string }>('select version()');
    return { version: rows[0]?.version ?? '', ...agreedTls(client) };
  } finally {
    await client.end();
  }
}

function agreedTls(client: object): Omit<FirstQuery, 'version'> {
  const { stream } = (client as { connection: { stream: TLSSocket } }).connection;
  const exchange = stream.getEphemeralKeyInfo();
  const group = exchange !== null && 'name' in exchange ? exchange.name : null;
  return {
    tlsVersion: stream.getProtocol() ?? 'unknown',
    cipher: stream.getCipher().standardName,
    group: group ?? null,
  };
}
