/**
 * The end of a proxy: stop accepting, let sessions finish, close. Each step happens once, in this
 * order, however often and however hastily it is asked for.
 */
import type { DataPlane, DrainReport } from '../data-plane/data-plane.ts';
import type { Logger } from '../observability/logger.ts';

/** What has to be ended, and how patiently. */
export interface ShutdownOptions {
  /** Stops listeners and timers, and closes connections that still negotiate. */
  readonly stopAccepting: () => Promise<void>;
  readonly dataPlane: Pick<DataPlane, 'drain' | 'close' | 'snapshot'>;
  /** Resolves when the reports of all connections have come, or it is no use to wait longer. */
  readonly reportsSettled: () => Promise<void>;
  /** Called when no session lives, and the data plane may still be looked at. */
  readonly closing: () => void;
  /** Called when nothing lives any more. */
  readonly ended: () => void;
  /** shutdown_delay: still accepting, so that load balancers take notice. */
  readonly delayMillis: number;
  /** shutdown_timeout: what sessions get to finish. */
  readonly graceMillis: number;
  readonly logger: Logger;
}

/** Ends a proxy gracefully, or at once; both are idempotent and may be combined. */
export class Shutdown {
  readonly #options: ShutdownOptions;
  readonly #hurry = new AbortController();
  #draining: Promise<void> | null = null;
  #closing: Promise<void> | null = null;
  /** Of the data plane's drain; at most one is waited for. */
  #sessions: 'untold' | 'told' | 'over' = 'untold';
  /** In place of shutdown_timeout; null = that. */
  #graceMillis: number | null = null;
  /** Sessions that lived when somebody got into a hurry. */
  #cut = 0;
  #report: DrainReport = { drained: 0, cut: 0 };

  constructor(options: ShutdownOptions) {
    this.#options = options;
  }

  /** How it went; final when `drain` or `close` has resolved. */
  get report(): DrainReport {
    return this.#report;
  }

  /** Waits for sessions to finish, at most the grace, and closes; resolves when all is closed. The first call's grace holds. */
  drain(graceMillis: number | null = null): Promise<void> {
    this.#graceMillis ??= graceMillis;
    this.#draining ??= this.#closing ?? this.#drain();
    return this.#draining;
  }

  /** Closes at once, also in the middle of a drain. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #drain(): Promise<void> {
    const { delayMillis, stopAccepting, logger } = this.#options;
    const graceMillis = this.#graceMillis ?? this.#options.graceMillis;
    logger.info({ event: 'shutdown', delay_ms: delayMillis, grace_ms: graceMillis }, 'draining');
    await this.#unhurried(after(delayMillis, this.#hurry.signal));
    await stopAccepting();
    if (!this.#hurry.signal.aborted) {
      await this.#finishSessions(graceMillis);
    }
    await this.close();
  }

  async #close(): Promise<void> {
    const { stopAccepting, dataPlane, reportsSettled, closing, ended, logger } = this.#options;
    this.#cut = this.#liveSessions();
    this.#hurry.abort();
    await stopAccepting();
    if (this.#sessions === 'untold') {
      await this.#finishSessions(0);
    } else if (this.#sessions === 'told') {
      // Closing waits for the sessions that are left, and nothing else runs meanwhile. Rejects where there are none any more.
      await dataPlane.drain(0).catch(() => {});
    }
    closing();
    dataPlane.close();
    await reportsSettled();
    ended();
    logger.info({ event: 'shutdown' }, 'closed');
  }

  async #finishSessions(graceMillis: number): Promise<void> {
    const { dataPlane, logger } = this.#options;
    this.#sessions = 'told';
    const live = this.#liveSessions();
    try {
      const draining = dataPlane.drain(graceMillis);
      const report = await (graceMillis === 0 ? draining : this.#unhurried(draining));
      this.#sessions = report === null ? 'told' : 'over';
      this.#report = report ?? { drained: Math.max(0, live - this.#cut), cut: this.#cut };
      if (report !== null) {
        logger.info({ event: 'shutdown', ...drainFields(report) }, 'drained');
      }
    } catch (error) {
      logger.error({ event: 'shutdown', err: error }, 'draining failed');
    }
  }

  #liveSessions(): number {
    try {
      return this.#options.dataPlane.snapshot().liveSessions;
    } catch {
      // The data plane has ended by itself.
      return 0;
    }
  }

  /** The result, or null when somebody is in a hurry. */
  #unhurried<T>(result: Promise<T>): Promise<T | null> {
    const { signal } = this.#hurry;
    return new Promise((resolve, reject) => {
      const onAbort = () => resolve(null);
      if (signal.aborted) {
        onAbort();
      }
      signal.addEventListener('abort', onAbort, { once: true });
      result.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }
}

function drainFields({ drained, cut }: DrainReport) {
  return { drained, cut };
}

function after(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (millis === 0 || signal.aborted) {
      resolve();
      return;
    }
    const timer = setTimeout(resolve, millis);
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}
