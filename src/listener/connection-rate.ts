/**
 * How fast one address may connect: a token bucket for each, in a table that cannot grow without bound.
 */

/** Addresses that are told apart; the one not seen for longest is forgotten for another. */
const MAX_ADDRESSES = 65_536;
const SECOND_MILLIS = 1_000;

interface Bucket {
  tokens: number;
  filledAtMillis: number;
}

/**
 * Buckets of `perSecond` tokens, filled at `perSecond` tokens a second. One that was not touched for a second is full, hence as
 * good as forgotten.
 */
export class ConnectionRate {
  readonly #perSecond: number;
  readonly #maxAddresses: number;
  /** The one not touched for longest first. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(perSecond: number, maxAddresses: number = MAX_ADDRESSES) {
    this.#perSecond = perSecond;
    this.#maxAddresses = maxAddresses;
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Whether this address may connect now; counts it if so. */
  take(address: string, nowMillis: number = performance.now()): boolean {
    const bucket = this.#buckets.get(address) ?? this.#newBucket(nowMillis);
    const earned = ((nowMillis - bucket.filledAtMillis) * this.#perSecond) / SECOND_MILLIS;
    bucket.tokens = Math.min(this.#perSecond, bucket.tokens + earned);
    bucket.filledAtMillis = nowMillis;
    this.#buckets.delete(address);
    this.#buckets.set(address, bucket);
    if (bucket.tokens < 1) {
      return false;
    }
    bucket.tokens -= 1;
    return true;
  }

  #newBucket(nowMillis: number): Bucket {
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined && this.#buckets.size >= this.#maxAddresses) {
      this.#buckets.delete(oldest);
    }
    return { tokens: this.#perSecond, filledAtMillis: nowMillis };
  }
}
