/** Reports as log fields. */
import { describe, expect, it } from 'vitest';
import {
  closeFields,
  isTlsFailure,
  reportSeverity,
  tlsEstablishedFields,
} from '../../src/data-plane/report.ts';
import { report } from './report-fixture.ts';

const BAD_CERTIFICATE = {
  direction: 'received',
  side: 'client',
  description: 'bad_certificate',
} as const;

describe('a connection report', () => {
  it('becomes flat fields without what is not known', () => {
    expect(closeFields(report())).toEqual({
      connection_id: 5,
      client_addr: '192.0.2.1:50000',
      listener_addr: '192.0.2.2:6432',
      backend_addr: '10.0.0.1:5432',
      sni: 'db.example',
      user: 'alice',
      database: 'orders',
      tls_version: 'TLSv1.3',
      cipher: 'TLS13_AES_128_GCM_SHA256',
      group: 'X25519',
      resumed: false,
      bytes_in: 100,
      bytes_out: 2_000,
      duration_ms: 12,
      phase: 'relay',
      reason: 'client_terminated',
    });
  });

  it('never shows startup parameters other than user and database', () => {
    expect(JSON.stringify(closeFields(report()))).not.toContain('secret app');
  });

  it('says of each leg whether its session was resumed', () => {
    const tls = report().clientTls;
    const backendTls = tls === null ? null : { ...tls, resumed: true };
    expect(closeFields(report({ backendTls }))).toMatchObject({
      resumed: false,
      backend_resumed: true,
    });
  });

  it('names the alert of a TLS failure and who sent it', () => {
    const failed = report({ alert: BAD_CERTIFICATE, faultSide: 'client' });
    expect(closeFields(failed)).toMatchObject({
      alert: 'bad_certificate',
      alert_direction: 'received',
      alert_side: 'client',
      fault_side: 'client',
    });
  });

  it('shows the names of a client certificate, and why TLS failed', () => {
    const clientTls = {
      ...report().clientTls,
      peerCertSubject: 'CN=alice',
      peerCertSha256: '00',
      peerCertSans: ['alice.example', 'email:alice@example'],
    } as never;
    expect(closeFields(report({ clientTls, tlsFailure: 'revoked' }))).toMatchObject({
      client_cert_subject: 'CN=alice',
      client_cert_sans: 'alice.example, email:alice@example',
      tls_failure: 'revoked',
    });
  });

  it.each([
    ['an ordinary session is info', {}, 'info', false],
    [
      'a client that breaks off is info',
      { reason: 'client_reset', faultSide: 'client' },
      'info',
      false,
    ],
    ['an alert is a warning', { alert: BAD_CERTIFICATE }, 'warn', true],
    ['a backend that is slow in TLS is a warning', { tlsFailure: 'timeout' }, 'warn', true],
    ['a failed handshake is a warning', { reason: 'client_tls_failed' }, 'warn', true],
    [
      'an unreachable backend is a warning',
      { reason: 'backend_unreachable', faultSide: 'backend' },
      'warn',
      false,
    ],
    ['a panic is a warning', { reason: 'panic', faultSide: 'proxy' }, 'warn', false],
    [
      'a close_notify is no failure',
      { alert: { ...BAD_CERTIFICATE, description: 'close_notify' } },
      'info',
      false,
    ],
  ] as const)('%s', (_name, changes, severity, tlsFailure) => {
    expect(reportSeverity(report(changes))).toBe(severity);
    expect(isTlsFailure(report(changes))).toBe(tlsFailure);
  });

  it('of a handshake names the certificate of its side', () => {
    const tls = { ...report().clientTls, peerCertSubject: 'CN=alice' } as never;
    expect(tlsEstablishedFields('client', tls)).toMatchObject({
      tls_version: 'TLSv1.3',
      client_cert_subject: 'CN=alice',
    });
  });
});
