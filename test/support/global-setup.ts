/**
 * Runs once before the end-to-end tests: two clusters are made and started.
 *
 * `plain` has ssl=off, `tls` has ssl=on with a certificate of the tests' authority. Both know the users
 * - `postgres`: superuser, scram-sha-256, the password below;
 * - `trusted`: superuser that needs no password, for raw sessions, replication included;
 * - `certified` (cluster `tls` only): must show a client certificate of the same name.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { locatePostgres } from '../../src/cli/demo/postgres-binaries.ts';
import { type ClusterOptions, PostgresCluster } from '../../src/cli/demo/postgres-cluster.ts';
import {
  createTemporaryDirectory,
  findServerIdentity,
  giveTo,
  type ServerIdentity,
} from '../../src/cli/demo/server-identity.ts';
import { CertificateAuthority, writeIdentity } from './certificates.ts';
import type { ClusterFacts, TestMaterial } from './material.ts';

const HBA_CERTIFIED = `
hostssl all,replication certified 127.0.0.1/32 cert
`;

const HBA = `
host    all,replication certified 127.0.0.1/32 reject
host    all,replication trusted   127.0.0.1/32 trust
local   all,replication trusted                trust
local   all,replication all                    scram-sha-256
host    all,replication all       127.0.0.1/32 scram-sha-256
host    all,replication all       ::1/128      scram-sha-256
`;

const SETTINGS = {
  max_connections: '300',
  wal_level: 'logical',
  max_wal_senders: '20',
  shared_buffers: '64MB',
  autovacuum: 'off',
};

/** Starts the clusters and provides their facts; the returned function stops and removes everything. */
export default async function globalSetup(project: TestProject): Promise<() => Promise<void>> {
  const identity = findServerIdentity();
  const directory = createTemporaryDirectory('pgtls-test-', identity);
  const started: PostgresCluster[] = [];
  async function teardown(): Promise<void> {
    await Promise.all(started.map((cluster) => cluster.stop()));
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
  try {
    project.provide('material', await prepare(directory, identity, started));
  } catch (error) {
    await teardown();
    throw error;
  }
  return teardown;
}

async function prepare(
  directory: string,
  identity: ServerIdentity,
  started: PostgresCluster[],
): Promise<TestMaterial> {
  const binaries = await locatePostgres(identity, directory);
  const certificates = await writeCertificates(directory, identity);
  const { caFile, serverCertFile, serverKeyFile } = certificates;
  const ssl = {
    ssl: 'on',
    ssl_ca_file: caFile,
    ssl_cert_file: serverCertFile,
    ssl_key_file: serverKeyFile,
  };
  const clusters = await Promise.all([
    startCluster({ binaries, identity, directory: join(directory, 'plain') }, started),
    startCluster({ binaries, identity, directory: join(directory, 'tls'), settings: ssl }, started),
  ]);
  const [plain, tls] = clusters.map(factsOf) as [ClusterFacts, ClusterFacts];
  return { plain, tls, ...certificates };
}

async function writeCertificates(directory: string, identity: ServerIdentity) {
  const authority = await CertificateAuthority.create('pgtls test CA');
  const caFile = join(directory, 'ca.crt');
  writeFileSync(caFile, authority.certPem);
  const server = await authority.issue({ commonName: 'localhost', names: ['localhost'] });
  const client = await authority.issue({ commonName: 'certified', names: [] });
  const serverFiles = writeIdentity(directory, 'postgres', server);
  const clientFiles = writeIdentity(directory, 'certified', client);
  giveTo(identity, serverFiles.keyFile);
  return {
    caFile,
    serverCertFile: serverFiles.certFile,
    serverKeyFile: serverFiles.keyFile,
    clientCertFile: clientFiles.certFile,
    clientKeyFile: clientFiles.keyFile,
  };
}

async function startCluster(
  options: ClusterOptions,
  started: PostgresCluster[],
): Promise<PostgresCluster> {
  const settings = { ...SETTINGS, ...options.settings };
  const cluster = await PostgresCluster.create({ ...options, settings });
  const hba = options.settings?.['ssl'] === 'on' ? `${HBA_CERTIFIED}${HBA}` : HBA;
  writeFileSync(join(cluster.dataDirectory, 'pg_hba.conf'), hba);
  started.push(cluster);
  await cluster.start();
  await createRoles(cluster);
  return cluster;
}

async function createRoles(cluster: PostgresCluster): Promise<void> {
  const { port, password } = cluster;
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    password,
  });
  await client.connect();
  await client.query(
    'create role trusted superuser login replication; create role certified login',
  );
  await client.end();
}

function factsOf(cluster: PostgresCluster): ClusterFacts {
  const { port, password, socketDirectory } = cluster;
  return { port, password, socketPath: join(socketDirectory, `.s.PGSQL.${port}`) };
}
