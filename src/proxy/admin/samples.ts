/**
 * What every metric stands at: the data plane's counters, those of the connections that it never got, and the status, as samples.
 */
import type { Inspection } from '../../data-plane/data-plane.ts';
import type {
  HistogramSample,
  Labels,
  NumberSample,
  Samples,
} from '../../observability/prometheus.ts';
import type { ProxyStatus, Reloads } from '../status.ts';
import { type ConnectionCounts, NEGOTIATION_TYPES, type RouteCounts } from './connection-counts.ts';
import type { Reading, RouteReading } from './reading.ts';

/** Endings in Rust that are refusals by a rule of the configuration; a subset of those counted as closed. */
const REJECTIONS: ReadonlySet<string> = new Set([
  'too_many_connections',
  'tls_required',
  'hook_refused',
  'client_certificate_missing',
  'client_certificate_not_mapped',
  'channel_binding_conflict',
  'client_protocol_violation',
]);

/** Where samples come from. */
export interface SampleSources {
  readonly buildInfo: Labels;
  readonly status: ProxyStatus;
  readonly counts: ConnectionCounts;
  /** null = the proxy starts. */
  readonly reading: Reading | null;
  readonly droppedLogLines: number;
}

/** Everything at this moment. */
export function samplesOf(sources: SampleSources): Samples {
  const { buildInfo, status, counts, reading, droppedLogLines } = sources;
  const routes = reading?.routes ?? [];
  const each = <Sample>(of: (route: RouteReading) => readonly Sample[]): Sample[] =>
    routes.flatMap(of);
  const counted = (route: RouteReading) => counts.of(route.name);
  const once = (value: (seen: Reading) => number) =>
    reading === null ? [] : [one(value(reading))];
  const config = status.reloads('config');
  const certificates = status.reloads('certificates');
  return {
    ...connectionSamples(each, counted),
    ...tlsSamples(each, reading),
    ...backendSamples(each),
    pgtls_build_info: [one(1, buildInfo)],
    pgtls_config_reloads_total: reloadSamples(config, {}),
    pgtls_config_last_reload_successful: [one(lastSuccessful(config))],
    pgtls_config_last_reload_success_timestamp_seconds: [one(config.lastSuccessAtMillis / 1_000)],
    pgtls_client_connections_limit: once(({ maxClientConn }) => maxClientConn),
    pgtls_tls_handshakes_limit: once(({ handshakesLimit }) => handshakesLimit),
    pgtls_tls_handshakes_waiting: once(({ handshakesWaiting }) => handshakesWaiting),
    pgtls_certificate_not_before_timestamp_seconds: beginningSamples(status.inspection, routes),
    pgtls_certificate_not_after_timestamp_seconds: endSamples(status.inspection, routes),
    pgtls_certificate_reloads_total: each(({ name }) =>
      reloadSamples(certificates, { route: name }),
    ),
    pgtls_certificate_last_reload_successful: each(({ name }) => [
      one(lastSuccessful(certificates), { route: name }),
    ]),
    pgtls_worker_restarts_total: once(({ workerRestarts }) => workerRestarts),
    pgtls_log_lines_dropped_total: [one(droppedLogLines)],
  };
}

type Each = <Sample>(of: (route: RouteReading) => readonly Sample[]) => Sample[];

function connectionSamples(each: Each, counted: (route: RouteReading) => RouteCounts) {
  return {
    pgtls_client_connections: each(({ name, negotiating, liveSessions, metrics }) => {
      const login = Math.max(0, liveSessions - metrics.sessions);
      return [
        one(negotiating, { route: name, state: 'negotiating' }),
        one(login, { route: name, state: 'login' }),
        one(metrics.sessions, { route: name, state: 'session' }),
      ];
    }),
    pgtls_client_connections_accepted_total: each((route) => [
      one(counted(route).accepted, { route: route.name }),
    ]),
    pgtls_client_connections_rejected_total: each((route) => {
      return reasonSamples(route.name, rejectedOf(route, counted(route)));
    }),
    pgtls_client_connections_closed_total: each((route) =>
      reasonSamples(route.name, closedOf(route, counted(route))),
    ),
    pgtls_negotiations_total: each((route) => {
      const { negotiations } = counted(route);
      return NEGOTIATION_TYPES.map((type) => one(negotiations[type], { route: route.name, type }));
    }),
    pgtls_bytes_total: each(({ name, bytesIn, bytesOut }) => [
      one(bytesIn, { route: name, direction: 'in' }),
      one(bytesOut, { route: name, direction: 'out' }),
    ]),
    pgtls_session_duration_seconds: each(({ name, metrics }) => [
      { labels: { route: name }, histogram: metrics.sessionDurations },
    ]),
    pgtls_cancel_requests_total: each(({ name, metrics }) =>
      metrics.cancels.map(({ inTls, forwarded, count }) => {
        const transport = inTls ? 'tls' : 'plaintext';
        return one(count, { route: name, transport, result: forwarded ? 'forwarded' : 'failed' });
      }),
    ),
    pgtls_channel_binding_conflicts_total: each(({ name, channelBindingConflicts }) => [
      one(channelBindingConflicts, { route: name }),
    ]),
  };
}

