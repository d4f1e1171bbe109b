/**
 * The admin server of a proxy: what is behind its paths, and its certificate, key and token. Loaded only with `[admin]`.
 *
 * It listens before the proxy does, so that it can say that the proxy starts, and closes when nothing else lives any more.
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { formatAddress } from '../../config/address.ts';
import { identityProblem, tokenOf, tokenProblem } from '../../config/admin.ts';
import { type FileKind, privateKeyProblem } from '../../config/files.ts';
import type { AdminConfig } from '../../config/schema.ts';
import { buildInfo, nodeVersion } from '../../data-plane/data-plane.ts';
import { PgtlsError } from '../../errors.ts';
import { serverDescriptor } from '../../listener/handoff.ts';
import type { ListenerObserver } from '../../listener/listener.ts';
import {
  type AdminAnswer,
  type AdminEndpoint,
  type AdminSecrets,
  AdminServer,
} from '../../observability/admin-server.ts';
import type { Logger } from '../../observability/logger.ts';
import { Exposition } from '../../observability/prometheus.ts';
import type { PassedSocket } from '../listeners.ts';
import { droppedLogLines } from '../process-log.ts';
import type { ProxyStatus } from '../status.ts';
import { ConnectionCounts } from './connection-counts.ts';
import { Reachability } from './reachability.ts';
import { backendAddresses, type Reading, readingOf } from './reading.ts';
import type { RunningView } from './running.ts';
import { samplesOf } from './samples.ts';
import { statusReport } from './status-report.ts';

/** What the admin server is made of. */
export interface AdminOptions {
  readonly config: AdminConfig;
  /** A predecessor's listening socket, to be used instead of binding; null = bind. */
  readonly inheritedFd: number | null;
  readonly status: ProxyStatus;
  /** Of the routes, by id. */
  readonly routeName: (routeId: number) => string;
  readonly logger: Logger;
}

/** A running admin server. */
export interface Admin {
  /** Counts what `next` hears of. */
  observerBefore(next: ListenerObserver): ListenerObserver;
  /** There is something to show from here on. */
  show(running: RunningView): void;
  /** Reads certificate, key and token again; on failure those in use stay, and the log says so. */
  renew(): void;
  /** The listening socket, for a successor. */
  passed(): PassedSocket;
  /** Ends its connections, too; idempotent. */
  close(): Promise<void>;
}

const JSON_TYPE = 'application/json; charset=utf-8';
const TEXT_TYPE = 'text/plain; charset=utf-8';

/** What a successor finds the listening socket by. */
export function adminKey({ bindAddress }: AdminConfig): string {
  return `admin ${formatAddress(bindAddress)}`;
}

/** Binds. Throws PGTLS_BIND_FAILED naming the address, or PGTLS_CONFIG_INVALID naming the file. */
export async function startAdmin(options: AdminOptions): Promise<Admin> {
  const admin = new RunningAdmin(options);
  await admin.listen();
  return admin;
}

class RunningAdmin implements Admin {
  readonly #options: AdminOptions;
  readonly #counts: ConnectionCounts;
  readonly #server: AdminServer;
  readonly #exposition = new Exposition();
  readonly #reachability = new Reachability();
  readonly #versions: Readonly<Record<'version' | 'rustls' | 'provider' | 'node', string>>;
  #running: RunningView | null = null;
  /** The last one, for when the data plane is closed already. */
  #reading: Reading | null = null;

