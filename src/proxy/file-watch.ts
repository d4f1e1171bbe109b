/**
 * Notices that files have changed, by looking at them: device, inode, modification time and size, through symbolic links.
 *
 * So an edit in place, a replacement by rename (certbot, editors) and Kubernetes' exchange of the `..data` link are all the
 * same. While nothing happens nobody looks: the kernel tells when it is time to (`file-events.ts`); where its word is not enough, and
 * while something is under way, it is looked every `intervalMillis` (ADR 0023).
 *
 * A change is told once the files have been alike for two looks, or at the latest after `MAX_UNSETTLED_MILLIS`. While the
 * answer is that they could not be used, it is told again, each time they change and now and then besides.
 */
import { type BigIntStats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { FileEvents } from './file-events.ts';

/** What a watch needs. */
export interface FileWatchOptions {
  /** Absolute paths. */
  readonly files: readonly string[];
  /** What {@link fingerprintNow} gave before the files were loaded, so that no change after it is missed. */
  readonly used: string;
  readonly intervalMillis: number;
  /** Uses the files as they are now; false = they could not be used, ask again. Not looked at meanwhile. Must not reject. */
  readonly onChange: () => Promise<boolean>;
}

/** How often files are looked at while they change, or where the kernel tells nothing: twice in a row and the time to load them fit well into two seconds. */
export const WATCH_INTERVAL_MILLIS = 400;

/** How often they are looked at although the kernel tells of nothing: it is silent about what is mounted over a directory. */
const RESTING_INTERVAL_MILLIS = 60_000;

/** Files that never rest are used nonetheless. */
const MAX_UNSETTLED_MILLIS = 1_200;

/** Unusable files that rest are tried again after so many looks, doubled each time up to the second. */
const FIRST_RETRY_LOOKS = 2;
const LAST_RETRY_LOOKS = 128;

/** Owns an unref'd timer from `start` to `stop`. */
export class FileWatch {
  readonly #options: FileWatchOptions;
  readonly #events: FileEvents;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;
  /** Whether the next look waits for the kernel's word. */
  #isResting = false;
  /** Whether the kernel told of something since the last look began. */
  #isTold = false;
  /** As last used. */
  #used: string;
  /** As at the last look. */
  #seen: string;
  #unsettledLooks = 0;
  /** Looks until unusable files are tried again, and how many it was last; null = the files in use are good. */
  #retry: { left: number; of: number } | null = null;

  constructor(options: FileWatchOptions) {
    this.#options = options;
    this.#used = options.used;
    this.#seen = options.used;
    this.#events = new FileEvents(options.files, () => this.#hear());
  }

  /** Whether it only waits for the kernel's word, for tests. */
  get isResting(): boolean {
    return this.#isResting;
  }

  /** Begins to look. */
  start(): void {
    if (this.#options.files.length > 0) {
      this.#schedule();
    }
  }

  /** The files could not be used by somebody else who read them: they are told again now and then, as if it had been by a change. */
  tryAgain(): void {
    this.#retry ??= nextRetry(null);
    this.#hear();
  }

  /** Ends it; idempotent. */
  stop(): void {
    this.#isStopped = true;
    this.#events.close();
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
  }

  #schedule(): void {
    if (!this.#isStopped) {
      const millis = this.#isResting ? RESTING_INTERVAL_MILLIS : this.#options.intervalMillis;
      this.#timer = setTimeout(() => void this.#look(), millis).unref();
    }
  }

  #hear(): void {
    this.#isTold = true;
    if (this.#isResting && this.#timer !== null) {
      this.#isResting = false;
      clearTimeout(this.#timer);
      this.#schedule();
    }
  }

  async #look(): Promise<void> {
    this.#isResting = false;
    this.#isTold = false;
    const found = await this.#fingerprint();
    if (this.#isStopped) {
      return;
    }
    if (this.#isDue(found)) {
      // What is read now may be newer than what was seen: then the next look finds a change again.
      this.#used = found;
      this.#unsettledLooks = 0;
      this.#retry = (await this.#options.onChange()) ? null : nextRetry(this.#retry);
    }
    const isCalm = found === this.#seen && found === this.#used && this.#retry === null;
    this.#seen = found;
    // What happened after this look and before the kernel was asked is found by the next look.
    this.#isResting = isCalm && (await this.#events.cover()) === 'covered' && !this.#isTold;
    this.#schedule();
  }

  #isDue(found: string): boolean {
    if (found === this.#used) {
      return this.#isRetryDue();
    }
    if (found === this.#seen) {
      return true;
    }
    this.#unsettledLooks += 1;
    return this.#unsettledLooks * this.#options.intervalMillis >= MAX_UNSETTLED_MILLIS;
  }

  #isRetryDue(): boolean {
    this.#unsettledLooks = 0;
    if (this.#retry === null) {
      return false;
    }
    this.#retry.left -= 1;
    return this.#retry.left <= 0;
  }

  async #fingerprint(): Promise<string> {
    const looks = this.#options.files.map(async (file) => {
      try {
        return print(await stat(file, { bigint: true }));
      } catch (error) {
        return failurePrint(error);
      }
    });
    return (await Promise.all(looks)).join('\n');
  }
}

function nextRetry(last: { of: number } | null): { left: number; of: number } {
  const looks = last === null ? FIRST_RETRY_LOOKS : Math.min(last.of * 2, LAST_RETRY_LOOKS);
  return { left: looks, of: looks };
}

/** The files as they are at this moment; waits for the file system, so for the start only. */
export function fingerprintNow(files: readonly string[]): string {
  const prints = files.map((file) => {
    try {
      return print(statSync(file, { bigint: true }));
    } catch (error) {
      return failurePrint(error);
    }
  });
  return prints.join('\n');
}

function print({ dev, ino, mtimeNs, size, mode }: BigIntStats): string {
  return [dev, ino, mtimeNs, size, mode].join(' ');
}

function failurePrint(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
}
