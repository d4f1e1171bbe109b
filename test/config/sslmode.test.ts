import { describe, expect, it } from 'vitest';
import {
  backendMessages,
  backendOf,
  LISTENER,
  listenerMessages,
  listenerOf,
  messagesOf,
  route,
  warningsOf,
} from './fixture.ts';

const IDENTITY = 'ssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';
const REMOTE = 'address = "db.example.com"';

describe("a listener's sslmode", () => {
  it.each(['disable', 'prefer', 'require'])('can be %s', (sslmode) => {
    expect(listenerOf(`sslmode = "${sslmode}"\n${IDENTITY}`).sslmode).toBe(sslmode);
  });

  it('refuses allow and verify-full with the reason', () => {
    expect(listenerMessages(`sslmode = "allow"\n${IDENTITY}`)).toEqual([
      expect.stringContaining('"allow" is refused: it starts in plaintext'),
    ]);
    expect(listenerMessages(`sslmode = "verify-full"\n${IDENTITY}`)).toEqual([
      expect.stringContaining('the nearest is "verify-ca"'),
    ]);
  });

  it.each(['prefer', 'require', 'verify-ca'])('%s needs a certificate', (sslmode) => {
    expect(listenerMessages(`sslmode = "${sslmode}"\nssl_ca_file = "ca.crt"`)).toEqual([
      `proxy[0].listener.ssl_cert_file: missing; sslmode "${sslmode}" needs a certificate and its key`,
    ]);
  });

  it('verify-ca and mtls need ssl_ca_file', () => {
    expect(listenerMessages(`sslmode = "verify-ca"\n${IDENTITY}`)).toEqual([
      'proxy[0].listener.ssl_ca_file: missing; sslmode "verify-ca" needs the CAs of client certificates',
    ]);
    expect(listenerMessages(`mtls = true\n${IDENTITY}`)).toEqual([
      'proxy[0].listener.ssl_ca_file: missing; mtls needs the CAs of client certificates',
    ]);
  });

  it('is prefer with a certificate and disable without, when absent', () => {
    expect(listenerOf(IDENTITY).sslmode).toBe('prefer');
    expect(listenerOf('').sslmode).toBe('disable');
  });

  it('warns when it is absent and other machines can connect', () => {
    const source = route(`bind_address = ["127.0.0.1:1", "0.0.0.0:6432"]\n${IDENTITY}`);
    expect(warningsOf(source)).toEqual([
      expect.stringMatching(
        /^proxy\[0\]\.listener\.sslmode: missing, so "prefer" .* 0\.0\.0\.0:6432/,
      ),
    ]);
    expect(warningsOf(route(`${LISTENER}\n${IDENTITY}`))).toEqual([]);
  });
});

describe("a listener's sslnegotiation", () => {
  it('is any unless told otherwise', () => {
    expect(listenerOf(IDENTITY).sslnegotiation).toBe('any');
  });

  it('direct needs sslmode require or stronger', () => {
    expect(listenerMessages(`sslmode = "prefer"\nsslnegotiation = "direct"\n${IDENTITY}`)).toEqual([
      'proxy[0].listener.sslnegotiation: "direct" with sslmode "prefer" is too weak; expected sslmode "require" or stronger',
    ]);
    const listener = listenerOf(`sslmode = "require"\nsslnegotiation = "direct"\n${IDENTITY}`);
    expect(listener.sslnegotiation).toBe('direct');
  });

  it('needs postgresql among the ALPN protocols unless it is postgres', () => {
    expect(listenerMessages(`sslmode = "require"\nalpn = []\n${IDENTITY}`)).toHaveLength(1);
    const keys = `sslmode = "require"\nsslnegotiation = "postgres"\nalpn = []\n${IDENTITY}`;
    expect(listenerOf(keys).alpn).toEqual([]);
  });
});

describe("a backend's sslmode", () => {
  it('is disable when absent, with a warning when the backend is on another machine', () => {
    expect(warningsOf(route(LISTENER, REMOTE))).toEqual([
      expect.stringMatching(
        /^proxy\[0\]\.backend\.sslmode: missing, so "disable" .* db.example.com:5432/,
      ),
    ]);
    expect(warningsOf(route(LISTENER, 'address = "unix:/run/postgresql"'))).toEqual([]);
    expect(backendOf(REMOTE).sslmode).toBe('disable');
  });

  it('verify-full without sslrootcert trusts the system', () => {
    const backend = backendOf(`${REMOTE}\nsslmode = "verify-full"`);
    expect(backend).toMatchObject({ sslmode: 'verify-full', sslrootcert: 'system' });
  });

  it('verify-ca needs sslrootcert', () => {
    expect(backendMessages(`${REMOTE}\nsslmode = "verify-ca"`)).toEqual([
      'proxy[0].backend.sslrootcert: missing; sslmode "verify-ca" needs the CAs of the backend',
    ]);
  });

  it('require with sslrootcert verifies the CA, as in libpq', () => {
    const withCa = backendOf(`${REMOTE}\nsslmode = "require"\nsslrootcert = "ca.crt"`);
    expect(withCa.sslmode).toBe('verify-ca');
    expect(backendOf(`${REMOTE}\nsslmode = "require"`).sslmode).toBe('require');
  });

  it.each(['disable', 'prefer', 'require', 'verify-ca'])(
    '%s is too weak for sslrootcert = "system", as in libpq',
    (sslmode) => {
      const messages = backendMessages(`${REMOTE}\nsslmode = "${sslmode}"\nsslrootcert = "system"`);
      expect(messages).toEqual([expect.stringContaining('expected sslmode "verify-full"')]);
    },
  );

  it('is verify-full when absent beside sslrootcert = "system", as in libpq', () => {
    expect(backendOf(`${REMOTE}\nsslrootcert = "system"`).sslmode).toBe('verify-full');
  });

  it('refuses allow with the reason', () => {
    expect(backendMessages(`${REMOTE}\nsslmode = "allow"`)).toEqual([
      expect.stringContaining('"allow" is refused: it starts in plaintext'),
    ]);
  });

  it('warns that it means nothing on a unix socket', () => {
    const source = route(LISTENER, 'address = ["unix:/s", "db"]\nsslmode = "verify-full"');
    expect(warningsOf(source)).toEqual([
      'proxy[0].backend.sslmode: "verify-full" has no effect on unix:/s: as in libpq, unix sockets have no TLS',
    ]);
  });

  it('must be require or stronger for direct TLS', () => {
    expect(
      backendMessages(`${REMOTE}\nsslmode = "prefer"\nsslnegotiation = "direct"`),
    ).toHaveLength(1);
    expect(backendMessages(`${REMOTE}\nsslmode = "require"\nsslnegotiation = "direct"`)).toEqual(
      [],
    );
    expect(backendMessages(`${REMOTE}\nsslmode = "require"\nsslnegotiation = "any"`)).toHaveLength(
      1,
    );
  });
});

describe('protocol versions', () => {
  it('are refused by reason when they are too old, and when they are the wrong way round', () => {
    const old = 'ssl_min_protocol_version = "TLSv1.1"';
    const crossed = 'ssl_min_protocol_version = "TLSv1.3"\nssl_max_protocol_version = "TLSv1.2"';
    expect(listenerMessages(old)).toEqual([expect.stringContaining('RFC 8996')]);
    expect(messagesOf(route(LISTENER, `${REMOTE}\n${crossed}`))).toEqual([
      expect.stringContaining('ssl_max_protocol_version: "TLSv1.2" is older'),
    ]);
  });
});
