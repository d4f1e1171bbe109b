/**
 * Counts what becomes of connections while their sockets are Node's; from the hand-off on the data plane counts.
 */
import type { ConnectionEnd, ConnectionInfo } from '../../listener/connection.ts';
import type { ListenerObserver } from '../../listener/listener.ts';

/** The ways a negotiation can lead to the data plane. */
export const NEGOTIATION_TYPES = ['negotiated', 'direct', 'none', 'cancel'] as const;

/** One of them; `none` is plaintext, `cancel` a CancelRequest in plaintext. */
export type NegotiationType = (typeof NEGOTIATION_TYPES)[number];

/** What was counted on one route. */
export interface RouteCounts {
  accepted: number;
  readonly negotiations: Record<NegotiationType, number>;
  /** By reason, as in the log. */
  readonly closed: Map<string, number>;
  readonly rejected: Map<string, number>;
}

/** Refusals that are nobody's policy. */
const NOT_REJECTED: ReadonlySet<string> = new Set(['login_timeout', 'admin_shutdown']);

/** Counts by name of the route, which outlives a reload. */
export class ConnectionCounts {
  readonly #nameOf: (routeId: number) => string;
  readonly #routes = new Map<string, RouteCounts>();

  constructor(nameOf: (routeId: number) => string) {
    this.#nameOf = nameOf;
  }

  /** What was counted on the route until now. */
  of(route: string): RouteCounts {
    const known = this.#routes.get(route);
    if (known !== undefined) {
      return known;
    }
    const fresh: RouteCounts = {
      accepted: 0,
      negotiations: { negotiated: 0, direct: 0, none: 0, cancel: 0 },
      closed: new Map(),
      rejected: new Map(),
    };
    this.#routes.set(route, fresh);
    return fresh;
  }

  /** An observer that counts, and tells `next`. */
  before(next: ListenerObserver): ListenerObserver {
    return {
      accepted: (info) => {
        this.#of(info).accepted += 1;
        next.accepted(info);
      },
      finished: (info, end) => {
        this.#count(this.#of(info), end);
        next.finished(info, end);
      },
      acceptFailed: (routeId, error) => {
        addOne(this.of(this.#nameOf(routeId)).rejected, 'accept_failed');
        next.acceptFailed(routeId, error);
      },
    };
  }

  #of({ routeId }: ConnectionInfo): RouteCounts {
    return this.of(this.#nameOf(routeId));
  }

  #count(counts: RouteCounts, { outcome }: ConnectionEnd): void {
    if (outcome.type === 'handed-off') {
      counts.negotiations[outcome.isCancel ? 'cancel' : outcome.encryption] += 1;
      return;
    }
    addOne(counts.closed, outcome.reason);
    switch (outcome.type) {
      case 'denied':
      case 'header-refused':
        // Closed as soon as it was accepted, which nobody else is told.
        counts.accepted += 1;
        addOne(counts.rejected, outcome.reason);
        break;
      case 'refused':
        if (!NOT_REJECTED.has(outcome.reason)) {
          addOne(counts.rejected, outcome.reason);
        }
        break;
      case 'adopt-failed': {
        const isLimit = outcome.error.code === 'PGTLS_TOO_MANY_CONNECTIONS';
        addOne(counts.rejected, isLimit ? 'too_many_connections' : outcome.reason);
        break;
      }
      case 'closed':
      case 'internal-error':
        break;
      default:
        outcome satisfies never;
    }
  }
}

function addOne(counts: Map<string, number>, reason: string): void {
  counts.set(reason, (counts.get(reason) ?? 0) + 1);
}
