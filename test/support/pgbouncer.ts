/**
 * PgBouncer, where it is installed: TLS demanded of its clients, SCRAM, one cluster without TLS behind it.
 *
 * Unlike PostgreSQL it lets its clients resume their TLS sessions.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { freePort } from '../../src/cli/demo/free-port.ts';
import {
  createTemporaryDirectory,
  findServerIdentity,
  giveTo,
  type ServerIdentity,
} from '../../src/cli/demo/server-identity.ts';
import { type Identity, writeIdentity } from './certificates.ts';
import type { ClusterFacts } from './material.ts';
import { until } from './until.ts';

const START_MILLIS = 60_000;
const PORT_ATTEMPTS = 5;
/** TCP_ESTABLISHED, as /proc/net/tcp has it. */
const ESTABLISHED = '01';
/** Debian's packages put it where a user's PATH may not lead. */
const DIRECTORIES = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin'];

/** The path of the program; null where it isn't installed. */
export const PGBOUNCER: string | null = locate();

function locate(): string | null {
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((entry) => entry !== '');
  const candidates = [...path, ...DIRECTORIES].map((directory) => join(directory, 'pgbouncer'));
  return candidates.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A running PgBouncer; its one user is `postgres`, with the cluster's password, and any database is the cluster's `postgres`. */
export class PgBouncer {
  /** The TCP port on 127.0.0.1. */
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #output: string[];

  private constructor(port: number, child: ChildProcess, directory: string, output: string[]) {
    this.port = port;
    this.#child = child;
    this.#directory = directory;
    this.#output = output;
  }

  /** Starts it with this certificate; {@link PgBouncer.stop} in afterAll. PgBouncer refuses to run as root, as PostgreSQL does. */
  static async start(program: string, shown: Identity, cluster: ClusterFacts): Promise<PgBouncer> {
    const identity = findServerIdentity();
    const directory = createTemporaryDirectory('pgtls-pgbouncer-', identity);
    try {
      writeFiles(directory, identity, shown, cluster);
      for (let attempt = 1; ; attempt += 1) {
        const output: string[] = [];
        const port = await freePort();
        const child = await startOn(program, port, { directory, identity, cluster, output });
        if (child !== null) {
          return new PgBouncer(port, child, directory, output);
        }
        // Somebody may have taken the port meanwhile.
        if (attempt === PORT_ATTEMPTS || !/in use/i.test(output.join(''))) {
          throw new Error(`PgBouncer ended instead of starting\n${output.join('')}`);
        }
      }
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** All it has written, for messages. */
  get log(): string {
    return this.#output.join('');
  }

  /** The ports from which its present clients came, logged in or not. */
  clientPorts(): number[] {
    const sockets = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1);
    return sockets.flatMap((line) => {
      const [, local = '', remote = '', state = ''] = line.trim().split(/\s+/);
      return portOf(remote) === this.port && state === ESTABLISHED ? [portOf(local)] : [];
    });
  }

  /** The ports of the clients that asked for `database`, once there are so many. */
  async loginsTo(database: string, count: number): Promise<number[]> {
    const attempts = () =>
      [...this.log.matchAll(/:(\d+) login attempt: db=(\S+)/g)].filter((at) => at[2] === database);
    await until(`${count} clients have asked for ${database}`, () => attempts().length >= count, {
      explain: () => this.log,
    });
    return attempts().map(([, port]) => Number(port));
  }

  /** Ends it at once (what SIGTERM means differs between versions) and removes its files. */
  async stop(): Promise<void> {
    await end(this.#child);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** The port of an address as /proc/net/tcp has it: both in hexadecimal. */
function portOf(address: string): number {
  return Number.parseInt(address.split(':')[1] ?? '', 16);
}

interface Place {
  readonly directory: string;
  readonly identity: ServerIdentity;
  readonly cluster: ClusterFacts;
  readonly output: string[];
}

function writeFiles(
  directory: string,
  identity: ServerIdentity,
  shown: Identity,
  cluster: ClusterFacts,
): void {
  giveTo(identity, writeIdentity(directory, 'pgbouncer', shown).keyFile);
  const users = join(directory, 'users.txt');
  writeFileSync(users, `"postgres" "${cluster.password}"\n`, { mode: 0o600 });
  giveTo(identity, users);
}

/** Every database is `postgres`. Without a unix socket: then a TCP port that can't be bound ends the program. */
function configuration(port: number, { directory, cluster }: Place): string {
  return `
[databases]
* = host=127.0.0.1 port=${cluster.port} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${join(directory, 'users.txt')}
client_tls_sslmode = require
client_tls_cert_file = ${join(directory, 'pgbouncer.crt')}
client_tls_key_file = ${join(directory, 'pgbouncer.key')}
client_login_timeout = 600
ignore_startup_parameters = extra_float_digits
`;
}

/** The process once it listens; null when it ended instead. */
async function startOn(program: string, port: number, place: Place): Promise<ChildProcess | null> {
  const file = join(place.directory, 'pgbouncer.ini');
  writeFileSync(file, configuration(port, place));
  const child = spawn(program, [file], {
    ...place.identity.ids,
    cwd: place.directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let hasEnded = false;
  child.once('error', (error) => place.output.push(String(error)));
  child.once('close', () => {
    hasEnded = true;
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => place.output.push(chunk.toString()));
  }
  try {
    await until(
      'PgBouncer listens',
      () => hasEnded || place.output.join('').includes('process up'),
      { millis: START_MILLIS, explain: () => place.output.join('') },
    );
  } catch (error) {
    await end(child);
    throw error;
  }
  return hasEnded ? null : child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}