function tlsSamples(each: Each, reading: Reading | null) {
  const legs = (route: RouteReading) =>
    [
      ['client', route.metrics.clientTls],
      ['backend', route.metrics.backendTls],
    ] as const;
  return {
    pgtls_sni_total: each(({ name, metrics }) =>
      metrics.serverNames.map(({ word, count }) => one(count, { route: name, match: word })),
    ),
    pgtls_tls_handshakes_total: each((route) =>
      legs(route).flatMap(([side, { handshakes }]) =>
        handshakes.map(({ version, resumed, count }) =>
          one(count, { route: route.name, side, version, resumed: String(resumed) }),
        ),
      ),
    ),
    pgtls_tls_handshake_duration_seconds: each((route) =>
      legs(route).map(
        ([side, { durations }]): HistogramSample => ({
          labels: { route: route.name, side },
          histogram: durations,
        }),
      ),
    ),
    pgtls_tls_handshake_failures_total: each((route) =>
      legs(route).flatMap(([side, { failures }]) =>
        failures
          .filter(({ count }) => count > 0)
          .map(({ word, count }) => one(count, { route: route.name, side, reason: word })),
      ),
    ),
    pgtls_tls_connections: (reading?.tlsConnections ?? []).map(({ side, cipher, group, count }) =>
      one(count, { side, cipher, group }),
    ),
  };
}

function backendSamples(each: Each) {
  return {
    pgtls_backend_connect_duration_seconds: each(({ name, metrics }) => [
      { labels: { route: name }, histogram: metrics.connects },
    ]),
    pgtls_backend_connect_failures_total: each(({ name, metrics }) =>
      metrics.connectFailures.map(({ word, count }) => one(count, { route: name, reason: word })),
    ),
  };
}

function one(value: number, labels: Labels = {}): NumberSample {
  return { labels, value };
}

function reloadSamples({ successes, failures }: Reloads, labels: Labels): NumberSample[] {
  return [
    one(successes, { ...labels, result: 'success' }),
    one(failures, { ...labels, result: 'failure' }),
  ];
}

/** What is in use since the start counts as a success, too: the start read it. */
function lastSuccessful({ last }: Reloads): number {
  return last === null || last.error === null ? 1 : 0;
}

/** Connections that were refused by a rule, by reason; each has at least one. */
export function rejectedOf(route: RouteReading, counts: RouteCounts): Map<string, number> {
  const inRust = closedInRust(route).filter(([reason]) => REJECTIONS.has(reason));
  return summed([...counts.rejected, ...inRust]);
}

/** Connections that are over, by reason; each has at least one. */
export function closedOf(route: RouteReading, counts: RouteCounts): Map<string, number> {
  return summed([...counts.closed, ...closedInRust(route)]);
}

function closedInRust({ metrics }: RouteReading): (readonly [string, number])[] {
  return metrics.closed.map(({ word, count }) => [word, count] as const);
}

/** Reasons are many and most of them never occur: each is there from its first count on. */
function summed(counts: readonly (readonly [string, number])[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [reason, count] of counts.filter(([, added]) => added > 0)) {
    sums.set(reason, (sums.get(reason) ?? 0) + count);
  }
  return sums;
}

function reasonSamples(route: string, counts: ReadonlyMap<string, number>): NumberSample[] {
  return [...counts].map(([reason, count]) => one(count, { route, reason }));
}

/** One sample a file. Of several CAs in a file the last to end counts, of CRLs the first: one that has ended refuses everybody. */
function endSamples(
  inspection: Inspection | null,
  routes: readonly RouteReading[],
): NumberSample[] {
  const identities = (inspection?.identities ?? []).map(({ routeId, role, file, ...dates }) => ({
    labels: fileLabels(routes, routeId, role, file),
    value: dates.notAfterSeconds,
  }));
  const dated = (inspection?.dated ?? []).map(({ routeId, kind, file, untilSeconds }) => ({
    labels: fileLabels(routes, routeId, kind, file),
    value: untilSeconds,
  }));
  return onePerFile([...identities, ...dated], ({ role }) =>
    role === 'authority' ? Math.max : Math.min,
  );
}

/** Of certificates that pgtls shows: nothing is known of the beginning of CAs and CRLs. */
function beginningSamples(
  inspection: Inspection | null,
  routes: readonly RouteReading[],
): NumberSample[] {
  const identities = (inspection?.identities ?? []).map(({ routeId, role, file, ...dates }) => ({
    labels: fileLabels(routes, routeId, role, file),
    value: dates.notBeforeSeconds,
  }));
  return onePerFile(identities, () => Math.min);
}

type FileLabels = Readonly<Record<'route' | 'role' | 'name', string>>;

/** null = the route is gone. */
function fileLabels(
  routes: readonly RouteReading[],
  id: number,
  role: string,
  file: string,
): FileLabels | null {
  const route = routes.find(({ routeId }) => routeId === id)?.name;
  return route === undefined ? null : { route, role, name: file };
}

/** A file may be used, and hold something dated, several times: `choice` says which date is the file's. */
function onePerFile(
  dates: readonly { readonly labels: FileLabels | null; readonly value: number }[],
  choice: (labels: FileLabels) => (...values: number[]) => number,
): NumberSample[] {
  const samples = new Map<string, NumberSample>();
  for (const { labels, value } of dates) {
    if (labels !== null) {
      const key = JSON.stringify(labels);
      const known = samples.get(key)?.value ?? value;
      samples.set(key, one(choice(labels)(known, value), labels));
    }
  }
  return [...samples.values()];
}
