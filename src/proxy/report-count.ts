/**
 * Counts connections that the data plane took over against those it reported: reports come in batches, a turn of the event
 * loop each, and none shall be missing from the log when the program ends.
 */

/** Connections adopted and reported. */
export class ReportCount {
  #pending = 0;

  /** The data plane took a connection over. */
  adopted(): void {
    this.#pending += 1;
  }

  /** The data plane reported a connection. */
  reported(): void {
    this.#pending -= 1;
  }

  /** Resolves when every adopted connection is reported, or `capMillis` have passed. */
  async settled(capMillis: number): Promise<void> {
    const end = performance.now() + capMillis;
    while (this.#pending > 0 && performance.now() < end) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
