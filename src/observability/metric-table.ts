/**
 * Every metric of pgtls: its type, its labels, what it means. docs/metrics.md shows this table and a test compares the two; what
 * the names stand at is told by src/proxy/admin/samples.ts. Imports nothing.
 */

/** What Prometheus calls the kind of a metric. */
export type MetricType = 'counter' | 'gauge' | 'histogram';

/** One metric as documented. */
export interface MetricDescription {
  readonly type: MetricType;
  /** Names of its labels, in order. */
  readonly labels: readonly string[];
  readonly help: string;
}

/** The metrics that are histograms. */
export type HistogramName =
  | 'pgtls_tls_handshake_duration_seconds'
  | 'pgtls_backend_connect_duration_seconds'
  | 'pgtls_session_duration_seconds';

/** The others. */
export type NumberName =
  | 'pgtls_build_info'
  | 'pgtls_config_reloads_total'
  | 'pgtls_config_last_reload_successful'
  | 'pgtls_config_last_reload_success_timestamp_seconds'
  | 'pgtls_client_connections'
  | 'pgtls_client_connections_limit'
  | 'pgtls_client_connections_accepted_total'
  | 'pgtls_client_connections_rejected_total'
  | 'pgtls_client_connections_closed_total'
  | 'pgtls_negotiations_total'
  | 'pgtls_sni_total'
  | 'pgtls_tls_handshakes_total'
  | 'pgtls_tls_handshake_failures_total'
  | 'pgtls_tls_handshakes_limit'
  | 'pgtls_tls_handshakes_waiting'
  | 'pgtls_tls_connections'
  | 'pgtls_certificate_not_before_timestamp_seconds'
  | 'pgtls_certificate_not_after_timestamp_seconds'
  | 'pgtls_certificate_reloads_total'
  | 'pgtls_certificate_last_reload_successful'
  | 'pgtls_backend_connect_failures_total'
  | 'pgtls_bytes_total'
  | 'pgtls_cancel_requests_total'
  | 'pgtls_channel_binding_conflicts_total'
  | 'pgtls_worker_restarts_total'
  | 'pgtls_log_lines_dropped_total';

/** The name of a metric. */
export type MetricName = HistogramName | NumberName;

const describe = (type: MetricType, labels: string, help: string): MetricDescription => ({
  type,
  labels: labels === '' ? [] : labels.split(' '),
  help,
});

/** The metrics by name. */
export const METRICS: Readonly<Record<MetricName, MetricDescription>> = {
  pgtls_build_info: describe(
    'gauge',
    'version rustls provider node',
    'Always 1; its labels are the versions that run.',
  ),
  pgtls_config_reloads_total: describe('counter', 'result', 'Readings of the configuration file.'),
  pgtls_config_last_reload_successful: describe(
    'gauge',
    '',
    'Whether the configuration file could be used when it was last read: 1 or 0.',
  ),
  pgtls_config_last_reload_success_timestamp_seconds: describe(
    'gauge',
    '',
    'When the configuration in use was read.',
  ),
  pgtls_client_connections: describe(
    'gauge',
    'route state',
    'Client connections that are open, by how far they came.',
  ),
  pgtls_client_connections_limit: describe(
    'gauge',
    '',
    'max_client_conn: how many there may be of all routes together.',
  ),
  pgtls_client_connections_accepted_total: describe(
    'counter',
    'route',
    'Client connections that were accepted.',
  ),
  pgtls_client_connections_rejected_total: describe(
    'counter',
    'route reason',
    'Client connections that pgtls turned away.',
  ),
  pgtls_client_connections_closed_total: describe(
    'counter',
    'route reason',
    'Client connections that are over, by the reason of their line in the log.',
  ),
  pgtls_negotiations_total: describe(
    'counter',
    'route type',
    'Start-up negotiations that ended in a hand-off.',
  ),
  pgtls_sni_total: describe(
    'counter',
    'route match',
    'ClientHellos by what their server name led to.',
  ),
  pgtls_tls_handshakes_total: describe(
    'counter',
    'route side version resumed',
    'TLS handshakes that were finished.',
  ),
  pgtls_tls_handshake_duration_seconds: describe(
    'histogram',
    'route side',
    'How long finished TLS handshakes took.',
  ),
  pgtls_tls_handshake_failures_total: describe(
    'counter',
    'route side reason',
    'TLS handshakes that failed.',
  ),
  pgtls_tls_handshakes_limit: describe(
    'gauge',
    '',
    'How many handshakes with clients may go on at a time at present.',
  ),
  pgtls_tls_handshakes_waiting: describe(
    'gauge',
    '',
    'Client connections that wait for their turn to shake hands.',
  ),
  pgtls_tls_connections: describe(
    'gauge',
    'side cipher group',
    'TLS legs of client connections that are open.',
  ),
  pgtls_certificate_not_before_timestamp_seconds: describe(
    'gauge',
    'route role name',
    'When certificates in use that pgtls shows began.',
  ),
  pgtls_certificate_not_after_timestamp_seconds: describe(
    'gauge',
    'route role name',
    'When certificates and revocation lists in use end.',
  ),
  pgtls_certificate_reloads_total: describe(
    'counter',
    'route result',
    'Readings of the files that routes name.',
  ),
  pgtls_certificate_last_reload_successful: describe(
    'gauge',
    'route',
    'Whether those files could be used when they were last read: 1 or 0.',
  ),
  pgtls_backend_connect_duration_seconds: describe(
    'histogram',
    'route',
    'How long connections to backends took, TLS included.',
  ),
  pgtls_backend_connect_failures_total: describe(
    'counter',
    'route reason',
    'Attempts to connect to backends that failed.',
  ),
  pgtls_bytes_total: describe('counter', 'route direction', 'Plaintext bytes that were relayed.'),
  pgtls_session_duration_seconds: describe(
    'histogram',
    'route',
    'How long sessions lasted that were logged in.',
  ),
  pgtls_cancel_requests_total: describe(
    'counter',
    'route transport result',
    'CancelRequests that are over.',
  ),
  pgtls_channel_binding_conflicts_total: describe(
    'counter',
    'route',
    'Logins refused because channel binding cannot work across two certificates.',
  ),
  pgtls_worker_restarts_total: describe(
    'counter',
    '',
    'Worker threads that died and were replaced.',
  ),
  pgtls_log_lines_dropped_total: describe(
    'counter',
    '',
    'Lines of the log that were lost because nobody took them.',
  ),
};
