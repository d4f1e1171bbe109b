/**
 * How the proxy is doing, as the admin server tells it: one small object that whoever starts, reloads or ends the proxy writes to.
 */
import type { Inspection } from '../data-plane/data-plane.ts';
import type { ProxyPhase, ProxyState } from './state.ts';

/** What is read again while the proxy runs. */
export type ReloadKind = 'config' | 'certificates';

/** How a reload ended. */
export interface ReloadOutcome {
  readonly atMillis: number;
  /** null = it succeeded. */
  readonly error: string | null;
}

/** The reloads of one kind. */
export interface Reloads {
  readonly successes: number;
  readonly failures: number;
  readonly last: ReloadOutcome | null;
  /** Of the start at first. */
  readonly lastSuccessAtMillis: number;
}

/** Written to by proxy, reload and shutdown; read by the admin server. */
export class ProxyStatus {
  readonly #state: ProxyState;
  /** What the certificate files held when they were last read; null = not yet. */
  inspection: Inspection | null = null;
  readonly startedAtMillis: number = Date.now();
  readonly #reloads: Record<ReloadKind, Reloads>;

  constructor(state: ProxyState) {
    this.#state = state;
    const none = {
      successes: 0,
      failures: 0,
      last: null,
      lastSuccessAtMillis: this.startedAtMillis,
    };
    this.#reloads = { config: none, certificates: none };
  }

  /** Whether connections are welcome. */
  get readiness(): ProxyPhase {
    return this.#state.phase;
  }

  /** Notes the outcome of a reload; `error` null = it succeeded. */
  reloaded(kind: ReloadKind, error: unknown): void {
    const before = this.#reloads[kind];
    const atMillis = Date.now();
    const hasFailed = error !== null;
    const message = error instanceof Error ? error.message : String(error);
    this.#reloads[kind] = {
      successes: before.successes + (hasFailed ? 0 : 1),
      failures: before.failures + (hasFailed ? 1 : 0),
      last: { atMillis, error: hasFailed ? message : null },
      lastSuccessAtMillis: hasFailed ? before.lastSuccessAtMillis : atMillis,
    };
  }

  /** The reloads until now. */
  reloads(kind: ReloadKind): Reloads {
    return this.#reloads[kind];
  }
}
