/** What a file written from habit is told. */
import { describe, expect, it } from 'vitest';
import { errorsOf, LISTENER, route } from './fixture.ts';

/** The only problem of a file. */
function problemOf(text: string) {
  const errors = errorsOf(text);
  expect(errors).toHaveLength(1);
  return errors[0];
}

describe("a key of libpq's connection string under [proxy.backend]", () => {
  it.each([
    ['host', 'write host and port as one: address = "host:port"'],
    ['port', 'write host and port as one: address = "host:port"'],
    ['user', "pgtls passes the client's user on"],
    ['password', "pgtls passes the client's password on"],
    ['dbname', "pgtls passes the client's database on"],
  ])('%s is told what to write instead', (key, hint) => {
    const backend = `address = "db:5432"\nsslmode = "disable"\n${key} = "x"`;
    expect(problemOf(route(LISTENER, backend))).toMatchObject({
      keyPath: `proxy[0].backend.${key}`,
      message: `unknown key in [proxy.backend]; ${hint}`,
      suggestion: null,
    });
  });

  it('is told so of a named backend, too', () => {
    const errors = errorsOf(
      `${route(LISTENER)}\n[proxy.backends.b]\naddress = "c"\nhost = "b"\n[[proxy.route]]\nuser = "u"\nbackend = "b"`,
    );
    expect(errors.map(({ message }) => message)).toEqual([
      'unknown key in [proxy.backend]; write host and port as one: address = "host:port"',
    ]);
  });
});

it('a port of its own under [proxy.listener] belongs into bind_address', () => {
  expect(problemOf(route(`${LISTENER}\nport = 6432`))?.message).toContain(
    'write address and port as one: bind_address = "host:port"',
  );
});

it('a backend that is named where there are none is told which table is missing', () => {
  const text = `${route(LISTENER)}\n[[proxy.route]]\nuser = "u"\nbackend = "nope"`;
  expect(problemOf(text)?.message).toBe(
    'names a backend, but there is no [proxy.backends] at all; expected a table [proxy.backends.nope]',
  );
});

describe('a string without its closing quote', () => {
  it.each([
    ['at the end of a line', 'workers = 1\nname = "orders\nlog_level = "info"\n', 2, 8],
    ['of single quotes', "name = 'orders\r\nworkers = 1\n", 1, 8],
    ['behind closed ones', 'alpn = ["x\\"y", \'z\', "postgresql]\n', 1, 22],
    ['at the end of the file', 'name = "orders', 1, 8],
    ['over several lines', 'workers = 1\nname = """orders\n\n', 2, 8],
  ])('%s is placed where it opens', (_name, text, line, column) => {
    const message = 'TOML syntax: this string has no closing quote';
    expect(problemOf(text)).toMatchObject({ line, column, message });
  });

  it('is not what a control character within a string is taken for', () => {
    expect(problemOf('name = "or\u0001ders"\n')).toMatchObject({
      line: 1,
      message: 'TOML syntax: control characters are not allowed in strings',
    });
  });
});
