import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cidrProblem,
  formatAddress,
  isLocalAddress,
  MAX_UNIX_PATH_BYTES,
  parseBackendAddress,
  parseBindAddress,
} from '../../src/config/address.ts';
import { makeDirectory, messagesOf, route, warningsOf } from './fixture.ts';

const NO_ACCESS = { mode: null, group: null };

function bind(text: string) {
  return parseBindAddress(text, '/etc/pgtls', NO_ACCESS);
}

function backend(text: string) {
  return parseBackendAddress(text, '/etc/pgtls');
}

describe('an address to listen on', () => {
  it.each([
    ['0.0.0.0:6432', { kind: 'tcp', host: '0.0.0.0', port: 6432 }],
    ['127.0.0.1:0', { kind: 'tcp', host: '127.0.0.1', port: 0 }],
    ['[::]:6432', { kind: 'tcp', host: '::', port: 6432 }],
    ['localhost:6432', { kind: 'tcp', host: 'localhost', port: 6432 }],
    ['unix:/run/x/.s.PGSQL.6432', { kind: 'unix', path: '/run/x/.s.PGSQL.6432', ...NO_ACCESS }],
    ['unix:run/s', { kind: 'unix', path: '/etc/pgtls/run/s', ...NO_ACCESS }],
  ])('can be %s', (text, value) => {
    expect(bind(text)).toEqual({ ok: true, value });
  });

  it.each([
    ['0.0.0.0', 'no port'],
    [':6432', 'for all addresses write 0.0.0.0'],
    ['*:6432', 'for all addresses write 0.0.0.0'],
    ['::1:6432', 'in brackets'],
    ['[::1', 'in brackets'],
    ['[127.0.0.1]:1', 'no IPv6 address'],
    ['127.0.0.1:65536', '0 to 65535'],
    ['127.0.0.1:-1', 'no port'],
    ['127.0.0.1:', 'no port'],
    ['127.0.0.1:pg', 'no port'],
    ['300.0.0.1:1', 'no host name'],
    ['a b:1', 'no host name'],
    ['/run/x', 'unix:/run/x'],
    ['postgres://a:1', 'is a URL'],
    ['unix:', 'names no socket'],
    ['unix:@abstract', 'names no socket'],
  ])('cannot be %s', (text, message) => {
    expect(bind(text)).toEqual({ ok: false, message: expect.stringContaining(message) });
  });

  it('can be a path that cannot be looked at now', () => {
    const loop = join(makeDirectory(), 'loop');
    symlinkSync(loop, loop);
    expect(bind(`unix:${loop}/s`)).toMatchObject({ ok: true });
    expect(backend(`unix:${loop}/s`)).toMatchObject({ ok: true });
  });

  it('cannot be a directory', () => {
    expect(bind(`unix:${makeDirectory()}`)).toMatchObject({ ok: false });
  });

  it('has at most the bytes that a unix socket path can hold', () => {
    const path = `/${'x'.repeat(MAX_UNIX_PATH_BYTES - 1)}`;
    expect(bind(`unix:${path}`)).toMatchObject({ ok: true });
    expect(bind(`unix:${path}x`)).toMatchObject({ ok: false });
    expect(bind(`unix:${path.slice(0, -1)}é`)).toMatchObject({ ok: false });
  });
});

describe('an address to connect to', () => {
  it.each([
    ['db.example.com', { kind: 'tcp', host: 'db.example.com', port: 5432 }],
    ['my_db:5433', { kind: 'tcp', host: 'my_db', port: 5433 }],
    ['[2001:db8::1]', { kind: 'tcp', host: '2001:db8::1', port: 5432 }],
    ['unix:/nowhere/s', { kind: 'unix', path: '/nowhere/s' }],
  ])('can be %s', (text, value) => {
    expect(backend(text)).toEqual({ ok: true, value });
  });

  it('can be the directory of a unix socket, as in libpq', () => {
    const directory = makeDirectory();
    const value = { kind: 'unix', path: join(directory, '.s.PGSQL.5432') };
    expect(backend(`unix:${directory}`)).toEqual({ ok: true, value });
    expect(backend(`unix:${directory}/`)).toEqual({ ok: true, value });
  });

  it('has room for the socket name behind a directory', () => {
    const parent = makeDirectory();
    const length = MAX_UNIX_PATH_BYTES - Buffer.byteLength(parent) - 6;
    const directory = join(parent, 'x'.repeat(length));
    mkdirSync(directory);
    expect(backend(`unix:${directory}`)).toMatchObject({ ok: false });
  });

  it('has a port other than 0', () => {
    expect(backend('db:0')).toMatchObject({ ok: false });
  });
});

describe('addresses', () => {
  it('never throw, and what is accepted reads the same again', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const parsed = backend(text);
        if (parsed.ok) {
          expect(backend(formatAddress(parsed.value))).toEqual(parsed);
        }
      }),
    );
  });

  it.each([
    ['127.0.0.1:1', true],
    ['127.9.9.9:1', true],
    ['[::1]:1', true],
    ['localhost:1', true],
    ['unix:/s', true],
    ['0.0.0.0:1', false],
    ['[::]:1', false],
    ['10.0.0.1:1', false],
    ['db:1', false],
  ])('%s is local: %s', (text, isLocal) => {
    const parsed = backend(text);
    expect(parsed.ok && isLocalAddress(parsed.value)).toBe(isLocal);
  });
});

describe('duplicate addresses', () => {
  it.each([
    ['127.0.0.1:6432', '127.0.0.1:6432'],
    ['localhost:6432', 'LOCALHOST:6432'],
    ['0.0.0.0:6432', '127.0.0.1:6432'],
    ['[::1]:6432', '[::]:6432'],
    ['unix:s', 'unix:./s'],
  ])('%s and %s are an error at the second', (first, second) => {
    const source =
      route(`bind_address = "${first}"\nsslmode = "disable"`) +
      route(`bind_address = ["127.0.0.1:1", "${second}"]\nsslmode = "disable"`, undefined, 'b');
    expect(messagesOf(source)).toEqual([
      'proxy[1].listener.bind_address[1]: is bound twice: an address above is the same or includes it',
    ]);
  });

  it.each([
    ['127.0.0.1:0', '127.0.0.1:0'],
    ['0.0.0.0:6432', '[::]:6432'],
    ['127.0.0.1:6432', '127.0.0.2:6432'],
  ])('%s and %s are none', (first, second) => {
    const listener = `bind_address = ["${first}", "${second}"]\nsslmode = "disable"`;
    expect(warningsOf(route(listener))).toEqual([]);
  });
});

describe('a CIDR', () => {
  it.each(['10.0.0.0/8', '192.0.2.7', '0.0.0.0/0', '2001:db8::/32', '::1', '::/0'])(
    'can be %s',
    (text) => {
      expect(cidrProblem(text)).toBeNull();
    },
  );

  it.each([
    '10.0.0.0/33',
    '::/129',
    '10.0.0/8',
    'db',
    '',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    'fe80::1%e',
  ])('cannot be %j', (text) => {
    expect(cidrProblem(text)).not.toBeNull();
  });
});
