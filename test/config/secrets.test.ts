// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax under test
/** What an error of a configuration file does not tell: values of environment variables, and the text of lines that cannot be read. */
import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { ConfigError } from '../../src/config/diagnostics.ts';
import { loadConfig, loadInspectedConfig } from '../../src/config/parse.ts';
import { backendMessages, LISTENER, listenerMessages, route, writeConfig } from './fixture.ts';

const SECRET = 'pw "quoted" \\ $& 1';

it.each([
  ['sslmode = "${SECRET}"', 'got "${SECRET}"'],
  ['sslmode = "a${SECRET}b"', 'got "a${SECRET}b"'],
  ['cert_refresh_interval = "${SECRET}"', 'got "${SECRET}"'],
  ['ssl_cert_file = "${SECRET}"', 'file ".*/${SECRET}" does not exist'],
  ['unix_socket_mode = "${SECRET}"', 'got "${SECRET}"'],
  ['allow = ["10.0.0.0/8", "${SECRET}"]', '"${SECRET}" is no CIDR'],
])('the value of a variable in %s', (line, told) => {
  const messages = listenerMessages(line, { SECRET }).join('\n');
  expect(messages).not.toContain('quoted');
  const escaped = told.replaceAll(/[$\\{}()]/g, '\\$&');
  expect(messages).toMatch(new RegExp(escaped));
});

it('the longer value, where another one is a part of it', () => {
  const environment = { SHORT: 'pass', LONG: 'password-of-mine' };
  const messages = listenerMessages('sslmode = "${LONG}"\nno_sni = "${SHORT}"', environment);
  expect(messages.join('\n')).not.toMatch(/pass(?!phrase)|-of-mine/);
});

it('the value of a variable that what is inspected later quotes', async () => {
  const command = 'ssl_passphrase_command = "echo ${SECRET}"';
  const file = writeConfig(route(`${LISTENER}\n${command}`));
  const inspectKeys = () =>
    Promise.resolve({
      problems: [
        { routeId: 0, path: 'listener.ssl_key_file[0]', message: 'sh: SECRET-VALUE: not found' },
      ],
      warnings: [],
    });
  const environment = { SECRET: 'SECRET-VALUE' };
  const loading = loadInspectedConfig(file, environment, inspectKeys);
  await expect(loading).rejects.toThrow('sh: ${SECRET}: not found');
});

it.each(['"echo hunter2', 'echo hunter2', '"echo hunter2" x', '"""echo hunter2', '"\\q hunter2"'])(
  'the line of a syntax error, not even in its cause: %s',
  (value) => {
    const file = writeConfig(`[[proxy]]\nssl_passphrase_command = ${value}\n`);
    let error: unknown;
    try {
      loadConfig(file, {});
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ConfigError);
    expect(inspect(error)).not.toContain('hunter2');
  },
);

it('the password of a URL', () => {
  const url = 'address = "postgres://app:hunter2@db/app"';
  expect(backendMessages(url)).toEqual([
    expect.stringContaining('"postgres://…" is a URL; expected host:port'),
  ]);
});
