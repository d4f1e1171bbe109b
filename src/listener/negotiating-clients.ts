/**
 * How many connections of one address may negotiate at once: who says nothing must not hold every descriptor until the login
 * timeout. From the hand-off on the data plane counts.
 */

/** Counts by address; a connection is known by its id. */
export class NegotiatingClients {
  readonly #maxPerAddress: number;
  readonly #addresses = new Map<number, string>();
  readonly #counts = new Map<string, number>();

  constructor(maxPerAddress: number) {
    this.#maxPerAddress = maxPerAddress;
  }

  /** Whether one more of this address may negotiate; counts it until {@link leave} if so. */
  enter(connectionId: number, address: string): boolean {
    const count = this.#counts.get(address) ?? 0;
    if (count >= this.#maxPerAddress) {
      return false;
    }
    this.#addresses.set(connectionId, address);
    this.#counts.set(address, count + 1);
    return true;
  }

  /** Its negotiation is over; nothing happens for one that did not enter. */
  leave(connectionId: number): void {
    const address = this.#addresses.get(connectionId);
    if (address === undefined) {
      return;
    }
    this.#addresses.delete(connectionId);
    const count = this.#counts.get(address) ?? 0;
    if (count > 1) {
      this.#counts.set(address, count - 1);
    } else {
      this.#counts.delete(address);
    }
  }
}
