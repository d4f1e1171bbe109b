/**
 * One timer for many deadlines of equal length: a queue in order of arrival, swept from its head.
 *
 * Adding and deleting cost a map entry, not a timer. A deadline is never early and at most one
 * sweep late.
 */

/** Something with a deadline; `expire` is called once, after it was taken out of the queue. */
export interface Expiring {
  expire(): void;
}

/** How often the queue is looked at while it is not empty. */
const SWEEP_MILLIS = 50;

/** Deadlines that all lie `timeoutMillis` after their `add`; 0 = none ever passes. */
export class DeadlineQueue {
  readonly #timeoutMillis: number;
  readonly #deadlines = new Map<Expiring, number>();
  #timer: NodeJS.Timeout | null = null;

  constructor(timeoutMillis: number) {
    this.#timeoutMillis = timeoutMillis;
  }

  /** Starts the deadline of `entry`, anew when it already had one. */
  add(entry: Expiring): void {
    if (this.#timeoutMillis === 0) {
      return;
    }
    this.#deadlines.delete(entry);
    this.#deadlines.set(entry, performance.now() + this.#timeoutMillis);
    this.#timer ??= setInterval(() => this.#sweep(), SWEEP_MILLIS).unref();
  }

  /** Forgets `entry`; nothing happens when it has no deadline. */
  delete(entry: Expiring): void {
    this.#deadlines.delete(entry);
  }

  /** Milliseconds until the deadline of `entry`, at least 1; 0 when it has none. */
  remainingMillis(entry: Expiring): number {
    const deadline = this.#deadlines.get(entry);
    return deadline === undefined ? 0 : Math.max(1, Math.ceil(deadline - performance.now()));
  }

  /** Forgets every deadline and stops the timer. */
  close(): void {
    this.#deadlines.clear();
    this.#stop();
  }

  #sweep(): void {
    const now = performance.now();
    for (const [entry, deadline] of this.#deadlines) {
      if (deadline > now) {
        return;
      }
      this.#deadlines.delete(entry);
      entry.expire();
    }
    this.#stop();
  }

  #stop(): void {
    if (this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }
}