  constructor(options: AdminOptions) {
    const { config, inheritedFd, logger, routeName } = options;
    const { version, rustls, provider } = buildInfo();
    this.#options = options;
    this.#versions = { version, rustls, provider, node: nodeVersion() };
    this.#counts = new ConnectionCounts(routeName);
    this.#server = new AdminServer({
      host: config.bindAddress.host,
      port: config.bindAddress.port,
      inheritedFd,
      endpoints: this.#endpoints(),
      secrets: readSecrets(config),
      failed: (path, error) =>
        logger.error({ event: 'admin.error', path, err: error }, 'the admin server failed'),
    });
  }

  async listen(): Promise<void> {
    const { config, logger } = this.#options;
    try {
      await this.#server.listen();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const address = formatAddress(config.bindAddress);
      const message = `the admin server cannot listen on ${address}: ${reason}`;
      throw new PgtlsError('PGTLS_BIND_FAILED', message, { cause });
    }
    const fields = { event: 'admin.bind', listener_addr: this.#server.address };
    logger.info(fields, 'the admin server listens');
  }

  observerBefore(next: ListenerObserver): ListenerObserver {
    return this.#counts.before(next);
  }

  show(running: RunningView): void {
    this.#running = running;
  }

  renew(): void {
    const { config, logger } = this.#options;
    try {
      this.#server.renew(readSecrets(config));
    } catch (error) {
      const fields = { event: 'admin.reload', result: 'failure', err: error };
      logger.error(fields, "the admin server's files were not reloaded; those in use stay");
    }
  }

  passed(): PassedSocket {
    const fd = serverDescriptor(this.#server.listening);
    return { key: adminKey(this.#options.config), fd, ownsPath: false };
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  #endpoints(): Record<string, AdminEndpoint> {
    return {
      '/metrics': { isProtected: true, answer: () => this.#metrics() },
      '/healthz': { isProtected: false, answer: () => text(200, 'alive') },
      '/readyz': { isProtected: false, answer: () => this.#ready() },
      '/status': { isProtected: true, answer: () => this.#status() },
    };
  }

  async #metrics(): Promise<AdminAnswer> {
    const samples = samplesOf({
      buildInfo: this.#versions,
      status: this.#options.status,
      counts: this.#counts,
      reading: this.#read(),
      droppedLogLines: droppedLogLines(),
    });
    const body = await this.#exposition.text(samples);
    return { status: 200, contentType: this.#exposition.contentType, body };
  }

  async #ready(): Promise<AdminAnswer> {
    const { status } = this.#options;
    if (status.readiness !== 'ready' || this.#running === null) {
      return text(503, status.readiness === 'draining' ? 'draining' : 'starting');
    }
    const addresses = backendAddresses(this.#running.config().proxies);
    const isReachable = await this.#reachability.any(addresses);
    // It may have begun to drain meanwhile.
    if (status.readiness !== 'ready') {
      return text(503, status.readiness);
    }
    return isReachable ? text(200, 'ready') : text(503, 'no route has a reachable backend');
  }

  #status(): AdminAnswer {
    const report = statusReport(this.#versions, this.#options.status, this.#read());
    const body = `${JSON.stringify(report, null, 2)}\n`;
    return { status: 200, contentType: JSON_TYPE, body };
  }

  #read(): Reading | null {
    if (this.#running !== null) {
      try {
        this.#reading = readingOf(this.#running);
      } catch (error) {
        if (!(error instanceof PgtlsError && error.code === 'PGTLS_CLOSED')) {
          throw error;
        }
      }
    }
    return this.#reading;
  }
}

/** Reads the files and judges them as the configuration was judged: they may have changed since. */
function readSecrets({ identity, authTokenFile }: AdminConfig): AdminSecrets {
  return {
    identity: identity === null ? null : readIdentity(identity),
    token: authTokenFile === null ? null : readToken(authTokenFile),
  };
}

function readIdentity({ certFile, keyFile }: NonNullable<AdminConfig['identity']>) {
  const cert = readNamed('ssl_cert_file', certFile, 'certificate');
  const key = readNamed('ssl_key_file', keyFile, 'private-key');
  const problem = identityProblem(cert, key);
  if (problem !== null) {
    throw invalid(`admin.${problem.key}: ${problem.message}`);
  }
  return { cert, key };
}

function readToken(file: string): string {
  const content = readNamed('auth_token_file', file, 'token file').toString('latin1');
  const problem = tokenProblem(content);
  if (problem !== null) {
    throw invalid(`admin.auth_token_file: ${problem}`);
  }
  return tokenOf(content);
}

type FileKey = 'ssl_cert_file' | 'ssl_key_file' | 'auth_token_file';

/** The file judged is the file read: another one may take its name meanwhile. */
function readNamed(key: FileKey, file: string, kind: FileKind): Buffer {
  let fd: number | null = null;
  try {
    fd = openSync(file, 'r');
    const problem = kind === 'certificate' ? null : privateKeyProblem(file, fstatSync(fd), kind);
    if (problem !== null) {
      throw new Error(problem);
    }
    return readFileSync(fd);
  } catch (cause) {
    throw invalid(`admin.${key}: ${(cause as Error).message}`, cause);
  } finally {
    if (fd !== null) {
      closeSync(fd);
    }
  }
}

function invalid(message: string, cause?: unknown): PgtlsError {
  return new PgtlsError('PGTLS_CONFIG_INVALID', message, { cause });
}

function text(status: AdminAnswer['status'], word: string): AdminAnswer {
  return { status, contentType: TEXT_TYPE, body: `${word}\n` };
}
