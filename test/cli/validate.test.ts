import { describe, expect, it } from 'vitest';
import {
  channelBindingVerdict,
  type DatedEntry,
  formatRoutes,
  judgeDates,
} from '../../src/cli/validate.ts';
import type { ProxyConfig } from '../../src/config/schema.ts';
import { BACKEND, LISTENER, load, required, route } from '../config/fixture.ts';
import { IDENTITY, NOW_MILLIS } from './fake-host.ts';

const TLS = 'sslmode = "require"\nssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';
const BACKEND_TLS = 'address = "db"\nsslmode = "verify-full"';

function proxyOf(listener: string, backend: string): ProxyConfig {
  return required(load(route(`${LISTENER}\n${listener}`, backend)).config.proxies[0]);
}

describe('the channel-binding verdict', () => {
  it('is a conflict with TLS on both legs, unless the leaf is the same', () => {
    expect(channelBindingVerdict(proxyOf(TLS, BACKEND_TLS))).toMatch(
      /^conflict unless the backend shows the same leaf/,
    );
  });

  it('is fine with a plaintext backend', () => {
    expect(channelBindingVerdict(proxyOf(TLS, BACKEND))).toMatch(
      /^fine: the backend leg is plaintext/,
    );
  });

  it('is fine with a unix socket, whatever sslmode says', () => {
    const proxy = proxyOf(TLS, 'address = "unix:/s"\nsslmode = "require"');
    expect(channelBindingVerdict(proxy)).toMatch(/^fine/);
  });

  it('is a conflict when only the backend has TLS, since libpq refuses an offer of -PLUS in plaintext', () => {
    expect(channelBindingVerdict(proxyOf('', BACKEND_TLS))).toMatch(/^fine: .* are not offered/);
  });
});

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

describe('the report of validate', () => {
  it('shows addresses, modes, SANs, chain, expiry and verdict of each route', () => {
    const source = route(`${LISTENER}\n${TLS}`, BACKEND_TLS);
    const text = formatRoutes(load(source).config, [IDENTITY], NOW_MILLIS);
    expect(text.split('\n')).toEqual([
      'route orders',
      '  listens on       127.0.0.1:6432',
      '  client TLS       sslmode=require sslnegotiation=any',
      '  backend          db:5432',
      '  backend TLS      sslmode=verify-full sslnegotiation=postgres (CAs: system)',
      '  certificate      /tls.crt',
      '    subject        CN=db.example.com',
      '    SANs           DNS:db.example.com, IP:192.0.2.7',
      '    chain          2 certificates, issued by CN=Test CA',
      '    expires        2026-04-01T00:00:00Z (in 90 days)',
      `    SHA-256        ${IDENTITY.sha256}`,
      expect.stringMatching(/^ {2}channel binding {2}conflict unless/),
      '',
    ]);
  });

  it('shows the other backends and who goes to them', () => {
    const source = [
      route(`${LISTENER}\n${TLS}`),
      '[proxy.backends.eu]\naddress = "eu.db"\nsslmode = "require"',
      '[[proxy.route]]\ndatabase = "orders_*"\nuser = "app"\nbackend = "eu"',
      '[[proxy.listener.host]]\nhostname = ["eu.example", "*.eu.example"]\nbackend = "eu"',
      'ssl_cert_file = "other.crt"\nssl_key_file = "other.key"',
    ].join('\n');
    const hostnames = ['eu.example', '*.eu.example'];
    const staple = { status: 'good', nextUpdateSeconds: NOW_MILLIS / 1000 };
    const text = formatRoutes(
      load(source).config,
      [{ ...IDENTITY, hostnames, staple }],
      NOW_MILLIS,
    );
    const lines = text.split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        '  backend eu       eu.db:5432',
        '  backend eu TLS   sslmode=require sslnegotiation=postgres',
        '  server name      eu.example, *.eu.example → backend eu',
        '  startup          database orders_* and user app → backend eu',
        '  certificate      /tls.crt for eu.example, *.eu.example',
        '    OCSP           good, until 2026-01-01T00:00:00Z',
        expect.stringMatching(/^ {2}channel binding {2}with eu: conflict unless/),
      ]),
    );
  });

  it('says whether client certificates are demanded', () => {
    const ca = `${TLS.replace('require', 'verify-ca')}\nssl_ca_file = "ca.crt"`;
    const text = formatRoutes(load(route(`${LISTENER}\n${ca}`)).config, [], NOW_MILLIS);
    expect(text).toMatch(/client certificates demanded \(CAs: .*ca.crt\)/);
  });

  it('names the CRLs and the user map', () => {
    const files = `${TLS}\nssl_ca_file = "ca.crt"\nssl_crl_file = "crl.pem"\nuser_map_file = "ident.map"`;
    const text = formatRoutes(load(route(`${LISTENER}\n${files}`)).config, [], NOW_MILLIS);
    expect(text).toMatch(/\(CAs: .*ca\.crt, CRLs: .*crl\.pem, user map: .*ident\.map\)/);
  });
});
