import { describe, expect, it } from 'vitest';
import {
  backendMessages,
  backendOf,
  errorsOf,
  LISTENER,
  listenerMessages,
  listenerOf,
  load,
  required,
  route,
  warningsOf,
} from './fixture.ts';

const OLD_IDENTITY = 'server_cert = "tls.crt"\nserver_key = "tls.key"';
const NEW_IDENTITY = 'ssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';

/** What depends on the directory is reduced to the file's name. */
function withoutDirectory(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll(/"[^"]*\/([\w.]+)"/g, '"$1"'));
}

describe("the first pgtls's file", () => {
  it('means what the same file in today’s names means', () => {
    const first = route(
      `${LISTENER}\n${OLD_IDENTITY}\nmtls = true\nclient_ca = "ca.crt"\ncert_refresh_interval = "1h"`,
      'address = "db:5432"\ntls_enabled = true\nroot_ca = "ca.crt"\nclient_cert = "other.crt"\nclient_key = "other.key"',
    );
    const today = route(
      `${LISTENER}\n${NEW_IDENTITY}\nsslmode = "verify-ca"\nssl_ca_file = "ca.crt"\ncert_refresh_interval = 3600`,
      'address = "db"\nsslmode = "verify-full"\nsslrootcert = "ca.crt"\nsslcert = "other.crt"\nsslkey = "other.key"',
    );
    expect(withoutDirectory(load(first).config)).toEqual(withoutDirectory(load(today).config));
  });

  it('accepts mtls = false beside client_ca, and asks for no certificate', () => {
    const keys = `${OLD_IDENTITY}\nmtls = false\nclient_ca = "ca.crt"`;
    expect(listenerOf(keys)).toMatchObject({ sslmode: 'prefer', sslCaFile: null });
    expect(warningsOf(route(`${LISTENER}\n${keys}`))).toEqual([
      'proxy[0].listener.client_ca: has no effect with mtls = false',
    ]);
  });

  it.each([
    ['tls_enabled = true', 'verify-full', 'system'],
    ['tls_enabled = false', 'disable', null],
  ])('%s means sslmode %s with CAs %s', (keys, sslmode, sslrootcert) => {
    expect(backendOf(`address = "db"\n${keys}`)).toMatchObject({ sslmode, sslrootcert });
    expect(warningsOf(route(LISTENER, `address = "db"\n${keys}`))).toEqual([]);
  });
});

describe('both spellings of one key', () => {
  it.each([
    [`${NEW_IDENTITY}\nserver_cert = "tls.crt"`, 'server_cert'],
    [`${NEW_IDENTITY}\nserver_key = "tls.key"`, 'server_key'],
    [`${NEW_IDENTITY}\nssl_ca_file = "ca.crt"\nclient_ca = "ca.crt"`, 'client_ca'],
    [`${NEW_IDENTITY}\nssl_ca_file = "ca.crt"\nsslmode = "verify-ca"\nmtls = true`, 'mtls'],
  ])('are an error in a listener: %j', (keys, alias) => {
    expect(listenerMessages(keys)).toEqual([
      expect.stringContaining(
        `proxy[0].listener.${alias}: "${alias}" is the first pgtls's spelling of`,
      ),
    ]);
  });

  it.each([
    ['sslmode = "disable"\ntls_enabled = false', 'tls_enabled'],
    ['sslmode = "verify-full"\nsslrootcert = "ca.crt"\nroot_ca = "ca.crt"', 'root_ca'],
  ])('are an error in a backend: %j', (keys, alias) => {
    expect(backendMessages(`address = "db"\n${keys}`)).toEqual([
      expect.stringContaining(
        `proxy[0].backend.${alias}: "${alias}" is the first pgtls's spelling of`,
      ),
    ]);
  });
});

it('names and places a problem by the spelling in the file', () => {
  const [error] = errorsOf(route(`${LISTENER}\nserver_cert = "nope.crt"\nserver_key = "tls.key"`));
  expect(required(error)).toMatchObject({
    keyPath: 'proxy[0].listener.server_cert',
    line: 5,
    column: 1,
  });
});
