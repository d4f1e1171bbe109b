/** One throw-away PostgreSQL cluster: initdb, start on a free port, fast shutdown. Nothing it writes outlives its directory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PgtlsError } from '../../errors.ts';
import { freePort } from './free-port.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';
import { giveTo, type ServerIdentity } from './server-identity.ts';

/** What a cluster is made of. */
export interface ClusterOptions {
  readonly binaries: PostgresBinaries;
  readonly identity: ServerIdentity;
  /** A path that doesn't exist yet, in a directory that the identity can enter. */
  readonly directory: string;
  /** Server parameters over the defaults of a throw-away cluster, e.g. `{max_connections: '500'}`. */
  readonly settings?: Readonly<Record<string, string>>;
}

const START_MILLIS = 60_000;
const FAST_SHUTDOWN_MILLIS = 10_000;
const PORT_ATTEMPTS = 5;
const LOG_LINES_KEPT = 40;

const THROW_AWAY_SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  fsync: 'off',
  full_page_writes: 'off',
  log_min_messages: 'log',
};

/** A cluster of which the superuser is `postgres`, with scram-sha-256 and a random password. */
export class PostgresCluster {
  /** The superuser's password. */
  readonly password: string;
  readonly #options: ClusterOptions;
  readonly #log: string[] = [];
  #process: ChildProcess | null = null;
  #port = 0;

  private constructor(options: ClusterOptions, password: string) {
    this.#options = options;
    this.password = password;
  }

  /** Runs initdb. @throws PgtlsError PGTLS_START_FAILED with initdb's own words. */
  static async create(options: ClusterOptions): Promise<PostgresCluster> {
    const cluster = new PostgresCluster(options, randomBytes(12).toString('base64url'));
    mkdirSync(options.directory, { mode: 0o700 });
    mkdirSync(cluster.socketDirectory, { mode: 0o700 });
    giveTo(options.identity, options.directory);
    giveTo(options.identity, cluster.socketDirectory);
    await cluster.#initialise();
    return cluster;
  }

  /** The TCP port on 127.0.0.1, once started. */
  get port(): number {
    return this.#port;
  }

  /** The directory of the unix socket (`.s.PGSQL.<port>`). */
  get socketDirectory(): string {
    return join(this.#options.directory, 'socket');
  }

  /** The data directory: configuration files, certificates of the server. */
  get dataDirectory(): string {
    return join(this.#options.directory, 'data');
  }

  /** The last lines that the server wrote. */
  get log(): string {
    return this.#log.join('\n');
  }

  /** Starts the server on a free port and waits until it accepts connections. */
  async start(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      this.#port = await freePort();
      const started = await this.#startOn(this.#port);
      if (started) {
        return;
      }
      if (attempt === PORT_ATTEMPTS || !this.log.includes('Address already in use')) {
        throw new PgtlsError('PGTLS_START_FAILED', `PostgreSQL didn't start:\n${this.log}`);
      }
    }
  }

  /** Stops the server, lets `meanwhile` be done, and starts it on the port that it had. */
  async restart(meanwhile: () => Promise<void>): Promise<void> {
    await this.stop();
    await meanwhile();
    if (!(await this.#startOn(this.#port))) {
      throw new PgtlsError('PGTLS_START_FAILED', `PostgreSQL didn't start again:\n${this.log}`);
    }
  }

  /** Fast shutdown (sessions are ended), then harder means; idempotent. */
  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) {
      return;
    }
    const exited = once(child, 'exit');
    child.kill('SIGINT');
    const harder = setTimeout(() => child.kill('SIGQUIT'), FAST_SHUTDOWN_MILLIS);
    const hardest = setTimeout(() => child.kill('SIGKILL'), 2 * FAST_SHUTDOWN_MILLIS);
    await exited;
    clearTimeout(harder);
    clearTimeout(hardest);
  }

  async #initialise(): Promise<void> {
    const passwordFile = join(this.#options.directory, 'password');
    writeFileSync(passwordFile, `${this.password}\n`, { mode: 0o600 });
    giveTo(this.#options.identity, passwordFile);
    const child = this.#spawn(this.#options.binaries.initdb, [
      `--pgdata=${this.dataDirectory}`,
      '--username=postgres',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--no-sync',
      '--no-instructions',
    ]);
    const code = await exitCodeOf(child);
    if (code !== 0) {
      throw new PgtlsError('PGTLS_START_FAILED', `initdb failed (${code}):\n${this.log}`);
    }
    this.#writeSettings();
  }

  #writeSettings(): void {
    const settings = {
      ...THROW_AWAY_SETTINGS,
      unix_socket_directories: this.socketDirectory,
      ...this.#options.settings,
    };
    const lines = Object.entries(settings).map(
      ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
    );
    appendFileSync(join(this.dataDirectory, 'postgresql.conf'), lines.join(''));
  }

  /** True once connections are accepted, false when the process ended before. */
  async #startOn(port: number): Promise<boolean> {
    const child = this.#spawn(this.#options.binaries.postgres, [
      '-D',
      this.dataDirectory,
      '-p',
      String(port),
    ]);
    this.#process = child;
    const tooLate = setTimeout(() => child.kill('SIGQUIT'), START_MILLIS);
    try {
      return await new Promise<boolean>((resolve) => {
        child.stderr?.on('data', (chunk: Buffer) => {
          if (/ready to accept (read-only )?connections/.test(chunk.toString())) {
            resolve(true);
          }
        });
        child.once('close', () => resolve(false));
      });
    } finally {
      clearTimeout(tooLate);
    }
  }

  /** Detached: a Ctrl-C in the terminal reaches us alone, so that the proxy can drain before PostgreSQL ends. */
  #spawn(program: string, programArguments: readonly string[]): ChildProcess {
    const child = spawn(program, programArguments, {
      ...this.#options.identity.ids,
      cwd: this.#options.directory,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.once('error', (error) => this.#keep(String(error)));
    child.stdout?.on('data', (chunk: Buffer) => this.#keep(chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => this.#keep(chunk.toString()));
    return child;
  }

  #keep(text: string): void {
    this.#log.push(...text.split('\n').filter((line) => line.trim() !== ''));
    this.#log.splice(0, this.#log.length - LOG_LINES_KEPT);
  }
}

/** The exit code, or the signal's name, or `error` when the program couldn't be started. */
async function exitCodeOf(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve) => {
    child.once('error', () => resolve('error'));
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
}
