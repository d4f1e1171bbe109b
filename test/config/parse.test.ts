import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/config/diagnostics.ts';
import { loadConfig } from '../../src/config/parse.ts';
import { PgtlsError } from '../../src/errors.ts';
import {
  BACKEND,
  errorsOf,
  LISTENER,
  listenerMessages,
  listenerOf,
  load,
  makeDirectory,
  messagesOf,
  required,
  route,
  warningsOf,
  writeConfig,
} from './fixture.ts';

const GOOD = route(LISTENER);

describe('a configuration file', () => {
  it('may hold many routes, each with its own keys', () => {
    const source =
      GOOD + route('bind_address = ["127.0.0.1:1", "unix:s"]', 'address = ["a", "b:1"]', 'b');
    const { config } = load(
      `workers = 2\n${source.replaceAll('address = ["a"', 'sslmode = "require"\naddress = ["a"')}`,
    );
    expect(config.workers).toBe(2);
    expect(config.proxies.map(({ name }) => name)).toEqual(['orders', 'b']);
    expect(required(config.proxies[1]).backend).toMatchObject({
      sslmode: 'require',
      addresses: [
        { kind: 'tcp', host: 'a', port: 5432 },
        { kind: 'tcp', host: 'b', port: 1 },
      ],
    });
  });

  it('may be written with inline tables, CRLF and a byte order mark', () => {
    const inline = `proxy = [{listener = {${LISTENER}}, backend = {${BACKEND}}}]\r\nworkers = 1\r\n`;
    expect(load(`\uFEFF${inline}`).config.proxies).toHaveLength(1);
  });

  it('names a route by its address when it has no name', () => {
    const source = `[[proxy]]\n[proxy.listener]\n${LISTENER}\n[proxy.backend]\n${BACKEND}\n`;
    expect(required(load(source).config.proxies[0]).name).toBe('127.0.0.1:6432');
  });

  it('gives unix sockets their permissions', () => {
    const keys = 'bind_address = "unix:s"\nunix_socket_mode = "0770"\nunix_socket_group = "db"';
    const [proxy] = load(route(keys)).config.proxies;
    expect(required(proxy).listener.bindAddresses).toMatchObject([{ mode: 0o770, group: 'db' }]);
  });

  it('says so when permissions of unix sockets have no effect', () => {
    expect(warningsOf(route(`${LISTENER}\nunix_socket_mode = "0770"`))).toEqual([
      'proxy[0].listener.unix_socket_mode: has no effect: bind_address names no unix socket',
    ]);
  });

  it('takes cipher and group lists in the form of PostgreSQL, too', () => {
    expect(listenerOf('ssl_groups = "X25519:prime256v1"').sslGroups).toEqual([
      'X25519',
      'prime256v1',
    ]);
  });
});

describe('all errors of a file', () => {
  it('come together, in the order of the file, each at its key', () => {
    const source = [
      'log_levl = "info"',
      'shutdown_timeout = "1x"',
      '[[proxy]]',
      'name = "a"',
      '[proxy.listener]',
      'bind_address = ["127.0.0.1:1",',
      '  "nope"]',
      '  allow = [ "10.0.0.0/33" ]',
      '[proxy.backend]',
      'sslmode = "verify_full"',
      '[[proxy]]',
      'name = "a"',
      'listener = { bind_address = "127.0.0.1:2", sslmod = "x" }',
    ].join('\n');
    expect(errorsOf(source).map(({ keyPath, line, column }) => [keyPath, line, column])).toEqual([
      ['log_levl', 1, 1],
      ['shutdown_timeout', 2, 1],
      ['proxy[0].listener.bind_address[1]', 7, 3],
      ['proxy[0].listener.allow[0]', 8, 13],
      ['proxy[0].backend.address', 9, 1],
      ['proxy[0].backend.sslmode', 10, 1],
      ['proxy[1].backend', 11, 1],
      ['proxy[1].name', 12, 1],
      ['proxy[1].listener.sslmod', 13, 44],
    ]);
  });

  it('read as file:line:column: key: message', () => {
    const file = writeConfig(`log_levl = "info"\n${GOOD}`);
    expect(() => loadConfig(file, {})).toThrow(
      `${file}:1:1: log_levl: unknown key in the top level; did you mean "log_level"?`,
    );
  });

  it('are one PgtlsError with a code', () => {
    try {
      loadConfig(writeConfig(''), {});
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      expect(error).toMatchObject({ code: 'PGTLS_CONFIG_INVALID', name: 'ConfigError' });
    }
  });
});

