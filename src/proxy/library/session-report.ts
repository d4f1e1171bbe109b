/** The end of one connection, as an embedding program is told: the data plane's report with the route's name. */
import type { ConnectionReport, TlsReport } from '../../data-plane/data-plane.ts';

/** What was agreed on with one peer. */
export interface SessionTls {
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly version: string;
  /** IANA name of the cipher suite. */
  readonly cipher: string;
  /** Key exchange group; null where there was none. */
  readonly group: string | null;
  /** Protocol agreed on by ALPN. */
  readonly alpn: string | null;
  /** Whether an earlier TLS session was resumed. */
  readonly resumed: boolean;
  /** Of the peer's certificate; null if it showed none. */
  readonly peerCertificate: {
    /** Distinguished name. */
    readonly subject: string | null;
    /** Of the DER, lower-case hexadecimal. */
    readonly sha256: string | null;
    /** subjectAltName; empty for a backend's. */
    readonly sans: readonly string[];
  } | null;
}

/** All that is known of a connection that is over; null where it did not come so far. */
export interface SessionReport {
  /** As in the log and in hooks. */
  readonly connectionId: number;
  /** Name of the `[[proxy]]`. */
  readonly route: string;
  /** `host:port` or `unix:…`. */
  readonly clientAddr: string;
  /** The address that the client connected to. */
  readonly listenerAddr: string;
  /** Of `[proxy.backends]`; null = `[proxy.backend]`. */
  readonly backend: string | null;
  /** The address that was dialled. */
  readonly backendAddr: string | null;
  /** Server name (SNI) of the client. */
  readonly serverName: string | null;
  /** Of the StartupMessage. */
  readonly user: string | null;
  /** Of the StartupMessage; the user's name where that has none. */
  readonly database: string | null;
  /** Of the StartupMessage. */
  readonly applicationName: string | null;
  /** null without TLS. */
  readonly clientTls: SessionTls | null;
  /** null without TLS. */
  readonly backendTls: SessionTls | null;
  /** Bytes from the client, as plaintext. */
  readonly bytesIn: number;
  /** Bytes from the backend, as plaintext. */
  readonly bytesOut: number;
  /** Milliseconds since the hand-off to the data plane. */
  readonly durationMillis: number;
  /** Why it ended, as in `conn.close` of the log. */
  readonly reason: string;
  /** Who caused it, where it was a fault. */
  readonly faultSide: 'client' | 'backend' | 'proxy' | null;
  /** How far it came, as in the log. */
  readonly phase: string;
  /** Of the ErrorResponse that pgtls sent. */
  readonly sqlstate: string | null;
  /** What went wrong. */
  readonly error: string | null;
  /** The TLS alert that ended a leg. */
  readonly alert: {
    /** From pgtls's point of view. */
    readonly direction: 'sent' | 'received';
    /** The leg. */
    readonly side: 'client' | 'backend';
    /** Its name in the TLS RFCs, such as `unknown_ca`. */
    readonly description: string;
  } | null;
  /** Why TLS failed; docs/errors.md has the words. */
  readonly tlsFailure: string | null;
  /** Whether it was a CancelRequest. */
  readonly isCancel: boolean;
}

/** `route` is the name of the report's route. */
export function sessionReport(report: ConnectionReport, route: string): SessionReport {
  const { routeId: _, sni, message, alert, clientTls, backendTls, ...same } = report;
  return {
    ...same,
    route,
    serverName: sni,
    error: message,
    alert: alert === null ? null : { ...alert },
    clientTls: clientTls === null ? null : sessionTls(clientTls),
    backendTls: backendTls === null ? null : sessionTls(backendTls),
  };
}

function sessionTls(report: TlsReport): SessionTls {
  const { peerCertSubject, peerCertSha256, peerCertSans, ...agreed } = report;
  const hasCertificate = peerCertSha256 !== null || peerCertSubject !== null;
  return {
    ...agreed,
    peerCertificate: hasCertificate
      ? { subject: peerCertSubject, sha256: peerCertSha256, sans: peerCertSans ?? [] }
      : null,
  };
}
