import { createPrivateKey } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/config/diagnostics.ts';
import { type LoadedConfig, loadConfig } from '../../src/config/parse.ts';
import { CertificateAuthority, LOCAL_NAMES, writeIdentity } from '../support/certificates.ts';
import { LISTENER, makeDirectory, route, writeConfig } from './fixture.ts';

const GOOD = route(LISTENER);
const TOKEN = '0123456789abcdef';
const LOOPBACK = 'bind_address = "127.0.0.1:9127"';
const WILDCARD = 'bind_address = "0.0.0.0:9127"';

function loadIn(directory: string, lines: string): LoadedConfig {
  return loadConfig(writeConfig(`${GOOD}[admin]\n${lines}\n`, directory), {});
}

/** The errors, as `key: message`. */
function errorsIn(directory: string, lines: string): string[] {
  try {
    loadIn(directory, lines);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.diagnostics.map(({ keyPath, message }) => `${keyPath}: ${message}`);
    }
    throw error;
  }
}

function errorsOf(lines: string): string[] {
  return errorsIn(makeDirectory(), lines);
}

function writeToken(directory: string, text: string, mode = 0o600): void {
  const file = join(directory, 'token');
  writeFileSync(file, text);
  chmodSync(file, mode);
}

async function issue(directory: string, name: string) {
  const authority = await CertificateAuthority.create('CA');
  const identity = await authority.issue({ commonName: 'localhost', names: LOCAL_NAMES });
  return writeIdentity(directory, name, identity);
}

describe('[admin]', () => {
  it('is off unless it is there', () => {
    expect(loadConfig(writeConfig(GOOD), {}).config.admin).toBeNull();
  });

  it('needs an address alone on loopback', () => {
    expect(loadIn(makeDirectory(), LOOPBACK).config.admin).toEqual({
      bindAddress: { kind: 'tcp', host: '127.0.0.1', port: 9127 },
      identity: null,
      authTokenFile: null,
    });
  });

  it('without an address is an error', () => {
    expect(errorsOf('')).toEqual([
      'admin.bind_address: missing; expected such as "127.0.0.1:9127"',
    ]);
  });

  it('takes no unix socket', () => {
    expect(errorsOf('bind_address = "unix:/run/admin"')).toEqual([
      'admin.bind_address: a unix socket is refused here; expected host:port',
    ]);
  });

  it('does not share an address with a listener', () => {
    expect(errorsOf('bind_address = "127.0.0.1:6432"')).toEqual([
      expect.stringMatching(/^admin\.bind_address: is bound twice/),
    ]);
  });

  it('knows its own keys only', () => {
    expect(errorsOf(`${LOOPBACK}\nauth_token_fil = "x"`)).toEqual([
      expect.stringMatching(/^admin\.auth_token_fil: unknown key in \[admin\]/),
    ]);
  });
});

describe('an address that is not loopback', () => {
  it('needs something that keeps strangers out', () => {
    expect(errorsOf(WILDCARD)).toEqual([
      'admin.bind_address: is not loopback: expected ssl_cert_file and ssl_key_file, or auth_token_file, beside it',
    ]);
  });

  it('with a token alone is a warning', () => {
    const directory = makeDirectory();
    writeToken(directory, TOKEN);
    const { warnings } = loadIn(directory, `${WILDCARD}\nauth_token_file = "token"`);
    expect(warnings.map(({ keyPath, message }) => `${keyPath}: ${message}`)).toEqual([
      expect.stringMatching(/^admin\.bind_address: the token .* crosses the network unencrypted/),
    ]);
  });

  it('with TLS is fine', async () => {
    const directory = makeDirectory();
    const { certFile, keyFile } = await issue(directory, 'admin');
    const lines = `${WILDCARD}\nssl_cert_file = "admin.crt"\nssl_key_file = "admin.key"`;
    const { config, warnings } = loadIn(directory, lines);
    expect(config.admin?.identity).toEqual({ certFile, keyFile });
    expect(warnings).toEqual([]);
  });
});

describe('auth_token_file', () => {
  const lines = `${LOOPBACK}\nauth_token_file = "token"`;

  it.each([
    ['', 'empty'],
    ['short', 'short'],
    [`${TOKEN} ${TOKEN}`, 'two words'],
  ])('with %j is refused: %s', (text) => {
    const directory = makeDirectory();
    writeToken(directory, text);
    expect(errorsIn(directory, lines)).toEqual([
      expect.stringMatching(/^admin\.auth_token_file: expected one token of at least 16/),
    ]);
  });

  it('that others may read is refused', () => {
    const directory = makeDirectory();
    writeToken(directory, TOKEN, 0o644);
    expect(errorsIn(directory, lines)).toEqual([
      expect.stringMatching(/^admin\.auth_token_file: token file .* has group or world access/),
    ]);
  });

  it('that is not there is refused', () => {
    expect(errorsOf(lines)).toEqual([
      expect.stringMatching(/^admin\.auth_token_file: file .* does not exist/),
    ]);
  });
});

describe('ssl_cert_file and ssl_key_file', () => {
  const lines = `${LOOPBACK}\nssl_cert_file = "admin.crt"\nssl_key_file = "admin.key"`;

  it('go together', () => {
    expect(errorsOf(`${LOOPBACK}\nssl_cert_file = "tls.crt"`)).toEqual([
      'admin.ssl_key_file: missing; ssl_cert_file needs its private key',
    ]);
    expect(errorsOf(`${LOOPBACK}\nssl_key_file = "tls.key"`)).toEqual([
      'admin.ssl_cert_file: missing; ssl_key_file needs its certificate',
    ]);
  });

  it('that do not match are refused', async () => {
    const directory = makeDirectory();
    await issue(directory, 'admin');
    const { keyPem } = await issue(directory, 'stranger');
    writeFileSync(join(directory, 'admin.key'), keyPem);
    expect(errorsIn(directory, lines)).toEqual([
      "admin.ssl_key_file: the private key is not the certificate's",
    ]);
  });

  it('that hold nothing are refused, and so is an encrypted key', async () => {
    const directory = makeDirectory();
    const { keyPem } = await issue(directory, 'admin');
    const options = {
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    } as const;
    writeFileSync(join(directory, 'admin.key'), createPrivateKey(keyPem).export(options));
    expect(errorsIn(directory, lines)).toEqual([
      'admin.ssl_key_file: the private key is encrypted; the admin server takes one that is not',
    ]);
    writeFileSync(join(directory, 'admin.key'), '');
    expect(errorsIn(directory, lines)).toEqual([
      'admin.ssl_key_file: no private key (PEM) in the file can be read',
    ]);
    writeFileSync(join(directory, 'admin.crt'), '');
    expect(errorsIn(directory, lines)).toEqual([
      'admin.ssl_cert_file: no certificate (PEM) in the file can be read',
    ]);
  });
});