describe('an unknown key', () => {
  it.each([
    ['bind_adress', 'bind_address'],
    ['sslMode', 'sslmode'],
    ['ssl-cert-file', 'ssl_cert_file'],
    ['max_client_conn_per_ips', 'max_client_conn_per_ip'],
    ['tcp_keep_alive', 'tcp_keepalive'],
  ])('%s is answered with the nearest one, %s', (wrong, near) => {
    const [error] = errorsOf(route(`${LISTENER}\n${wrong} = 1`));
    expect(required(error)).toMatchObject({
      message: 'unknown key in [proxy.listener]',
      suggestion: near,
    });
  });

  it('gets no suggestion when nothing is near', () => {
    expect(required(errorsOf(`colour = 1\n${GOOD}`)[0]).suggestion).toBeNull();
  });

  it('that belongs to another table is sent there', () => {
    expect(listenerMessages('sslrootcert = "x"')).toEqual([
      'proxy[0].listener.sslrootcert: unknown key here; it belongs to [proxy.backend]',
    ]);
    expect(messagesOf(`sslmode = "require"\n${GOOD}`)).toEqual([
      'sslmode: unknown key here; it belongs to [proxy.listener] or [proxy.backend]',
    ]);
  });

  it('with the name of a property of every object is unknown like any other', () => {
    expect(messagesOf(`constructor = 1\n__proto__ = 2\n${GOOD}`)).toHaveLength(2);
  });
});

describe('driver', () => {
  it.each(['auto', 'tokio'])('may be %s', (name) => {
    expect(messagesOf(`driver = "${name}"\n${GOOD}`)).toEqual([]);
  });

  it('is refused with a reason when it is io_uring', () => {
    expect(messagesOf(`driver = "io_uring"\n${GOOD}`)).toEqual([
      expect.stringMatching(/^driver: .*io_uring.*docs\/adr\/0017-no-io-uring-driver\.md/),
    ]);
  });

  it('is refused when it is anything else', () => {
    expect(messagesOf(`driver = "epoll"\n${GOOD}`)).toEqual([
      expect.stringMatching(/^driver: .*auto.*tokio/),
    ]);
  });
});

describe('proxy.cache', () => {
  it('is accepted when it is off', () => {
    expect(messagesOf(`${GOOD}[proxy.cache]\nenabled = false\n`)).toEqual([]);
  });

  it('is refused with a reason when it is on', () => {
    expect(messagesOf(`${GOOD}[proxy.cache]\nenabled = true\nttl = 1\n`)).toEqual([
      'proxy[0].cache.enabled: true is refused: this version of pgtls has no query cache; expected false',
      'proxy[0].cache.ttl: not supported by this version of pgtls',
    ]);
  });
});

