/**
 * Counts connections that the data plane took over against those it reported: reports come some time after the ends they
 * tell of, and none shall be missing from the log when the program ends.
 */

/** Connections adopted and reported. */
export class ReportCount {
  #pending = 0;
  #settle: (() => void) | null = null;

  /** The data plane took a connection over. */
  adopted(): void {
    this.#pending += 1;
  }

  /** The data plane reported so many connections. */
  reported(count: number): void {
    this.#pending -= count;
    if (this.#pending === 0) {
      this.#settle?.();
    }
  }

  /** Resolves when every adopted connection is reported, or `capMillis` have passed. */
  async settled(capMillis: number): Promise<void> {
    if (this.#pending <= 0) {
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, capMillis);
      const earlier = this.#settle;
      this.#settle = () => {
        earlier?.();
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
