/**
 * Reports of the native side as log fields: flat, snake_case, without what is not known.
 *
 * Passes on the user and the database; every other startup parameter stays out of the log.
 */
import type { ConnectionReport, TlsReport } from './data-plane.ts';

/** Fields of one log line. */
export type LogFields = Readonly<Record<string, string | number | boolean>>;

/** How loud the end of a connection is. */
export type ReportSeverity = 'info' | 'warn';

/** An alert that only says that the connection ends is no failure. */
const HARMLESS_ALERTS: ReadonlySet<string> = new Set(['close_notify', 'user_canceled']);

const TLS_REASON = /tls|handshake|certificate|alpn/;

/** TLS failures, and failures of the backend or of pgtls itself, are warnings. */
export function reportSeverity(report: ConnectionReport): ReportSeverity {
  return isTlsFailure(report) || report.faultSide === 'backend' || report.faultSide === 'proxy'
    ? 'warn'
    : 'info';
}

/** Whether TLS with one of the peers failed. */
export function isTlsFailure({ alert, reason, tlsFailure }: ConnectionReport): boolean {
  return (
    tlsFailure !== null ||
    (alert !== null && !HARMLESS_ALERTS.has(alert.description)) ||
    TLS_REASON.test(reason)
  );
}

/** The fields of a `conn.close` line. */
export function closeFields(report: ConnectionReport): LogFields {
  return withoutNulls({
    connection_id: report.connectionId,
    client_addr: report.clientAddr,
    listener_addr: report.listenerAddr,
    backend: report.backend,
    backend_addr: report.backendAddr,
    sni: report.sni,
    user: report.user,
    database: report.database,
    ...tlsFields(report.clientTls),
    client_cert_subject: report.clientTls?.peerCertSubject,
    client_cert_sha256: report.clientTls?.peerCertSha256,
    client_cert_sans: report.clientTls?.peerCertSans?.join(', '),
    backend_tls_version: report.backendTls?.version,
    backend_cipher: report.backendTls?.cipher,
    backend_resumed: report.backendTls?.resumed,
    bytes_in: report.bytesIn,
    bytes_out: report.bytesOut,
    duration_ms: Math.round(report.durationMillis),
    phase: report.phase,
    reason: report.reason,
    fault_side: report.faultSide,
    sqlstate: report.sqlstate,
    error: report.message,
    alert: report.alert?.description,
    alert_direction: report.alert?.direction,
    alert_side: report.alert?.side,
    tls_failure: report.tlsFailure,
    is_cancel: report.isCancel || null,
  });
}

/** The fields of a `tls.client` or `tls.backend` line. */
export function tlsEstablishedFields(side: 'client' | 'backend', tls: TlsReport): LogFields {
  return withoutNulls({
    ...tlsFields(tls),
    [`${side}_cert_subject`]: tls.peerCertSubject,
    [`${side}_cert_sha256`]: tls.peerCertSha256,
  });
}

function tlsFields(tls: TlsReport | null) {
  return {
    tls_version: tls?.version,
    cipher: tls?.cipher,
    group: tls?.group,
    resumed: tls?.resumed,
    alpn: tls?.alpn,
  };
}

function withoutNulls(
  fields: Record<string, string | number | boolean | null | undefined>,
): LogFields {
  const known: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined) {
      known[name] = value;
    }
  }
  return known;
}
