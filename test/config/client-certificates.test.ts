/** ssl_crl_file, user_map_file, sslcrl and reload_on_change. */
import { describe, expect, it } from 'vitest';
import {
  BACKEND,
  backendMessages,
  backendOf,
  LISTENER,
  listenerMessages,
  listenerOf,
  load,
  route,
} from './fixture.ts';

const TLS = 'sslmode = "require"\nssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';
const CA = `${TLS}\nssl_ca_file = "ca.crt"`;

describe('the files of client certificates', () => {
  it('are absolute paths, and absent by default', () => {
    const listener = listenerOf(`${CA}\nssl_crl_file = "crl.pem"\nuser_map_file = "ident.map"`);
    expect(listener.sslCrlFile).toMatch(/^\/.*\/crl\.pem$/);
    expect(listener.userMapFile).toMatch(/^\/.*\/ident\.map$/);
    expect(listenerOf(CA)).toMatchObject({ sslCrlFile: null, userMapFile: null });
  });

  it.each(['ssl_crl_file = "crl.pem"', 'user_map_file = "ident.map"'])(
    '%s needs ssl_ca_file',
    (line) => {
      const key = line.split(' ', 1)[0];
      expect(listenerMessages(`${TLS}\n${line}`)).toEqual([
        `proxy[0].listener.${key}: has no effect without client certificates; set ssl_ca_file, too`,
      ]);
      expect(listenerMessages(`${CA}\n${line}`)).toEqual([]);
    },
  );

  it('are refused where there is no TLS', () => {
    const [message] = listenerMessages(
      'sslmode = "disable"\nssl_ca_file = "ca.crt"\nuser_map_file = "ident.map"',
    );
    expect(message).toContain('has no effect with sslmode "disable"');
  });

  it('must exist', () => {
    expect(listenerMessages(`${CA}\nssl_crl_file = "nope.pem"`)).toEqual([
      expect.stringMatching(
        /^proxy\[0\]\.listener\.ssl_crl_file: file ".*nope\.pem" does not exist$/,
      ),
    ]);
  });
});

describe('sslcrl', () => {
  const VERIFIED = 'address = "db"\nsslmode = "verify-full"';

  it('is an absolute path, and absent by default', () => {
    const backend = backendOf(`${VERIFIED}\nsslrootcert = "ca.crt"\nsslcrl = "crl.pem"`);
    expect(backend.sslcrl).toMatch(/^\/.*\/crl\.pem$/);
    expect(backendOf(VERIFIED).sslcrl).toBeNull();
  });

  it.each(['', '\nsslrootcert = "system"'])('needs CAs in a file%s', (roots) => {
    expect(backendMessages(`${VERIFIED}${roots}\nsslcrl = "crl.pem"`)).toEqual([
      'proxy[0].backend.sslcrl: needs the CAs of the backend; set sslrootcert to a PEM file',
    ]);
  });
});

describe('reload_on_change', () => {
  it('is on unless it is turned off', () => {
    const source = route(LISTENER, BACKEND);
    expect(load(source).config.reloadOnChange).toBe(true);
    expect(load(`reload_on_change = false\n${source}`).config.reloadOnChange).toBe(false);
  });
});
