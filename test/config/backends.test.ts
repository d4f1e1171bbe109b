/** `[proxy.backends.NAME]` and `[[proxy.route]]`. */
import { describe, expect, it } from 'vitest';
import { loadInspectedConfig } from '../../src/config/parse.ts';
import {
  errorsOf,
  LISTENER,
  load,
  messagesOf,
  required,
  route,
  warningsOf,
  writeConfig,
} from './fixture.ts';

const EU = '[proxy.backends.eu]\naddress = "127.0.0.1:1"\n';
const FILES = 'ssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';

function rule(keys: string): string {
  return `[[proxy.route]]\n${keys}\n`;
}

function host(backend: string): string {
  return `[[proxy.listener.host]]\nhostname = "a.example"\n${FILES}\nbackend = "${backend}"\n`;
}

describe('named backends and rules', () => {
  it('are read like [proxy.backend], in the order of the file', () => {
    const source = [
      route(LISTENER),
      EU,
      '[proxy.backends.us-1]\naddress = "db"\ntls_enabled = true\nroot_ca = "ca.crt"\n',
      rule('database = "orders_*"\nbackend = "eu"'),
      rule('user = "app"\nbackend = "us-1"'),
    ].join('');
    const { backends, routes } = required(load(source).config.proxies[0]);
    expect(backends).toMatchObject([
      { name: 'eu', backend: { addresses: [{ host: '127.0.0.1', port: 1 }], sslmode: 'disable' } },
      { name: 'us-1', backend: { sslmode: 'verify-full' } },
    ]);
    expect(routes).toEqual([
      { database: 'orders_*', user: null, backend: 'eu' },
      { database: null, user: 'app', backend: 'us-1' },
    ]);
  });

  it('must fit together: unknown names are errors at their key, with the nearest', () => {
    const source = [
      route(`${LISTENER}\n${FILES}`),
      host('eu2'),
      EU,
      rule('user = "*"\nbackend = "x"'),
    ];
    const found = errorsOf(source.join('')).map(({ keyPath, message, suggestion, line }) => [
      keyPath,
      message,
      suggestion,
      line,
    ]);
    expect(found).toEqual([
      [
        'proxy[0].listener.host[0].backend',
        'there is no [proxy.backends.eu2]; known: eu',
        'eu',
        13,
      ],
      ['proxy[0].route[0].backend', 'there is no [proxy.backends.x]; known: eu', null, 18],
    ]);
  });

  it('that nobody is led to are a warning', () => {
    expect(warningsOf(route(LISTENER) + EU)).toEqual([
      'proxy[0].backends.eu: is used by no [[proxy.listener.host]] and no [[proxy.route]]',
    ]);
    const used = route(`${LISTENER}\nsslmode = "require"\n${FILES}`) + host('eu') + EU;
    expect(warningsOf(used)).toEqual([]);
  });

  it('are none where a program may name them', async () => {
    const file = writeConfig(route(LISTENER) + EU);
    const found = async () => ({ problems: [], warnings: [] });
    const { warnings } = await loadInspectedConfig(file, {}, found, { hasRouteHook: true });
    expect(warnings).toEqual([]);
  });

  it('are checked like everything else', () => {
    const source = [
      route(LISTENER),
      '[proxy.backends]\n"a b" = { address = "db", sslmode = "disable" }\nc = 1\nd = { addres = "x" }\n',
      rule(''),
      rule('database = 1\nuser = "a"\nbackend = "d"'),
    ].join('');
    expect(messagesOf(source)).toEqual([
      'proxy[0].backends."a b": expected a name of at most 64 letters, digits, "-" and "_"',
      'proxy[0].backends.c: expected a table [proxy.backends.c], got 1',
      'proxy[0].backends.d.address: missing; expected such as "db.example.com:5432" or "unix:/run/postgresql"',
      'proxy[0].backends.d.addres: unknown key in [proxy.backend]',
      'proxy[0].route[0]: expected "database", "user" or both',
      'proxy[0].route[0].backend: missing; expected the name of one of [proxy.backends]',
      'proxy[0].route[1].database: expected a string, got 1',
    ]);
  });

  it('have what an inspection finds at their key, in the spelling of the file', async () => {
    const source = [
      route(`${LISTENER}\n${FILES}`),
      host('1'),
      '[proxy.backends.1]\naddress = "db"\nsslmode = "verify-ca"\nroot_ca = "ca.crt"\n',
    ].join('');
    const problems = [
      { routeId: 0, path: 'listener.host[0].ssl_key_file', message: 'is wrong' },
      { routeId: 0, path: 'backends.1.sslrootcert', message: 'is wrong, too' },
    ];
    const file = writeConfig(source);
    const loading = loadInspectedConfig(file, {}, async () => ({ problems, warnings: [] }));
    await expect(loading).rejects.toThrow(
      [
        `${file}:12:1: proxy[0].listener.host[0].ssl_key_file: is wrong`,
        `${file}:17:1: proxy[0].backends.1.root_ca: is wrong, too`,
      ].join('\n'),
    );
  });
});
