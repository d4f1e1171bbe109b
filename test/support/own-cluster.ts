/** A PostgreSQL cluster of one test file's own, for what the shared ones must not be: other rules, other certificates. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import pg from 'pg';
import { locatePostgres } from '../../src/cli/demo/postgres-binaries.ts';
import { PostgresCluster } from '../../src/cli/demo/postgres-cluster.ts';
import {
  createTemporaryDirectory,
  findServerIdentity,
  giveTo,
  type ServerIdentity,
} from '../../src/cli/demo/server-identity.ts';
import type { Identity } from './certificates.ts';
import { openTcp } from './raw-client.ts';
import { until } from './until.ts';
import { SSL_REQUEST } from './wire.ts';

/** What the cluster begins with. */
export interface OwnClusterOptions {
  /** The certificate shown at first; chain included. */
  readonly identity: Identity;
  /** PEM of the authorities of client certificates; none = none is asked for. */
  readonly clientAuthorities?: string;
  /** Lines of pg_hba.conf, before the one that lets `trusted` in. */
  readonly rules?: string;
  /** Roles beside `trusted`. */
  readonly roles?: readonly string[];
}

/** A running cluster with ssl=on. */
export class OwnCluster {
  readonly #cluster: PostgresCluster;
  readonly #directory: string;
  readonly #identity: ServerIdentity;

  private constructor(cluster: PostgresCluster, directory: string, identity: ServerIdentity) {
    this.#cluster = cluster;
    this.#directory = directory;
    this.#identity = identity;
  }

  /** Makes and starts it; {@link OwnCluster.stop} in afterAll. */
  static async start(options: OwnClusterOptions): Promise<OwnCluster> {
    const identity = findServerIdentity();
    const directory = createTemporaryDirectory('pgtls-own-cluster-', identity);
    const binaries = await locatePostgres(identity, directory);
    const cluster = await PostgresCluster.create({
      binaries,
      identity,
      directory: join(directory, 'cluster'),
      settings: {
        ssl: 'on',
        shared_buffers: '16MB',
        autovacuum: 'off',
        ...(options.clientAuthorities === undefined ? {} : { ssl_ca_file: 'clients.crt' }),
      },
    });
    const own = new OwnCluster(cluster, directory, identity);
    own.#prepare(options);
    try {
      await cluster.start();
      await own.#createRoles(options.roles ?? []);
    } catch (error) {
      await own.stop();
      throw error;
    }
    return own;
  }

  /** The TCP port on 127.0.0.1. */
  get port(): number {
    return this.#cluster.port;
  }

  /** The last lines the server wrote. */
  get log(): string {
    return this.#cluster.log;
  }

  /**
   * Shows another certificate from now on; returns once a handshake sees it. Lines that later connections write to the log
   * begin with `[label]`.
   */
  async show(identity: Identity, label: string): Promise<void> {
    this.#writeIdentity(identity);
    await this.query(`alter system set log_line_prefix = '[${label}] '`);
    await this.query('select pg_reload_conf()');
    const wanted = leafOf(identity.certPem);
    await until(
      'PostgreSQL shows the new certificate',
      async () => (await this.#shownLeaf()) === wanted,
      { explain: () => this.log },
    );
  }

  /** Runs a statement as superuser, without pgtls. */
  async query(text: string): Promise<pg.QueryResult> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: this.port,
      user: 'postgres',
      database: 'postgres',
      password: this.#cluster.password,
    });
    await client.connect();
    try {
      return await client.query(text);
    } finally {
      await client.end();
    }
  }

  /** Restarts the server on its port, `meanwhile` while it is down. */
  restart(meanwhile: () => Promise<void>): Promise<void> {
    return this.#cluster.restart(meanwhile);
  }

  /** Stops the server and removes its files. */
  async stop(): Promise<void> {
    await this.#cluster.stop();
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }

  #prepare({ identity, clientAuthorities, rules }: OwnClusterOptions): void {
    const data = this.#cluster.dataDirectory;
    this.#writeIdentity(identity);
    if (clientAuthorities !== undefined) {
      writeFileSync(join(data, 'clients.crt'), clientAuthorities);
    }
    const always = `
host all trusted 127.0.0.1/32 trust
host all postgres 127.0.0.1/32 scram-sha-256
`;
    writeFileSync(join(data, 'pg_hba.conf'), `${rules ?? ''}${always}`);
  }

  async #createRoles(roles: readonly string[]): Promise<void> {
    await this.query('create role trusted superuser login');
    for (const role of roles) {
      await this.query(`create role "${role}" login`);
    }
  }

  #writeIdentity({ certPem, keyPem }: Identity): void {
    const key = join(this.#cluster.dataDirectory, 'server.key');
    rmSync(key, { force: true });
    writeFileSync(key, keyPem, { mode: 0o600 });
    giveTo(this.#identity, key);
    writeFileSync(join(this.#cluster.dataDirectory, 'server.crt'), certPem);
  }

  /** The leaf shown now as base64; null when the handshake fails, as it does while certificate and key don't match. */
  async #shownLeaf(): Promise<string | null> {
    const channel = await openTcp(this.port);
    await channel.write(SSL_REQUEST);
    await channel.read(1);
    const socket = connectTls({ socket: channel.release(), rejectUnauthorized: false });
    try {
      return await new Promise((resolve) => {
        socket.once('error', () => resolve(null));
        socket.once('secureConnect', () =>
          resolve(socket.getPeerCertificate().raw.toString('base64')),
        );
      });
    } finally {
      socket.destroy();
    }
  }
}

/** The first certificate of a PEM text as base64 without line breaks. */
function leafOf(pem: string): string {
  const body = /-----BEGIN CERTIFICATE-----([^-]+)-----END/.exec(pem)?.[1] ?? '';
  return body.replace(/\s/g, '');
}
