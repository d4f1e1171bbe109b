/**
 * Certificates while the proxy runs: read again periodically and on request, and a loud warning for
 * those that have expired.
 */
import type { DataPlane, DataPlaneOptions, Inspection } from '../data-plane/data-plane.ts';
import type { Logger } from '../observability/logger.ts';

/** What a refresh needs. */
export interface CertificateRefreshOptions {
  readonly dataPlane: Pick<DataPlane, 'reload'>;
  readonly options: DataPlaneOptions;
  readonly inspect: (options: DataPlaneOptions) => Inspection;
  /** Of each route; 0 = never. The shortest one counts for all, since a reload is all or nothing. */
  readonly intervalsMillis: readonly number[];
  readonly logger: Logger;
}

/** The longest delay a Node.js timer takes. */
const MAX_TIMER_MILLIS = 2 ** 31 - 1;

/** Owns an unref'd timer from `start` to `stop`. */
export class CertificateRefresh {
  readonly #options: CertificateRefreshOptions;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: CertificateRefreshOptions) {
    this.#options = options;
  }

  /** Warns of what has expired already or is doubtful, and begins to refresh. */
  start(): void {
    this.#warn();
    const intervals = this.#options.intervalsMillis.filter((interval) => interval > 0);
    if (intervals.length > 0) {
      const shortest = Math.min(...intervals, MAX_TIMER_MILLIS);
      this.#timer = setInterval(() => this.reload(), shortest).unref();
    }
  }

  /** Reads all files again, for new connections; on failure everything stays as it was. */
  reload(): void {
    const { dataPlane, options, logger } = this.#options;
    try {
      dataPlane.reload(options.routes);
    } catch (error) {
      const fields = { event: 'cert.reload', result: 'failure', err: error };
      logger.error(fields, 'certificates were not reloaded; those in use stay');
      return;
    }
    logger.info({ event: 'cert.reload', result: 'success' }, 'certificates reloaded');
    this.#warn();
  }

  /** Stops the timer; idempotent. */
  stop(): void {
    if (this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }

  #warn(): void {
    const { inspect, options, logger } = this.#options;
    const nowSeconds = Date.now() / 1_000;
    let identities: Inspection['identities'];
    let warnings: Inspection['warnings'];
    try {
      ({ identities, warnings } = inspect(options));
    } catch (error) {
      logger.error({ event: 'cert.inspect', err: error }, 'certificates could not be inspected');
      return;
    }
    for (const { routeId, role, file, subject, notAfterSeconds } of identities) {
      if (notAfterSeconds < nowSeconds) {
        const route = options.routes[routeId]?.name;
        const expired = new Date(notAfterSeconds * 1_000).toISOString();
        const fields = { event: 'cert.expired', route, role, file, subject, not_after: expired };
        logger.warn(fields, 'a certificate has expired');
      }
    }
    for (const { routeId, path, message } of warnings) {
      const route = options.routes[routeId]?.name;
      logger.warn({ event: 'cert.warning', route, key: path }, message);
    }
  }
}
