/**
 * A successor takes over: another process of pgtls is started with the listening sockets, and once it accepts, this one stops
 * accepting and drains. The sockets are never closed in between, so nobody who connects is refused or reset (ADR 0020).
 *
 * A successor that fails, dies or takes too long changes nothing: this process goes on.
 */
import type { Logger } from '../observability/logger.ts';
import type { PassedSocket } from './listeners.ts';

/** A process that is to take over. */
export interface Successor {
  readonly pid: number;
  /** Resolves when it accepts connections; rejects with what kept it from that. */
  readonly ready: Promise<void>;
  /** Ends it at once. */
  kill(): void;
}

/** What a takeover needs. */
export interface TakeoverOptions {
  /** Starts a process with these sockets; throws when that cannot be. */
  readonly launch: (sockets: readonly PassedSocket[]) => Successor;
  readonly sockets: () => readonly PassedSocket[];
  /**
   * Runs `work` while nothing is reloaded: a successor binds what is new in the file, as a reload would, and is to be given all
   * that is bound here.
   */
  readonly whileUnchanged: (work: () => Promise<void>) => Promise<void>;
  /** Called once, when a successor accepts: now stop accepting. */
  readonly onTaken: (successorPid: number) => void;
  readonly logger: Logger;
  readonly deadlineMillis?: number;
}

/** How long a successor may take: it reads certificates, and may have to ask for passphrases. */
const DEADLINE_MILLIS = 60_000;

/** One takeover at a time, and none after one that succeeded or after `abort`. */
export class Takeover {
  readonly #options: TakeoverOptions;
  #isUnderWay = false;
  #successor: Successor | null = null;
  #isOver = false;

  constructor(options: TakeoverOptions) {
    this.#options = options;
  }

  /** Starts a successor, behind a reload under way, and waits for it; what goes wrong is in the log. Never rejects. */
  async begin(): Promise<void> {
    const { logger, whileUnchanged } = this.#options;
    if (this.#isOver || this.#isUnderWay) {
      const why = this.#isOver ? 'this process is ending' : 'a takeover is under way already';
      logger.warn({ event: 'takeover', result: 'ignored' }, why);
      return;
    }
    this.#isUnderWay = true;
    const attempt = { isGivenUp: false };
    try {
      await this.#inTime(whileUnchanged(() => this.#replace(attempt)));
    } catch (err) {
      attempt.isGivenUp = true;
      this.#tellFailure(err);
    } finally {
      this.#isUnderWay = false;
      this.#successor = null;
    }
  }

  /** This process ends: a successor that is starting ends with it. Idempotent. */
  abort(): void {
    this.#isOver = true;
    this.#successor?.kill();
  }

  /** Nothing is done any more once the attempt is given up. */
  async #replace(attempt: { readonly isGivenUp: boolean }): Promise<void> {
    const { logger, launch, sockets, onTaken } = this.#options;
    if (this.#isOver || attempt.isGivenUp) {
      return;
    }
    const successor = launch(sockets());
    this.#successor = successor;
    const fields = { event: 'takeover', successor_pid: successor.pid };
    logger.info(fields, 'a successor is starting');
    await successor.ready;
    if (attempt.isGivenUp) {
      return;
    }
    this.#isOver = true;
    // No abort is to end it any more.
    this.#successor = null;
    logger.info({ ...fields, result: 'success' }, 'the successor accepts connections');
    onTaken(successor.pid);
  }

  #tellFailure(err: unknown): void {
    this.#successor?.kill();
    const fields = { event: 'takeover', result: 'failure', err };
    this.#options.logger.error(fields, 'no successor took over; this process goes on');
  }

  /** The wait for a reload under way counts, too: it may be one that never ends. */
  async #inTime(replacing: Promise<void>): Promise<void> {
    const { deadlineMillis = DEADLINE_MILLIS } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        const who = this.#successor === null ? 'a reload under way' : 'the successor';
        reject(new Error(`${who} was not ready within ${deadlineMillis} ms`));
      }, deadlineMillis);
    });
    try {
      await Promise.race([replacing, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
