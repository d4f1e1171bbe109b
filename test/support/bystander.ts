/** A session of another route that asks one query after the other while something fails beside it. */
import { expect, onTestFinished } from 'vitest';
import { connectPg } from './pg-client.ts';
import { until, WAIT_MILLIS } from './until.ts';

/** What an answer may take on a machine that is slow and busy: far less than any fault lasts that it might wait for. */
const ANSWER_MILLIS = 10_000;

/** The session; it ends with the test. */
export class Bystander {
  #answers = 0;
  #longestMillis = 0;
  #isWatching = true;
  readonly #asking: Promise<void>;

  private constructor(ask: () => Promise<unknown>) {
    this.#asking = this.#askOn(ask);
    // Told by `wasUndisturbed`.
    this.#asking.catch(() => undefined);
  }

  /** Logs in to a route on `port` that has a real PostgreSQL behind it. */
  static async watch(port: number, ssl: { ca: string; servername: string }): Promise<Bystander> {
    const client = await connectPg({ port, ssl });
    const bystander = new Bystander(() => client.query('select 1'));
    onTestFinished(() => {
      bystander.#isWatching = false;
    });
    return bystander;
  }

  /** Waits for some more answers, so that they fall into the fault. */
  async goesOn(): Promise<void> {
    const before = this.#answers;
    await until('another session gets answers', () => this.#answers >= before + 3, {
      millis: WAIT_MILLIS,
    });
  }

  /** Ends the watch; fails unless every query until now was answered, and soon. */
  async wasUndisturbed(): Promise<void> {
    await this.goesOn();
    this.#isWatching = false;
    await this.#asking;
    expect(this.#longestMillis).toBeLessThan(ANSWER_MILLIS);
  }

  async #askOn(ask: () => Promise<unknown>): Promise<void> {
    while (this.#isWatching) {
      const begun = performance.now();
      await ask();
      this.#longestMillis = Math.max(this.#longestMillis, performance.now() - begun);
      this.#answers += 1;
      // Others use the machine, too.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
