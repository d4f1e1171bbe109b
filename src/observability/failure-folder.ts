/**
 * Folds identical failures: the first is logged, those that follow within a window are counted, and
 * the count is logged when the window ends. A flood costs one line a window.
 */

/** Writes one line; `repeated` = how often the failure came again since the line before. */
export type WriteFailure<T> = (failure: T, repeated: number) => void;

interface Window<T> {
  readonly endsAtMillis: number;
  latest: T;
  repeated: number;
}

const DEFAULT_WINDOW_MILLIS = 10_000;

/** So many kinds of failures are told apart at a time; `coarseKey` folds those beyond. */
const MAX_WINDOWS = 1_000;

/** Owns one unref'd timer while a window is open. */
export class FailureFolder<T> {
  readonly #write: WriteFailure<T>;
  readonly #windowMillis: number;
  readonly #windows = new Map<string, Window<T>>();
  #timer: NodeJS.Timeout | null = null;

  constructor(write: WriteFailure<T>, windowMillis: number = DEFAULT_WINDOW_MILLIS) {
    this.#write = write;
    this.#windowMillis = windowMillis;
  }

  /**
   * Writes the failure or counts it. Failures with the same key are identical; the coarse key, of
   * which there must be few, stands in when too many keys are open.
   */
  add(key: string, coarseKey: string, failure: T): void {
    const isFull = this.#windows.size >= MAX_WINDOWS && !this.#windows.has(key);
    const usedKey = isFull ? coarseKey : key;
    const window = this.#windows.get(usedKey);
    if (window !== undefined) {
      window.latest = failure;
      window.repeated += 1;
      return;
    }
    this.#open(usedKey, failure);
    this.#write(failure, 0);
  }

  /** Writes what was counted and forgets it; called at the end. */
  flush(): void {
    for (const { latest, repeated } of this.#windows.values()) {
      if (repeated > 0) {
        this.#write(latest, repeated);
      }
    }
    this.#windows.clear();
    this.#stop();
  }

  #open(key: string, latest: T): void {
    const endsAtMillis = performance.now() + this.#windowMillis;
    this.#windows.set(key, { endsAtMillis, latest, repeated: 0 });
    this.#timer ??= setInterval(() => this.#sweep(), this.#windowMillis / 10).unref();
  }

  /** Windows are equally long, hence end in the order they were opened. */
  #sweep(): void {
    const now = performance.now();
    for (const [key, { endsAtMillis, latest, repeated }] of this.#windows) {
      if (endsAtMillis > now) {
        return;
      }
      this.#windows.delete(key);
      if (repeated > 0) {
        this.#write(latest, repeated);
        this.#open(key, latest);
      }
    }
    if (this.#windows.size === 0) {
      this.#stop();
    }
  }

  #stop(): void {
    if (this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }
}
