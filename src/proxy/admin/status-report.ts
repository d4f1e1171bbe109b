/**
 * The JSON of /status. Names are the log's: flat where it can be, snake_case, times in ISO 8601.
 */
import type { Inspection } from '../../data-plane/data-plane.ts';
import type { ProxyStatus, ReloadKind } from '../status.ts';
import type { Reading } from './reading.ts';

/** Everything at this moment; `reading` null = the proxy starts. */
export function statusReport(
  versions: Readonly<Record<string, string>>,
  status: ProxyStatus,
  reading: Reading | null,
): object {
  return {
    ...versions,
    started_at: isoTime(status.startedAtMillis),
    readiness: status.readiness,
    last_reload: {
      config: lastReload(status, 'config'),
      certificates: lastReload(status, 'certificates'),
    },
    workers: { running: reading?.workers ?? 0, restarts: reading?.workerRestarts ?? 0 },
    sessions: {
      live: reading?.liveSessions ?? 0,
      negotiating: sum(reading?.routes.map(({ negotiating }) => negotiating) ?? []),
      limit: reading?.maxClientConn ?? null,
    },
    routes: (reading?.routes ?? []).map((route) => ({
      name: route.name,
      listeners: route.addresses,
      backends: route.backends,
      negotiating: route.negotiating,
      live_sessions: route.liveSessions,
      logged_in: route.metrics.sessions,
      bytes_in: route.bytesIn,
      bytes_out: route.bytesOut,
      warm_connections: route.warmConnections,
    })),
    certificates: certificates(status.inspection, reading),
  };
}

function lastReload(status: ProxyStatus, kind: ReloadKind) {
  const { last } = status.reloads(kind);
  if (last === null) {
    return null;
  }
  const { atMillis, error } = last;
  return { at: isoTime(atMillis), result: error === null ? 'success' : 'failure', error };
}

function certificates(inspection: Inspection | null, reading: Reading | null) {
  const route = (id: number) => reading?.routes.find(({ routeId }) => routeId === id)?.name ?? null;
  const identities = (inspection?.identities ?? []).map((one) => ({
    route: route(one.routeId),
    role: one.role,
    file: one.file,
    subject: one.subject,
    hostnames: one.hostnames,
    not_after: isoTime(one.notAfterSeconds * 1_000),
  }));
  const dated = (inspection?.dated ?? []).map((one) => ({
    route: route(one.routeId),
    role: one.kind,
    file: one.file,
    subject: one.subject,
    hostnames: [],
    not_after: isoTime(one.untilSeconds * 1_000),
  }));
  return [...identities, ...dated];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** null for what lies beyond all dates. */
function isoTime(millis: number): string | null {
  const date = new Date(millis);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
