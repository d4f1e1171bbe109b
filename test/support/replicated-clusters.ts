/** A primary and its hot standby: two clusters of one history, the second streaming from the first. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { onTestFinished } from 'vitest';
import { locatePostgres } from '../../src/cli/demo/postgres-binaries.ts';
import { PostgresCluster } from '../../src/cli/demo/postgres-cluster.ts';
import {
  createTemporaryDirectory,
  findServerIdentity,
  giveTo,
} from '../../src/cli/demo/server-identity.ts';
import { material } from './material.ts';

/** Both run until the test ends; passwords are those of the primary. */
export interface ReplicatedClusters {
  readonly primary: PostgresCluster;
  readonly standby: PostgresCluster;
}

/** Who probes: may log in, and nothing else. */
export const PROBE = { user: 'probe', password: 'let me see' } as const;

/** Starts both with TLS, with the role of {@link PROBE} and, for anybody who comes, `trusted` without a password. */
export async function startReplicatedClusters(): Promise<ReplicatedClusters> {
  const identity = findServerIdentity();
  const directory = createTemporaryDirectory('pgtls-roles-', identity);
  const started: PostgresCluster[] = [];
  onTestFinished(async () => {
    await Promise.all(started.map((cluster) => cluster.stop()));
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  });
  mkdirSync(join(directory, 'programs'));
  const binaries = await locatePostgres(identity, join(directory, 'programs'));
  const { serverCertFile, serverKeyFile } = material();
  const settings = {
    ssl: 'on',
    ssl_cert_file: serverCertFile,
    ssl_key_file: serverKeyFile,
    shared_buffers: '16MB',
  };
  const create = (name: string) =>
    PostgresCluster.create({ binaries, identity, directory: join(directory, name), settings });
  const primary = await create('primary');
  writeAccessRules(primary);
  started.push(primary);
  await primary.start();
  await query(primary, primary.password, [
    `create role ${PROBE.user} login password '${PROBE.password}'`,
    'create role trusted login superuser',
  ]);
  // A cold copy, so that no program but the server itself is needed.
  await primary.stop();
  const standby = await create('standby');
  rmSync(standby.dataDirectory, { recursive: true });
  execFileSync('cp', ['-a', primary.dataDirectory, standby.dataDirectory]);
  await primary.start();
  const signal = join(standby.dataDirectory, 'standby.signal');
  writeFileSync(signal, '');
  giveTo(identity, signal);
  const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres password=${primary.password}`;
  appendFileSync(
    join(standby.dataDirectory, 'postgresql.conf'),
    `unix_socket_directories = '${standby.socketDirectory}'\nprimary_conninfo = '${conninfo}'\n`,
  );
  started.push(standby);
  await standby.start();
  return { primary, standby };
}

/** `trusted` needs no password, the standby may stream. */
function writeAccessRules(cluster: PostgresCluster): void {
  writeFileSync(
    join(cluster.dataDirectory, 'pg_hba.conf'),
    [
      'host all         trusted  127.0.0.1/32 trust',
      'host all         all      127.0.0.1/32 scram-sha-256',
      'host replication postgres 127.0.0.1/32 scram-sha-256',
      '',
    ].join('\n'),
  );
}

/** Runs statements as the superuser, past any proxy. */
export async function query(
  { port }: PostgresCluster,
  password: string,
  statements: readonly string[],
): Promise<void> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    password,
  });
  await client.connect();
  try {
    for (const statement of statements) {
      await client.query(statement);
    }
  } finally {
    await client.end();
  }
}
