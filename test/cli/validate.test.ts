/** What the dates of certificates, CAs and CRLs mean. */
import { describe, expect, it } from 'vitest';
import { type DatedEntry, judgeDates } from '../../src/cli/validate.ts';
import { required } from '../config/fixture.ts';
import { IDENTITY, NOW_MILLIS } from './fake-host.ts';

describe('dates of certificates', () => {
  const judged = (identity: Partial<typeof IDENTITY>, severity: 'error' | 'warning') =>
    judgeDates(
      { problems: [], warnings: [], identities: [{ ...IDENTITY, ...identity }], dated: [] },
      severity,
      NOW_MILLIS,
    );

  it('in order are no problem', () => {
    expect(judged({}, 'error')).toMatchObject({ problems: [], warnings: [] });
  });

  it('in the past are a problem of validate and a warning of a run', () => {
    const expired = { notAfterSeconds: NOW_MILLIS / 1000 - 1 };
    expect(judged(expired, 'error')).toMatchObject({ problems: [{ routeId: 0 }], warnings: [] });
    expect(judged(expired, 'warning')).toMatchObject({ problems: [], warnings: [{ routeId: 0 }] });
  });

  it('in the future, too', () => {
    const early = { notBeforeSeconds: NOW_MILLIS / 1000 + 60 };
    expect(required(judged(early, 'error').problems[0]).message).toBe(
      'certificate "/tls.crt" is not valid before 2026-01-01T00:01:00Z',
    );
  });

  it('of a certificate for the backend are told at sslcert', () => {
    const expired = { role: 'backend', path: 'backend.sslcert', notAfterSeconds: 0 };
    expect(required(judged(expired, 'error').problems[0]).path).toBe('backend.sslcert');
  });
});

describe('dates of CAs and CRLs', () => {
  const now = NOW_MILLIS / 1000;
  const current: DatedEntry = {
    routeId: 0,
    path: 'listener.ssl_crl_file',
    file: '/crl.pem',
    kind: 'crl',
    subject: 'CN=Test CA',
    fromSeconds: now - 60,
    untilSeconds: now + 60,
  };
  const expired = { ...current, untilSeconds: now - 1 };
  const judged = (dated: readonly DatedEntry[], severity: 'error' | 'warning' = 'error') =>
    judgeDates({ problems: [], warnings: [], identities: [], dated }, severity, NOW_MILLIS);

  it('in order are no problem', () => {
    expect(judged([current])).toMatchObject({ problems: [], warnings: [] });
  });

  it('of a CRL in the past are a problem of validate and a warning of a run', () => {
    const problem = {
      routeId: 0,
      path: 'listener.ssl_crl_file',
      message: 'the CRL of issuer "CN=Test CA" in "/crl.pem" expired on 2025-12-31T23:59:59Z',
    };
    expect(judged([expired])).toMatchObject({ problems: [problem], warnings: [] });
    expect(judged([expired], 'warning')).toMatchObject({ problems: [], warnings: [problem] });
  });

  it('are only doubtful when a newer CRL of the same issuer is there', () => {
    expect(judged([expired, current])).toMatchObject({ problems: [], warnings: [{ routeId: 0 }] });
    const other = { ...current, subject: 'CN=Other CA' };
    expect(judged([expired, other])).toMatchObject({ problems: [{ routeId: 0 }], warnings: [] });
  });

  it('of a CA are a problem when no CA of its file is left', () => {
    const old = { ...expired, path: 'backend.sslrootcert', kind: 'authority' as const };
    const young = { ...old, subject: 'CN=New CA', untilSeconds: now + 60 };
    expect(judged([old])).toMatchObject({ problems: [{ path: 'backend.sslrootcert' }] });
    expect(judged([old, young])).toMatchObject({ problems: [], warnings: [{ routeId: 0 }] });
  });
});
