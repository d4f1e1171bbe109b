/** A configuration that is an object: read by the readers of the file, its errors named by key path alone. */
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/config/diagnostics.ts';
import type { ListenerInput, PgtlsConfigInput } from '../../src/config/input.ts';
import { copied, loadInspectedObject } from '../../src/config/object.ts';
import { loadConfig } from '../../src/config/parse.ts';
import { LISTENER, makeDirectory, route, writeConfig } from './fixture.ts';

const CONTEXT = { environment: {}, directory: '/', hasRouteHook: false };
const NOTHING_FOUND = async () => ({ problems: [], warnings: [] });

function load(input: unknown, context = CONTEXT) {
  return loadInspectedObject(input, context, NOTHING_FOUND);
}

async function errorOf(input: unknown): Promise<ConfigError> {
  const error = await load(input).catch((caught: unknown) => caught);
  if (error instanceof ConfigError) {
    return error;
  }
  throw new Error(`expected a ConfigError, got ${String(error)}`);
}

function withListener(listener: Partial<ListenerInput>): PgtlsConfigInput {
  return {
    proxy: [
      {
        name: 'orders',
        listener: { bind_address: '127.0.0.1:6432', ...listener },
        backend: { address: '127.0.0.1' },
      },
    ],
  };
}

describe('an object', () => {
  it('is the configuration that the same words are in a file', async () => {
    const toml = `
shutdown_timeout = 5
${route(`${LISTENER}\nsslmode = "require"\nssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"`)}
[proxy.backends.archive]
address = ["127.0.0.1", "unix:/tmp"]
[[proxy.route]]
database = "old_*"
backend = "archive"
`;
    const directory = makeDirectory();
    const file = writeConfig(toml, directory);
    const input = JSON.parse(JSON.stringify(parse(toml)));
    const { config, warnings } = await load(input, { ...CONTEXT, directory });
    expect(config).toEqual(loadConfig(file, {}).config);
    expect(warnings).toEqual([]);
    expect(config.proxies[0]?.listener.sslKeyFiles).toEqual([join(directory, 'tls.key')]);
  });

  it('has errors by key path, all of them at once, without line and column', async () => {
    const error = await errorOf({
      workers: -1,
      proxy: [{ listener: { bind_addres: '127.0.0.1:0', bind_address: [] }, backend: {} }],
    });
    expect(error.message.split('\n')).toEqual([
      'proxy[0].listener.bind_addres: unknown key in [proxy.listener]; did you mean "bind_address"?',
      'proxy[0].listener.bind_address: expected at least one address',
      expect.stringContaining('proxy[0].backend.address: missing'),
      'workers: expected an integer from 0 to 1024, got -1',
    ]);
    expect(error).toMatchObject({ code: 'PGTLS_CONFIG_INVALID', file: null });
    expect(error.diagnostics[0]).toMatchObject({
      line: null,
      column: null,
      suggestion: 'bind_address',
    });
  });

  it.each<[string, unknown, string]>([
    ['null', null, 'got null'],
    ['a function', () => 1, 'got a function'],
    ['a symbol', Symbol('x'), 'got a symbol'],
    ['a class', new URL('tcp://a'), 'got an object of a class'],
    ['a bigint', 1n, 'got 1n'],
    ['NaN', Number.NaN, 'got NaN'],
  ])('says of %s that it is none of what is expected', async (_, value, words) => {
    const { message } = await errorOf({ ...withListener({}), workers: value });
    expect(message).toBe(`workers: expected an integer from 0 to 1024, ${words}`);
    for (const key of ['bind_address', 'sslmode', 'tcp_keepalive', 'tcp_keepidle', 'host']) {
      const { diagnostics } = await errorOf(withListener({ [key]: value } as never));
      expect(diagnostics.map(({ keyPath }) => keyPath)).toEqual([`proxy[0].listener.${key}`]);
    }
  });

  it.each([[null], [undefined], ['pgtls.toml'], [[]], [new Map()]])(
    'is what %s is not',
    async (value) => {
      const { diagnostics } = await errorOf(value);
      expect(diagnostics).toMatchObject([{ keyPath: '', message: /^expected an object, got/ }]);
    },
  );

  it('is as if keys that are undefined were not there', async () => {
    const { config } = await load({ ...withListener({ sslmode: undefined }), workers: undefined });
    expect(config).toEqual((await load(withListener({}))).config);
  });

  it('takes variables from the environment that is given, and conceals them in errors', async () => {
    const context = { ...CONTEXT, environment: { HOST: 'db.example', TOKEN: 'geheim' } };
    const input = (address: string) => ({
      proxy: [{ listener: { bind_address: '127.0.0.1:0' }, backend: { address } }],
    });
    const { config } = await load(input(`\${HOST}:1`), context);
    expect(config.proxies[0]?.backend.addresses).toMatchObject([{ host: 'db.example', port: 1 }]);
    const error = await load(input(`\${TOKEN}:port`), context).catch(String);
    expect(error).not.toContain('geheim');
  });

  it('names keys as it spells them when a file that they name is wrong', async () => {
    const message = 'is no certificate';
    const inspect = async () => ({
      problems: [{ routeId: 0, path: 'listener.ssl_cert_file[0]', message }],
      warnings: [],
    });
    const directory = makeDirectory();
    const input = withListener({ server_cert: 'tls.crt', server_key: 'tls.key' });
    const loading = loadInspectedObject(input, { ...CONTEXT, directory }, inspect);
    await expect(loading).rejects.toThrow(`proxy[0].listener.server_cert: ${message}`);
  });

  it('has warnings, without a place', async () => {
    const { warnings } = await load(withListener({ unix_socket_mode: '0770' }));
    expect(warnings).toMatchObject([
      { keyPath: 'proxy[0].listener.unix_socket_mode', line: null, column: null },
    ]);
  });

  it('is copied: who changes it later changes nothing', () => {
    const input = { proxy: [{ name: 'a' }] };
    const copy = copied(input);
    input.proxy[0] = { name: 'b' };
    expect(copy).toEqual({ proxy: [{ name: 'a' }] });
  });

  it('may not refer to itself', async () => {
    const input: Record<string, unknown> = withListener({}) as never;
    input['admin'] = input;
    expect((await errorOf(input)).message).toContain('nested more than');
  });

  it('has no prototype to be polluted by', async () => {
    const input = JSON.parse('{"__proto__": {"workers": 1}, "proxy": []}');
    const { diagnostics } = await errorOf(input);
    expect(diagnostics.map(({ keyPath }) => keyPath)).toContain('__proto__');
  });
});
