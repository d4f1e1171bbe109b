/**
 * stats(): what /status and /metrics tell, as one typed object.
 */
import type { DataPlaneSnapshot, Inspection } from '../../data-plane/data-plane.ts';
import { ConnectionCounts } from '../admin/connection-counts.ts';
import { type Reading, type RouteReading, readingOf } from '../admin/reading.ts';
import type { RunningView } from '../admin/running.ts';
import { closedOf, rejectedOf } from '../admin/samples.ts';
import type { ProxyStatus, ReloadKind } from '../status.ts';

/** What an embedded proxy is about. */
export type PgtlsProxyPhase = 'idle' | 'starting' | 'ready' | 'draining' | 'closed';

/** TLS handshakes with one kind of peer, since the start. */
export interface HandshakeStats {
  readonly succeeded: number;
  /** Among those that succeeded. */
  readonly resumed: number;
  /** By `tls_failure`; each has at least one. */
  readonly failed: Readonly<Record<string, number>>;
}

/** One `[[proxy]]`. Counters begin with the start and go on through reloads. */
export interface RouteStats {
  readonly name: string;
  /** Its listeners, as bound. */
  readonly addresses: readonly string[];
  /** Addresses of all its backends, as configured. */
  readonly backends: readonly string[];
  /** Connections now: before the hand-off to the data plane, before the first ReadyForQuery, after it. */
  readonly connections: {
    readonly negotiating: number;
    readonly login: number;
    readonly session: number;
  };
  readonly accepted: number;
  /** Refused by a rule or a limit, by reason; each has at least one. */
  readonly rejected: Readonly<Record<string, number>>;
  /** Over, by reason as in `conn.close`; each has at least one. */
  readonly closed: Readonly<Record<string, number>>;
  /** Plaintext from clients. */
  readonly bytesIn: number;
  /** Plaintext from backends. */
  readonly bytesOut: number;
  readonly clientHandshakes: HandshakeStats;
  readonly backendHandshakes: HandshakeStats;
  /** Attempts to connect to a backend that failed, by reason; each has at least one. */
  readonly connectFailures: Readonly<Record<string, number>>;
  readonly cancels: { readonly forwarded: number; readonly failed: number };
  /** Connections made ahead: waiting now, used, missed. */
  readonly warm: { readonly ready: number; readonly hits: number; readonly misses: number };
}

/** The dates of one certificate, authority or CRL. */
export interface CertificateStatus {
  /** Name of the `[[proxy]]`. */
  readonly route: string;
  /** What it is: shown to clients, shown to a backend, trusted, or a revocation list. */
  readonly role: 'listener' | 'backend' | 'authority' | 'crl';
  readonly file: string;
  /** Distinguished name; of a CRL its issuer's. */
  readonly subject: string;
  /** Server names it is shown for; empty = all that have none of their own. */
  readonly hostnames: readonly string[];
  /** null = beyond all dates. */
  readonly notAfter: Date | null;
}

/** Reloads of one kind since the start. */
export interface ReloadStats {
  readonly succeeded: number;
  readonly failed: number;
  /** The last one; `error` null = it succeeded. */
  readonly last: { readonly at: Date; readonly error: string | null } | null;
}

/** The proxy at one moment. After the end the counters are those of its last moment, and what it had then is gone. */
export interface ProxyStats {
  readonly phase: PgtlsProxyPhase;
  readonly workers: { readonly running: number; readonly restarts: number };
  /** `limit` is max_client_conn as far as the process can hold it; null = it has not started. */
  readonly sessions: {
    readonly live: number;
    readonly negotiating: number;
    readonly limit: number | null;
  };
  readonly routes: readonly RouteStats[];
  readonly certificates: readonly CertificateStatus[];
  readonly reloads: { readonly config: ReloadStats; readonly certificates: ReloadStats };
}

/** Looks at a proxy; keeps what it saw last for when there is nothing to see any more. */
export class StatsSource {
  readonly #status: ProxyStatus;
  readonly counts: ConnectionCounts;
  #reading: Reading | null = null;
  routeName: (routeId: number) => string = String;

  constructor(status: ProxyStatus) {
    this.#status = status;
    this.counts = new ConnectionCounts((routeId) => this.routeName(routeId));
  }

