/**
 * Lines to a descriptor that nobody waits for: what it does not take at once is kept up to a bound, and lost and counted
 * beyond it. Imports node only.
 */
import { constants, fstatSync, openSync, writeSync } from 'node:fs';

/** How many bytes of lines are kept while they cannot be written. */
export const MAX_UNWRITTEN_BYTES: number = 1024 * 1024;

/** When the next try comes after one that led nowhere: doubled from the first to the last. */
const FIRST_RETRY_MILLIS = 5;
const LAST_RETRY_MILLIS = 500;

/** Writes what is taken at once and says how many bytes that is; throws, or says 0 or less, when nothing is. */
export type WriteAtOnce = (line: string | Buffer) => number;

/** The same for a descriptor that would wait. */
export type SendAtOnce = (fd: number, line: Buffer) => number;

/**
 * How to write to `fd` without waiting. O_NONBLOCK is not set where it is not: it would be set for everybody who shares the open file
 * description, such as a shell or a successor process. A pipe or a terminal is opened once more instead; a socket, or a
 * pipe of another user's, cannot be, and is left to `sendAtOnce`. A regular file has no reader to wait for.
 */
export function writeAtOnceTo(fd: number, sendAtOnce: SendAtOnce): WriteAtOnce {
  const own = fstatSync(fd).isFile() ? fd : reopened(fd);
  return own === null
    ? (line) => sendAtOnce(fd, typeof line === 'string' ? Buffer.from(line) : line)
    : (line) => (typeof line === 'string' ? writeSync(own, line) : writeSync(own, line));
}

/** A non-blocking description of its own of what is behind `fd`; null when that cannot be. */
function reopened(fd: number): number | null {
  try {
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return null;
  }
}

/** Lines of a log, written in order; {@link LogWriter.write} returns at once and throws nothing. */
export class LogWriter {
  /** Hears that `count` lines were lost between the last line written and the next one; null = nobody does. */
  onDropped: ((count: number) => void) | null = null;
  readonly #writeAtOnce: WriteAtOnce;
  /** Not yet written, the oldest first; the first may be the rest of a line. */
  #waiting: Array<string | Buffer> = [];
  #waitingBytes = 0;
  /** From the first line that is lost until half of what waits is written: so losses are gaps, and few. */
  #isDropping = false;
  #dropped = 0;
  #untold = 0;
  #isRetryPlanned = false;
  #retryMillis = FIRST_RETRY_MILLIS;
  #flushes: Array<() => void> = [];

  constructor(writeAtOnce: WriteAtOnce) {
    this.#writeAtOnce = writeAtOnce;
  }

  /** Lines lost until now. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes a line, its line feed included. */
  write(line: string): void {
    if (this.#waiting.length > 0) {
      this.#keepOrDrop(line);
      return;
    }
    const rest = this.#restOf(line);
    if (rest !== null) {
      this.#keep(rest);
      this.#retryLater();
    }
  }

  /** Resolves when every line is written, or after so many milliseconds. */
  async flushed(millis: number): Promise<void> {
    if (this.#waiting.length === 0) {
      return;
    }
    await new Promise<void>((resolve) => {
      const tooLate = setTimeout(resolve, millis);
      this.#flushes.push(() => {
        clearTimeout(tooLate);
        resolve();
      });
    });
  }

  #keepOrDrop(line: string): void {
    const isTooMuch = this.#waitingBytes + Buffer.byteLength(line) > MAX_UNWRITTEN_BYTES;
    if (this.#isDropping || isTooMuch) {
      this.#isDropping = true;
      this.#dropped += 1;
      this.#untold += 1;
      return;
    }
    this.#keep(line);
  }

  #keep(part: string | Buffer): void {
    this.#waiting.push(part);
    this.#waitingBytes += Buffer.byteLength(part);
  }

  /** What is left of `part` after a try to write it; null = nothing. */
  #restOf(part: string | Buffer): string | Buffer | null {
    const written = this.#tryToWrite(part);
    if (written <= 0) {
      return part;
    }
    this.#retryMillis = FIRST_RETRY_MILLIS;
    if (written >= Buffer.byteLength(part)) {
      return null;
    }
    return (typeof part === 'string' ? Buffer.from(part) : part).subarray(written);
  }

  /** A reader that is gone and a disk that is full may be there again, or have room, later on: no error is for ever. */
  #tryToWrite(part: string | Buffer): number {
    try {
      return this.#writeAtOnce(part);
    } catch {
      return 0;
    }
  }

  #retryLater(): void {
    if (this.#isRetryPlanned) {
      return;
    }
    this.#isRetryPlanned = true;
    // Nobody is kept from ending by lines that cannot be written.
    setTimeout(() => this.#retry(), this.#retryMillis).unref();
    this.#retryMillis = Math.min(2 * this.#retryMillis, LAST_RETRY_MILLIS);
  }

  #retry(): void {
    this.#isRetryPlanned = false;
    this.#writeWaiting();
    if (this.#isDropping && this.#waitingBytes <= MAX_UNWRITTEN_BYTES / 2) {
      this.#tellDropped();
    }
    if (this.#waiting.length > 0) {
      this.#retryLater();
      return;
    }
    const flushes = this.#flushes;
    this.#flushes = [];
    for (const done of flushes) {
      done();
    }
  }

  #tellDropped(): void {
    const count = this.#untold;
    this.#untold = 0;
    this.#isDropping = false;
    this.onDropped?.(count);
  }

  /** As many lines as are taken, each by a write of its own: so short ones are not mixed with those of another process. */
  #writeWaiting(): void {
    let count = 0;
    for (const part of this.#waiting) {
      const rest = this.#restOf(part);
      this.#waitingBytes -= Buffer.byteLength(part) - Buffer.byteLength(rest ?? '');
      if (rest !== null) {
        this.#waiting[count] = rest;
        break;
      }
      count += 1;
    }
    this.#waiting = this.#waiting.slice(count);
  }
}
