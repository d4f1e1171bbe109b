/**
 * Certificates while the proxy runs: read again when their files change, periodically and on request, and a loud warning
 * for those that have expired.
 *
 * Reading takes as long as `ssl_passphrase_command` does, and nobody waits for it but those who asked. Files are read by one
 * at a time; who asks meanwhile wants them as they are now, and gets another reading after that one.
 */
import type { DataPlane, DataPlaneOptions, Inspection } from '../data-plane/data-plane.ts';
import type { Logger } from '../observability/logger.ts';
import { FileWatch, WATCH_INTERVAL_MILLIS } from './file-watch.ts';

/** What a refresh needs. */
export interface CertificateRefreshOptions {
  readonly dataPlane: Pick<DataPlane, 'reload' | 'inspect'>;
  readonly options: DataPlaneOptions;
  /** Of each route; 0 = never. The shortest one counts for all, since a reload is all or nothing. */
  readonly intervalsMillis: readonly number[];
  /** The files to be watched, as they were before they were loaded; null = they are not watched. */
  readonly watched: WatchedFiles | null;
  readonly logger: Logger;
  /** Hears how each reading ended, null = well; must not throw. */
  readonly reloaded?: (error: unknown) => void;
  /** Hears what is in the files, whenever they were looked into. */
  readonly inspected?: (inspection: Inspection) => void;
}

/** Files and their {@link fingerprintNow}. */
export interface WatchedFiles {
  readonly files: readonly string[];
  readonly used: string;
}

/** What made the files be read again. */
type Trigger = 'request' | 'interval' | 'change';

/** The longest delay a Node.js timer takes. */
const MAX_TIMER_MILLIS = 2 ** 31 - 1;

/** A reading that waits for the one under way. */
interface NextReading {
  trigger: Trigger;
  readonly done: Promise<boolean>;
}

/** Owns an unref'd timer and a watch from `start` to `stop`. */
export class CertificateRefresh {
  readonly #options: CertificateRefreshOptions;
  readonly #watch: FileWatch;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;
  /** The reading under way: whether the files could be used. */
  #reading: Promise<boolean> | null = null;
  /** For all who asked while that one ran. */
  #next: NextReading | null = null;
  /** What the last try failed with, when it was by a change: repetitions are not told again. */
  #toldFailure: string | null = null;

