/** node-postgres clients that end with the running test. */
import pg from 'pg';
import { onTestFinished } from 'vitest';
import type { ClusterFacts } from './material.ts';
import { WAIT_MILLIS } from './until.ts';

/** Connects; errors of an idle client (a killed backend) are swallowed, those of queries are not. */
export async function connectPg(config: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client({
    host: '127.0.0.1',
    user: 'trusted',
    database: 'postgres',
    connectionTimeoutMillis: WAIT_MILLIS,
    ...config,
  });
  client.on('error', () => undefined);
  onTestFinished(() => client.end().catch(() => undefined));
  await client.connect();
  return client;
}

/** Connects to a cluster directly, without pgtls. */
export function connectDirectly(cluster: ClusterFacts): Promise<pg.Client> {
  return connectPg({ port: cluster.port });
}
