import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { privateKeyProblem } from '../../src/config/files.ts';
import { loadConfig } from '../../src/config/parse.ts';
import {
  LISTENER,
  listenerMessages,
  makeDirectory,
  required,
  route,
  writeConfig,
} from './fixture.ts';

const IDENTITY = 'ssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';

describe('files named in the configuration', () => {
  it("are found from the configuration file's directory", () => {
    const directory = makeDirectory();
    const file = writeConfig(
      route(`${LISTENER}\n${IDENTITY}\nssl_ca_file = "./ca.crt"`),
      directory,
    );
    const [proxy] = loadConfig(file, {}).config.proxies;
    expect(required(proxy).listener).toMatchObject({
      sslCertFiles: [join(directory, 'tls.crt')],
      sslKeyFiles: [join(directory, 'tls.key')],
      sslCaFile: join(directory, 'ca.crt'),
    });
  });

  it('are errors at their key when they are missing or directories', () => {
    const messages = listenerMessages(
      'ssl_cert_file = ["tls.crt", "nope.crt"]\nssl_key_file = ["tls.key", "other.key"]\nssl_ca_file = "."',
    );
    expect(messages).toEqual([
      expect.stringMatching(
        /^proxy\[0\]\.listener\.ssl_cert_file\[1\]: file ".*nope.crt" does not exist$/,
      ),
      expect.stringMatching(
        /^proxy\[0\]\.listener\.ssl_ca_file: .* is a directory; expected a file$/,
      ),
    ]);
  });

  it('are no URLs, which the first pgtls took', () => {
    const url = 'https://pki.example/db.crt';
    expect(listenerMessages(`server_cert = "${url}"\nserver_key = "tls.key"`)).toEqual([
      `proxy[0].listener.server_cert: "${url}" is a URL; expected a file, for nothing is fetched`,
    ]);
  });

  it('are paired: as many keys as certificates', () => {
    expect(listenerMessages('ssl_cert_file = "tls.crt"')).toEqual([
      'proxy[0].listener.ssl_key_file: missing; ssl_cert_file needs its private key',
    ]);
    expect(listenerMessages('ssl_key_file = "tls.key"')).toEqual([
      'proxy[0].listener.ssl_cert_file: missing; ssl_key_file needs its certificate',
    ]);
    expect(
      listenerMessages('ssl_cert_file = ["tls.crt", "other.crt"]\nssl_key_file = "tls.key"'),
    ).toEqual([
      'proxy[0].listener.ssl_key_file: expected 2 files, one for each of ssl_cert_file, got 1',
    ]);
  });
});

describe('a private key', () => {
  it('that the world can read is refused, and the message names what Kubernetes needs', () => {
    const directory = makeDirectory();
    chmodSync(join(directory, 'tls.key'), 0o604);
    const file = writeConfig(route(`${LISTENER}\n${IDENTITY}`), directory);
    expect(() => loadConfig(file, {})).toThrow(/ssl_key_file: .*mode 0604.*defaultMode: 0440/);
  });

  it.each([
    [1000, 0o600, true],
    [1000, 0o400, true],
    [1000, 0o640, false],
    [1000, 0o604, false],
    [0, 0o600, true],
    [0, 0o640, true],
    [0, 0o440, true],
    [0, 0o660, false],
    [0, 0o650, false],
    [0, 0o644, false],
  ])('of user %i with mode %o is accepted: %s', (uid, mode, isAccepted) => {
    expect(privateKeyProblem('k', { uid, mode: 0o100_000 + mode }) === null).toBe(isAccepted);
  });
});