  constructor(options: CertificateRefreshOptions) {
    this.#options = options;
    this.#watch = new FileWatch({
      ...(options.watched ?? { files: [], used: '' }),
      intervalMillis: WATCH_INTERVAL_MILLIS,
      onChange: () => this.#reload('change'),
    });
  }

  /** Warns of what has expired already or is doubtful, and begins to refresh. */
  async start(): Promise<void> {
    await this.#tellOfFiles();
    const intervals = this.#options.intervalsMillis.filter((interval) => interval > 0);
    if (intervals.length > 0) {
      const shortest = Math.min(...intervals, MAX_TIMER_MILLIS);
      this.#timer = setInterval(() => void this.#reload('interval'), shortest).unref();
    }
    this.#watch.start();
  }

  /**
   * Reads all files again, for new connections, and resolves when that is done; on failure everything stays as it was.
   * Never rejects.
   */
  async reload(): Promise<void> {
    await this.#reload('request');
  }

  /** Stops timer and watch, and lets no reading begin; what the one under way comes to is not told. Idempotent. */
  stop(): void {
    this.#isStopped = true;
    this.#watch.stop();
    if (this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }

  #reload(trigger: Trigger): Promise<boolean> {
    if (this.#reading === null) {
      this.#reading = this.#read(trigger).finally(() => {
        this.#reading = null;
      });
      return this.#reading;
    }
    this.#next ??= { trigger, done: this.#reading.then(() => this.#readNext()) };
    if (trigger === 'request') {
      this.#next.trigger = trigger;
    }
    return this.#next.done;
  }

  #readNext(): Promise<boolean> {
    const trigger = this.#next?.trigger ?? 'request';
    this.#next = null;
    return this.#reload(trigger);
  }

  async #read(trigger: Trigger): Promise<boolean> {
    const { dataPlane, options, logger } = this.#options;
    if (this.#isStopped) {
      return false;
    }
    try {
      await dataPlane.reload(options.routes);
    } catch (error) {
      if (!this.#isStopped) {
        this.#options.reloaded?.(error);
        this.#tellFailure(trigger, error);
      }
      return false;
    }
    if (this.#isStopped) {
      return true;
    }
    this.#toldFailure = null;
    this.#options.reloaded?.(null);
    logger.info({ event: 'cert.reload', result: 'success', trigger }, 'certificates reloaded');
    await this.#tellOfFiles((inspection) => this.#tellExpiries(inspection));
    return true;
  }

  /** The watch tries unusable files again and again; the same failure is one line. */
  #tellFailure(trigger: Trigger, error: unknown): void {
    const text = String(error);
    if (trigger === 'change' && text === this.#toldFailure) {
      return;
    }
    this.#toldFailure = text;
    const fields = { event: 'cert.reload', result: 'failure', trigger, err: error };
    this.#options.logger.error(fields, 'certificates were not reloaded; those in use stay');
  }

  async #tellOfFiles(tellMore: (inspection: Inspection) => void = () => {}): Promise<void> {
    const { dataPlane, options, logger } = this.#options;
    try {
      const inspection = await dataPlane.inspect(options);
      this.#options.inspected?.(inspection);
      if (!this.#isStopped) {
        tellMore(inspection);
        this.#warnOf(inspection);
      }
    } catch (error) {
      if (!this.#isStopped) {
        const fields = { event: 'cert.inspect', err: error };
        logger.error(fields, 'certificates could not be inspected');
      }
    }
  }

  /** One line for each certificate that is now in use. */
  #tellExpiries({ identities }: Inspection): void {
    const { options, logger } = this.#options;
    for (const { routeId, role, file, subject, notAfterSeconds } of identities) {
      const route = options.routes.find((candidate) => candidate.routeId === routeId)?.name;
      const fields = { route, role, file, subject, not_after: isoTime(notAfterSeconds) };
      logger.info({ event: 'cert.loaded', ...fields }, 'certificate in use');
    }
  }

  #warnOf(inspection: Inspection): void {
    const nowSeconds = Date.now() / 1_000;
    for (const { routeId, role, file, subject, notAfterSeconds } of inspection.identities) {
      if (notAfterSeconds < nowSeconds) {
        const fields = { role, file, subject, not_after: isoTime(notAfterSeconds) };
        this.#warn('cert.expired', routeId, fields, 'a certificate has expired');
      }
    }
    for (const { routeId, path, kind, file, subject, untilSeconds } of inspection.dated) {
      if (untilSeconds < nowSeconds) {
        const fields = { key: path, file, subject, not_after: isoTime(untilSeconds) };
        const [event, message] = EXPIRED[kind];
        this.#warn(event, routeId, fields, message);
      }
    }
    for (const { routeId, path, message } of inspection.warnings) {
      this.#warn('cert.warning', routeId, { key: path }, message);
    }
  }

  #warn(event: string, routeId: number, fields: object, message: string): void {
    const { options, logger } = this.#options;
    const route = options.routes.find((candidate) => candidate.routeId === routeId)?.name;
    logger.warn({ event, route, ...fields }, message);
  }
}

const EXPIRED: Readonly<
  Record<Inspection['dated'][number]['kind'], readonly [event: string, message: string]>
> = {
  authority: ['cert.expired', 'a trusted CA has expired: certificates below it are refused'],
  crl: ['crl.expired', 'a CRL has expired: every certificate of its issuer is refused'],
};

function isoTime(seconds: number): string {
  return new Date(seconds * 1_000).toISOString();
}
