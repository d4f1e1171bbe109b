/** The report of `pgtls validate`. */
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { channelBindingVerdict, formatRoutes, formatValid } from '../../src/cli/route-report.ts';
import { PLAIN, styleFor } from '../../src/cli/style.ts';
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

describe('the report of validate', () => {
  it('shows addresses, modes, SANs, chain, expiry and verdict of each route', () => {
    const source = route(`${LISTENER}\n${TLS}`, BACKEND_TLS);
    const text = formatRoutes(load(source).config, [IDENTITY], NOW_MILLIS, PLAIN);
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
      PLAIN,
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
    const text = formatRoutes(load(route(`${LISTENER}\n${ca}`)).config, [], NOW_MILLIS, PLAIN);
    expect(text).toMatch(/client certificates demanded \(CAs: .*ca.crt\)/);
  });

  it('names the CRLs and the user map', () => {
    const files = `${TLS}\nssl_ca_file = "ca.crt"\nssl_crl_file = "crl.pem"\nuser_map_file = "ident.map"`;
    const text = formatRoutes(load(route(`${LISTENER}\n${files}`)).config, [], NOW_MILLIS, PLAIN);
    expect(text).toMatch(/\(CAs: .*ca\.crt, CRLs: .*crl\.pem, user map: .*ident\.map\)/);
  });

  it('aligns all values of a route, however long a backend is called', () => {
    const named = `[proxy.backends.a-rather-long-name]\naddress = "eu.db"\nsslmode = "require"`;
    const rule = '[[proxy.route]]\nuser = "app"\nbackend = "a-rather-long-name"';
    const source = `${route(`${LISTENER}\n${TLS}`)}\n${named}\n${rule}`;
    const shown = { ...IDENTITY, role: 'backend' };
    const text = formatRoutes(load(source).config, [IDENTITY, shown], NOW_MILLIS, PLAIN);
    const lines = text.trimEnd().split('\n').slice(1);
    const columns = lines.map((line) => /^ +\S+(?: \S+)* {2,}/.exec(line)?.[0].length);
    expect(new Set(columns)).toEqual(new Set(['  backend a-rather-long-name TLS  '.length]));
    expect(text).toMatch(/^ {2}backend sslcert +\/tls\.crt$/m);
  });
});

describe('the report at a terminal', () => {
  const rich = styleFor(true, {});
  const reportOf = (days: number) => {
    const source = route(`${LISTENER}\n${TLS}`, BACKEND_TLS);
    const notAfterSeconds = NOW_MILLIS / 1000 + days * 86_400;
    const identity = { ...IDENTITY, notAfterSeconds };
    return formatRoutes(load(source).config, [identity], NOW_MILLIS, rich);
  };

  it('breaks long values below their column and says how near a certificate is to its end', () => {
    const text = stripVTControlCharacters(reportOf(90));
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(102);
    expect(text).toMatch(/^ {2}channel binding {2}! conflict unless .*\n {19}\S/m);
    expect(text).toMatch(/expires +✓ .*in 90 days/);
    expect(stripVTControlCharacters(reportOf(29))).toMatch(/expires +! .*in 29 days/);
    expect(stripVTControlCharacters(reportOf(1))).toMatch(/expires +✗ .*in 1 day\)/);
  });

  it('has the words of the plain one', () => {
    const source = route(`${LISTENER}\n${TLS}`, BACKEND_TLS);
    const plain = formatRoutes(load(source).config, [IDENTITY], NOW_MILLIS, PLAIN);
    const words = (text: string) =>
      stripVTControlCharacters(text)
        .replaceAll(/[✓!✗] /g, '')
        .split(/\s+/);
    expect(words(reportOf(90))).toEqual(words(plain));
  });

  it('ends with how many routes and warnings there are', () => {
    expect(formatValid('a.toml', 1, 0, PLAIN)).toBe('a.toml is valid\n');
    const shown = (routes: number, warnings: number) =>
      stripVTControlCharacters(formatValid('a.toml', routes, warnings, rich));
    expect(shown(1, 0)).toBe('\n✓ a.toml is valid: 1 route\n');
    expect(shown(2, 1)).toBe('\n✓ a.toml is valid: 2 routes, 1 warning\n');
  });
});
