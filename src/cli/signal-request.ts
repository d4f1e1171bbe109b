/** What a signal asks for: one that comes before it can be done waits until it can. */
export class SignalRequest {
  #act: (() => void) | null = null;
  #isAsked = false;

  /** The signal came. */
  ask(): void {
    if (this.#act === null) {
      this.#isAsked = true;
    } else {
      this.#act();
    }
  }

  /** From now on it can be done. */
  serve(act: () => void): void {
    this.#act = act;
    if (this.#isAsked) {
      act();
    }
  }
}
