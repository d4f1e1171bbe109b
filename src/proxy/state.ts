/**
 * What a proxy is about, for those outside who ask (readiness, the service manager): one word that only moves forward.
 */

/** starting until every listener is bound, draining from the first request to end on. */
export type ProxyPhase = 'starting' | 'ready' | 'draining';

const ORDER: readonly ProxyPhase[] = ['starting', 'ready', 'draining'];

/** The phase now, and whoever wants to hear of the next. */
export class ProxyState {
  #phase: ProxyPhase = 'starting';
  readonly #listeners: ((phase: ProxyPhase) => void)[] = [];

  get phase(): ProxyPhase {
    return this.#phase;
  }

  /** Calls `listener`, which must not throw, with every later phase. */
  onChange(listener: (phase: ProxyPhase) => void): void {
    this.#listeners.push(listener);
  }

  /** Goes on to `phase`; nothing happens when it is past that. */
  enter(phase: ProxyPhase): void {
    if (ORDER.indexOf(phase) <= ORDER.indexOf(this.#phase)) {
      return;
    }
    this.#phase = phase;
    for (const listener of this.#listeners) {
      listener(phase);
    }
  }
}
