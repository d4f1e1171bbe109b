/** What every contestant stands between: a throw-away PostgreSQL with ssl=on, and certificates for the clients' side. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { CertificateAuthority } from '../../dist/cli/demo/certificates.js';
import { locatePostgres } from '../../dist/cli/demo/postgres-binaries.js';
import { PostgresCluster } from '../../dist/cli/demo/postgres-cluster.js';
import {
  createTemporaryDirectory,
  findServerIdentity,
  giveTo,
} from '../../dist/cli/demo/server-identity.js';
import { familyOf } from './pinning.mjs';

/** Rows of the table that point queries read; the client programs know it, too. */
export const ACCOUNTS = 100_000;
/** Who logs in, without a password: how a password is checked is PostgreSQL's cost and the same for all. */
export const USER = 'bench';
export const DATABASE = 'postgres';

/** @typedef {'ecdsa' | 'rsa'} KeyType */
/** @typedef {{ certFile: string, keyFile: string }} Certificate */
/** @typedef {import('../../dist/cli/demo/server-identity.js').ServerIdentity} ServerIdentity */
/**
 * `identity` is whom PostgreSQL runs as, and PgBouncer, which refuses root as well.
 * @typedef {{ directory: string, port: number, version: string, identity: ServerIdentity,
 *   certificates: Record<KeyType, Certificate>, pids: () => number[], stop: () => Promise<void> }} Stage
 */

/** Sets it up; {@link Stage.stop} removes everything. @returns {Promise<Stage>} */
export async function setStage() {
  const identity = findServerIdentity();
  const directory = createTemporaryDirectory('pgtls-bench-', identity);
  const remove = () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  try {
    const certificates = await issueCertificates(directory);
    const { cluster, pid } = await startCluster(directory, identity, certificates.ecdsa);
    const stop = async () => {
      await cluster.stop();
      remove();
    };
    try {
      const version = await fill(cluster);
      const { port } = cluster;
      return {
        directory,
        port,
        version,
        identity,
        certificates,
        pids: () => familyOf(pid()),
        stop,
      };
    } catch (error) {
      await stop();
      throw error;
    }
  } catch (error) {
    remove();
    throw error;
  }
}

/** A copy of a certificate in `directory` that belongs to the identity. @param {Certificate} certificate @param {string} directory @param {ServerIdentity} identity */
export function certificateFor(certificate, directory, identity) {
  const copy = { certFile: join(directory, 'tls.crt'), keyFile: join(directory, 'tls.key') };
  copyFileSync(certificate.certFile, copy.certFile);
  copyFileSync(certificate.keyFile, copy.keyFile);
  giveTo(identity, copy.certFile);
  giveTo(identity, copy.keyFile);
  return copy;
}

/** A new directory below the stage's that the identity may enter. @param {string} parent @param {string} name @param {ServerIdentity} identity */
export function directoryFor(parent, name, identity) {
  const directory = join(parent, name);
  mkdirSync(directory, { mode: 0o711 });
  giveTo(identity, directory);
  return directory;
}

/** @param {string} directory @returns {Promise<Record<KeyType, Certificate>>} */
async function issueCertificates(directory) {
  const authority = await CertificateAuthority.create('pgtls bench');
  const issue = async (/** @type {KeyType} */ keyType) => {
    const names = ['localhost', '127.0.0.1'];
    const leaf = await authority.issue({ commonName: 'localhost', names, keyType });
    const files = {
      certFile: join(directory, `${keyType}.crt`),
      keyFile: join(directory, `${keyType}.key`),
    };
    writeFileSync(files.certFile, leaf.certPem);
    writeFileSync(files.keyFile, leaf.keyPem, { mode: 0o600 });
    return files;
  };
  return { ecdsa: await issue('ecdsa'), rsa: await issue('rsa') };
}

/** @param {string} directory @param {ServerIdentity} identity @param {Certificate} certificate */
async function startCluster(directory, identity, certificate) {
  const cluster = await PostgresCluster.create({
    binaries: await locatePostgres(identity, directory),
    identity,
    directory: join(directory, 'cluster'),
    settings: {
      ssl: 'on',
      max_connections: '600',
      shared_buffers: '128MB',
      work_mem: '128MB',
      autovacuum: 'off',
      jit: 'off',
      max_wal_size: '4GB',
    },
  });
  const data = cluster.dataDirectory;
  const key = join(data, 'server.key');
  copyFileSync(certificate.certFile, join(data, 'server.crt'));
  copyFileSync(certificate.keyFile, key);
  giveTo(identity, key);
  writeFileSync(
    join(data, 'pg_hba.conf'),
    `host all ${USER} 127.0.0.1/32 trust\nhost all postgres 127.0.0.1/32 scram-sha-256\n`,
  );
  await cluster.start();
  const pidFile = join(data, 'postmaster.pid');
  return { cluster, pid: () => Number.parseInt(readFileSync(pidFile, 'utf8'), 10) };
}

/** Makes the tables; the answer is the server's version. @param {PostgresCluster} cluster @returns {Promise<string>} */
async function fill(cluster) {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: cluster.port,
    user: 'postgres',
    database: DATABASE,
    password: cluster.password,
  });
  await client.connect();
  try {
    await client.query(`create role ${USER} superuser login`);
    await client.query(
      `create unlogged table accounts as select n as aid, n as balance, repeat('x', 84) as filler
       from generate_series(1, ${ACCOUNTS}) n`,
    );
    await client.query('alter table accounts add primary key (aid)');
    await client.query('create unlogged table sink (line text)');
    await client.query('vacuum analyze accounts');
    const { rows } = await client.query('show server_version');
    return rows[0].server_version;
  } finally {
    await client.end();
  }
}