describe('a wrong type or value', () => {
  it.each([
    ['workers = "2"', 'workers: expected an integer from 0 to 1024, got "2"'],
    ['workers = 1.5', 'workers: expected an integer from 0 to 1024, got 1.5'],
    ['workers = -1', 'workers: expected an integer from 0 to 1024, got -1'],
    ['max_client_conn = 0', 'max_client_conn: expected an integer from 1 to 2147483647, got 0'],
    ['log_format = 1', 'log_format: expected a string, got 1'],
    ['log_level = ["info"]', 'log_level: expected a string, got a list'],
    ['log_level = 2026-01-01', 'log_level: expected a string, got a date'],
    [
      'log_level = "warning"',
      'log_level: "warning" is refused: the level is "warn"; expected "trace", "debug", "info", "warn", "error"',
    ],
    [
      'client_login_timeout = {}',
      'client_login_timeout: expected a duration such as "250ms", "45s", "5m", "24h", or whole seconds (from 1ms, less than 25 days), got a table',
    ],
  ])('is told with what was expected: %s', (line, message) => {
    expect(messagesOf(`${line}\n${GOOD}`)).toEqual([message]);
  });

  it.each([
    ['tcp_keepalive = "yes"', 'tcp_keepalive: expected true or false, got "yes"'],
    [
      'unix_socket_mode = 770',
      'unix_socket_mode: expected octal digits in quotes, such as "0770", got 770',
    ],
    [
      'unix_socket_mode = "888"',
      'unix_socket_mode: expected octal digits in quotes, such as "0770", got "888"',
    ],
    ['ssl_ca_file = ["a"]', 'ssl_ca_file: expected a string, got a list'],
    ['ssl_ca_file = ""', 'ssl_ca_file: expected a string, got an empty string'],
    ['ssl_groups = []', 'ssl_groups: expected at least one group'],
    ['ssl_groups = ["a", "a"]', 'ssl_groups[1]: "a" is there twice'],
    [
      'tcp_keepidle = "1500ms"',
      'tcp_keepidle: expected whole seconds: the kernel keeps this time in seconds',
    ],
    ['deny = [1]', 'deny[0]: expected a string, got 1'],
  ])('is told with what was expected in a listener: %s', (line, message) => {
    expect(listenerMessages(line)).toEqual([`proxy[0].listener.${message}`]);
  });

  it.each([
    ['', 'proxy: expected at least one [[proxy]], there is none'],
    ['proxy = []', 'proxy: expected at least one [[proxy]], there is none'],
    [
      '[proxy]',
      'proxy: expected at least one [[proxy]], got a table; write [[proxy]] with two brackets',
    ],
    ['proxy = ["a"]', 'proxy[0]: expected a table, got "a"'],
    ['[[proxy]]\nlistener = 1', 'proxy[0].listener: expected a table [proxy.listener], got 1'],
  ])('of the routes: %j', (source, message) => {
    expect(messagesOf(source)).toContain(message);
  });

  it('of an address list: it must not be empty', () => {
    expect(messagesOf(route('bind_address = []', 'address = []'))).toEqual([
      'proxy[0].listener.bind_address: expected at least one address',
      'proxy[0].backend.address: expected at least one address',
    ]);
  });

  it('of a name: it must be unique', () => {
    expect(messagesOf(GOOD + route('bind_address = "127.0.0.1:1"'))).toEqual([
      'proxy[1].name: "orders" is the name of an earlier [[proxy]]; expected a unique one',
    ]);
  });
});

describe('what is no configuration at all', () => {
  it('is a syntax error at its line and column', () => {
    expect(errorsOf('workers = 1\nlog_level = \n')).toMatchObject([
      { keyPath: '', line: 2, message: expect.stringMatching(/^TOML syntax: /) },
    ]);
  });

  it('is a file that is not UTF-8', () => {
    const file = writeConfig(Uint8Array.of(0x61, 0xff));
    expect(() => loadConfig(file, {})).toThrow(`${file}:1:1: is not UTF-8`);
  });

  it('is a file that is missing', () => {
    const file = join(makeDirectory(), 'nope.toml');
    expect(() => loadConfig(file, {})).toThrow(PgtlsError);
    expect(() => loadConfig(file, {})).toThrow(
      expect.objectContaining({ code: 'PGTLS_CONFIG_UNREADABLE' }),
    );
  });

  it('never throws anything but a PgtlsError', () => {
    const value = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.string()));
    const file = writeConfig('');
    fc.assert(
      fc.property(
        fc.constantFrom('bind_address', 'sslmode', 'alpn', 'mtls', 'ssl_cert_file', 'allow'),
        value,
        (key, written) => {
          writeConfig(route(`${key} = ${JSON.stringify(written)}`), join(file, '..'));
          try {
            loadConfig(file, {});
          } catch (error) {
            expect(error).toBeInstanceOf(PgtlsError);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
