/** The command line as a user meets it: validate, errors of the configuration, exit codes. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, openSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { tryPort } from '../../src/cli/demo/free-port.ts';
import { EXPIRED, LOCAL_NAMES } from '../support/certificates.ts';
import { ListenerTls, type RouteText } from '../support/config.ts';
import { quietPort } from '../support/quiet-port.ts';
import { PROGRAM, runProgram } from '../support/running-proxy.ts';

const BACKEND = { address: '127.0.0.1:5432' };

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

function writeConfig(text: string): string {
  return tls.write('pgtls.toml', text);
}

async function run(
  ...args: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return runProgram(args);
}

test('what cannot be written to standard output is a failure', () => {
  const full = openSync('/dev/full', 'w');
  onTestFinished(() => closeSync(full));
  const args = [PROGRAM, 'completion', 'bash'];
  const { status, stderr } = spawnSync(process.execPath, args, {
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  });
  expect(stderr).toMatch(/^pgtls: standard output cannot be written: ENOSPC/);
  expect(status).toBe(1);
});

describe('pgtls validate', () => {
  test('prints names, chain, expiry and the channel-binding verdict of each route', async () => {
    const routes: RouteText[] = [
      { name: 'orders', backend: BACKEND },
      { name: 'billing', backend: { ...BACKEND, sslmode: 'require' } },
    ];
    const { code, stdout } = await run('validate', '-c', writeConfig(tls.config(routes)));

    expect(code).toBe(0);
    for (const text of [
      'orders',
      'billing',
      'localhost',
      '127.0.0.1',
      'SCRAM-SHA-256-PLUS',
      'expires',
    ]) {
      expect(stdout).toContain(text);
    }
  });

  test('refuses an expired certificate with exit code 2', async () => {
    const leaf = { commonName: 'localhost', names: LOCAL_NAMES, ...EXPIRED };
    const expired = await tls.issue('expired', leaf);
    const listener = { ssl_cert_file: expired.certFile, ssl_key_file: expired.keyFile };
    const file = writeConfig(tls.config([{ backend: BACKEND, listener }]));
    const { code, stderr } = await run('validate', '-c', file);

    expect(code).toBe(2);
    expect(stderr).toMatch(/ssl_cert_file.*expired/s);
  });
});

describe('a configuration that is wrong ends with exit code 2 before anything is bound', () => {
  async function refusal(route: RouteText): Promise<string> {
    const port = await quietPort();
    const good: RouteText = {
      name: 'good',
      backend: BACKEND,
      listener: { bind_address: `127.0.0.1:${port}` },
    };
    const { code, stderr, stdout } = await run('-c', writeConfig(tls.config([good, route])));
    expect(code).toBe(2);
    expect(stdout).not.toContain('listener.bind');
    expect(await tryPort(port)).toBe(port);
    return stderr;
  }

  test('an unknown key, with line and column and the nearest key', async () => {
    expect(await refusal({ backend: { ...BACKEND, sslrootcrt: 'x' } })).toMatch(
      /:\d+:\d+.*sslrootcrt.*sslrootcert/s,
    );
  });

  test('several errors, all at once', async () => {
    const stderr = await refusal({
      listener: { sslmode: 'maybe', alpn: 7 },
      backend: { ...BACKEND, connect_timeout: 'soon' },
    });
    for (const key of ['sslmode', 'alpn', 'connect_timeout']) {
      expect(stderr).toContain(key);
    }
  });

  test('a certificate file that does not exist', async () => {
    expect(
      await refusal({ listener: { ssl_cert_file: '/nowhere/tls.crt' }, backend: BACKEND }),
    ).toMatch(/ssl_cert_file.*\/nowhere\/tls\.crt/s);
  });

  test('a key that belongs to another certificate', async () => {
    const other = await tls.issue('other', { commonName: 'other', names: [] });
    expect(await refusal({ listener: { ssl_key_file: other.keyFile }, backend: BACKEND })).toMatch(
      /ssl_key_file/,
    );
  });

  test('a private key that everybody may read', async () => {
    const open = await tls.issue('open', { commonName: 'localhost', names: ['localhost'] });
    chmodSync(open.keyFile, 0o644);
    const listener = { ssl_cert_file: open.certFile, ssl_key_file: open.keyFile };
    expect(await refusal({ listener, backend: BACKEND })).toMatch(/open\.key/);
  });

  test('a file that is no certificate', async () => {
    const garbage = tls.write('garbage.crt', 'not a certificate');
    expect(await refusal({ listener: { ssl_cert_file: garbage }, backend: BACKEND })).toMatch(
      /garbage\.crt/,
    );
  });

  test('an address that is in use, by name of the key', async () => {
    const owner = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => {
      owner.close();
    });
    await once(owner, 'listening');
    const { port } = owner.address() as AddressInfo;
    const stderr = await refusal({
      listener: { bind_address: `127.0.0.1:${port}` },
      backend: BACKEND,
    });
    expect(stderr).toContain(String(port));
  });
});

test('a configuration file that does not exist ends with exit code 2', async () => {
  const { code, stderr } = await run('-c', join(tls.directory, 'absent.toml'));
  expect(code).toBe(2);
  expect(stderr).toContain('absent.toml');
});

test('a TOML syntax error is placed', async () => {
  const file = join(tls.directory, 'syntax.toml');
  writeFileSync(file, '[[proxy]\nname = "x"\n');
  const { code, stderr } = await run('-c', file);
  expect(code).toBe(2);
  expect(stderr).toMatch(/syntax\.toml:1:\d+/);
});

test('an unknown option ends with exit code 2', async () => {
  expect((await run('--no-such-option')).code).toBe(2);
});

test('--version names the versions of pgtls, rustls and the crypto provider', async () => {
  const { code, stdout } = await run('--version');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^pgtls \d+\.\d+\.\d+ .*rustls \d+\.\d+/);
});

test("the first pgtls's file runs unchanged", async () => {
  const file = writeConfig(`
[[proxy]]
name = "legacy"
[proxy.listener]
bind_address = "127.0.0.1:0"
server_cert = "${tls.server.certFile}"
server_key = "${tls.server.keyFile}"
mtls = true
client_ca = "${tls.caFile}"
cert_refresh_interval = "12h"
[proxy.backend]
address = "127.0.0.1:5432"
tls_enabled = true
root_ca = "${tls.caFile}"
`);
  const { code, stdout } = await run('validate', '-c', file);
  expect(code).toBe(0);
  expect(stdout).toContain('verify-full');
});
