/** A report of an ordinary session. */
import type { ConnectionReport } from '../../src/data-plane/data-plane.ts';

/** A session over TLS 1.3 that the client ended. */
export function report(changes: Partial<ConnectionReport> = {}): ConnectionReport {
  return {
    connectionId: 5,
    routeId: 0,
    clientAddr: '192.0.2.1:50000',
    listenerAddr: '192.0.2.2:6432',
    backend: null,
    backendAddr: '10.0.0.1:5432',
    sni: 'db.example',
    user: 'alice',
    database: 'orders',
    applicationName: 'secret app',
    clientTls: {
      version: 'TLSv1.3',
      cipher: 'TLS13_AES_128_GCM_SHA256',
      group: 'X25519',
      alpn: null,
      resumed: false,
      peerCertSubject: null,
      peerCertSha256: null,
      peerCertSans: null,
    },
    backendTls: null,
    bytesIn: 100,
    bytesOut: 2_000,
    durationMillis: 12.4,
    reason: 'client_terminated',
    faultSide: null,
    phase: 'relay',
    sqlstate: null,
    message: null,
    alert: null,
    tlsFailure: null,
    isCancel: false,
    ...changes,
  };
}