  /** `view` null = the proxy is not there. */
  stats(phase: PgtlsProxyPhase, view: RunningView | null): ProxyStats {
    const seen = this.#look(view);
    const reading = seen !== null && phase === 'closed' ? afterTheEnd(seen) : seen;
    const routes = reading?.routes ?? [];
    return {
      phase,
      workers: { running: reading?.workers ?? 0, restarts: reading?.workerRestarts ?? 0 },
      sessions: {
        live: reading?.liveSessions ?? 0,
        negotiating: routes.reduce((sum, { negotiating }) => sum + negotiating, 0),
        limit: reading?.maxClientConn ?? null,
      },
      routes: routes.map((route) => this.#route(route)),
      certificates: certificateStatuses(this.#status.inspection, this.routeName),
      reloads: { config: this.#reloads('config'), certificates: this.#reloads('certificates') },
    };
  }

  #look(view: RunningView | null): Reading | null {
    try {
      this.#reading = view === null ? this.#reading : readingOf(view);
    } catch {
      // The data plane has closed.
    }
    return this.#reading;
  }

  #route(route: RouteReading): RouteStats {
    const { name, addresses, backends, metrics, bytesIn, bytesOut } = route;
    const counts = this.counts.of(name);
    const cancels = (wanted: boolean) =>
      total(metrics.cancels.filter(({ forwarded }) => forwarded === wanted));
    return {
      name,
      addresses,
      backends,
      connections: {
        negotiating: route.negotiating,
        login: Math.max(0, route.liveSessions - metrics.sessions),
        session: metrics.sessions,
      },
      accepted: counts.accepted,
      rejected: Object.fromEntries(rejectedOf(route, counts)),
      closed: Object.fromEntries(closedOf(route, counts)),
      bytesIn,
      bytesOut,
      clientHandshakes: handshakes(metrics.clientTls),
      backendHandshakes: handshakes(metrics.backendTls),
      connectFailures: byWord(metrics.connectFailures),
      cancels: { forwarded: cancels(true), failed: cancels(false) },
      warm: { ready: route.warmConnections, hits: route.warmHits, misses: route.warmMisses },
    };
  }

  #reloads(kind: ReloadKind): ReloadStats {
    const { successes, failures, last } = this.#status.reloads(kind);
    return {
      succeeded: successes,
      failed: failures,
      last: last === null ? null : { at: new Date(last.atMillis), error: last.error },
    };
  }
}

/** The counters of the last look; what is counted while it lasts is nothing now. */
function afterTheEnd(reading: Reading): Reading {
  const routes = reading.routes.map((route) => ({
    ...route,
    negotiating: 0,
    liveSessions: 0,
    warmConnections: 0,
    metrics: { ...route.metrics, sessions: 0 },
  }));
  return { ...reading, workers: 0, liveSessions: 0, routes };
}

type TlsMetrics = DataPlaneSnapshot['routes'][number]['metrics']['clientTls'];

function handshakes({ handshakes: succeeded, failures }: TlsMetrics): HandshakeStats {
  return {
    succeeded: total(succeeded),
    resumed: total(succeeded.filter(({ resumed }) => resumed)),
    failed: byWord(failures),
  };
}

function total(counts: readonly { readonly count: number }[]): number {
  return counts.reduce((sum, { count }) => sum + count, 0);
}

function byWord(
  counts: readonly { readonly word: string; readonly count: number }[],
): Record<string, number> {
  const known = counts.filter(({ count }) => count > 0);
  return Object.fromEntries(known.map(({ word, count }) => [word, count]));
}

/** What is in the files of the routes; nothing before they were read. */
export function certificateStatuses(
  inspection: Inspection | null,
  routeName: (routeId: number) => string,
): CertificateStatus[] {
  const identities = (inspection?.identities ?? []).map(
    ({ routeId, role, file, subject, hostnames, notAfterSeconds }): CertificateStatus => ({
      route: routeName(routeId),
      role,
      file,
      subject,
      hostnames,
      notAfter: dateOf(notAfterSeconds),
    }),
  );
  const dated = (inspection?.dated ?? []).map(
    ({ routeId, kind, file, subject, untilSeconds }): CertificateStatus => ({
      route: routeName(routeId),
      role: kind,
      file,
      subject,
      hostnames: [],
      notAfter: dateOf(untilSeconds),
    }),
  );
  return [...identities, ...dated];
}

function dateOf(seconds: number): Date | null {
  const date = new Date(seconds * 1_000);
  return Number.isNaN(date.getTime()) ? null : date;
}
