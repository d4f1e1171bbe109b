/** The admin server of the running program: readiness from start to end, who may read, and that it costs nothing where it is not wanted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { adminPort, askAdmin, Scrape } from '../support/admin-client.ts';
import { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { acceptAndIdle } from '../support/fake-backend.ts';
import { openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { PROGRAM, proxyForTest, runProgram } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';

const TOKEN = 'a-token.that_is~long/enough+=';

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

function admin(lines = '', address = '127.0.0.1:0'): string {
  return `\n[admin]\nbind_address = "${address}"\n${lines}`;
}

/** A backend that lets everybody in, and can be made to refuse connections while sessions go on. */
async function listeningBackend(): Promise<{ server: Server; port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    // A probe closes before it has said anything.
    acceptAndIdle(new ByteChannel(socket)).catch(() => undefined);
  });
  server.listen({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) {
      socket.destroy();
    }
  });
  return { server, port: (server.address() as AddressInfo).port, sockets };
}

function answers(port: number, status: number, body: string): Promise<unknown> {
  return until(`/readyz says ${status} ${body}`, async () => {
    const response = await askAdmin(port, '/readyz');
    return response.status === status && response.body === `${body}\n`;
  });
}

test('/readyz is ready, follows the backend, and says draining until the end', async () => {
  const backend = await listeningBackend();
  const routes = [{ name: 'one', backend: plainBackend(backend.port) }];
  const proxy = await proxyForTest(tls.config(routes, { shutdown_timeout: '60s' }) + admin());
  const port = await adminPort(proxy);
  await answers(port, 200, 'ready');

  const channel = await openNegotiatedTls(proxy.port(), tls.clientOptions);
  onTestFinished(() => channel.destroy());
  await startSession(channel);
  backend.server.close();
  await answers(port, 503, 'no route has a reachable backend');
  backend.server.listen({ port: backend.port, host: '127.0.0.1' });
  await answers(port, 200, 'ready');

  proxy.signal('SIGTERM');
  await answers(port, 503, 'draining');
  const status = JSON.parse((await askAdmin(port, '/status')).body);
  expect(status).toMatchObject({ readiness: 'draining', sessions: { live: 1 } });
  expect((await askAdmin(port, '/metrics')).body).toContain('state="session"} 1');
  channel.destroy();
  expect(await proxy.exited()).toEqual({ code: 0, signal: null });
});

test('many who ask for readiness at once are one connection to the backend', async () => {
  const backend = await listeningBackend();
  const routes = [{ name: 'one', backend: plainBackend(backend.port) }];
  const proxy = await proxyForTest(tls.config(routes) + admin());
  const port = await adminPort(proxy);
  const all = await Promise.all(Array.from({ length: 20 }, () => askAdmin(port, '/readyz')));
  expect(new Set(all.map(({ status }) => status))).toEqual(new Set([200]));
  // Twenty answers may take longer than the second one probe is good for.
  expect(backend.sockets.length).toBeLessThan(20);
});

test('/status shows routes, certificates and the error of a reload that failed', async () => {
  const { certFile, keyFile } = await tls.issue('replaced', {
    commonName: 'localhost',
    names: ['localhost'],
  });
  const backend = await listeningBackend();
  const routes = [
    {
      name: 'one',
      listener: { ssl_cert_file: certFile, ssl_key_file: keyFile },
      backend: plainBackend(backend.port),
    },
  ];
  const proxy = await proxyForTest(tls.config(routes) + admin());
  const port = await adminPort(proxy);
  const status = async () => JSON.parse((await askAdmin(port, '/status')).body);
  expect(await status()).toMatchObject({
    readiness: 'ready',
    last_reload: { config: null, certificates: null },
    routes: [{ name: 'one', backends: [`127.0.0.1:${backend.port}`], live_sessions: 0 }],
    certificates: [{ route: 'one', role: 'listener', file: certFile }],
    sessions: { live: 0, negotiating: 0, limit: expect.any(Number) },
  });
  writeFileSync(certFile, 'nothing');
  await until('the failure is shown', async () => {
    const { last_reload: last } = await status();
    return last.certificates?.result === 'failure' && last.certificates.error.includes('one');
  });
  const scrape = await Scrape.of(port);
  const failures = { route: 'one', result: 'failure' };
  expect(scrape.sum('pgtls_certificate_reloads_total', failures)).toBeGreaterThan(0);
  expect(scrape.sum('pgtls_certificate_last_reload_successful', { route: 'one' })).toBe(0);
  expect(scrape.sum('pgtls_config_last_reload_successful')).toBe(1);
});

/** Waits until the last reload of both kinds was successful, or was not. */
function lastReloads(port: number, config: 0 | 1, certificates: 0 | 1): Promise<Scrape> {
  return until(`the last reloads are ${config} and ${certificates}`, async () => {
    const scrape = await Scrape.of(port);
    const isSo =
      scrape.sum('pgtls_config_last_reload_successful') === config &&
      scrape.sum('pgtls_certificate_last_reload_successful') === certificates;
    return isSo ? scrape : null;
  });
}

test('a configuration that cannot be used shows for as long as it is there, and counts once', async () => {
  const good = tls.config([{ name: 'one', backend: plainBackend(1) }]) + admin();
  const proxy = await proxyForTest(good);
  const port = await adminPort(proxy);
  await lastReloads(port, 1, 1);
  proxy.rewrite('nonsense');
  await lastReloads(port, 0, 1);
  await proxy.logged({ event: 'config.reload', result: 'failure' });
  proxy.rewrite(good);
  const scrape = await lastReloads(port, 1, 1);
  expect(scrape.sum('pgtls_config_reloads_total', { result: 'failure' })).toBe(1);
});

test('a SIGHUP that fails for a certificate is made good once the certificate is', async () => {
  const name = { commonName: 'localhost', names: ['localhost'] };
  const { certFile, keyFile } = await tls.issue('repaired', name);
  const listener = { ssl_cert_file: certFile, ssl_key_file: keyFile };
  const routes = [{ name: 'one', listener, backend: plainBackend(1) }];
  const proxy = await proxyForTest(tls.config(routes) + admin());
  const port = await adminPort(proxy);
  renameSync(certFile, `${certFile}.good`);
  writeFileSync(certFile, 'nothing');
  proxy.signal('SIGHUP');
  await lastReloads(port, 0, 0);
  renameSync(`${certFile}.good`, certFile);
  const scrape = await lastReloads(port, 1, 1);
  expect(scrape.sum('pgtls_config_reloads_total', { result: 'failure' })).toBe(1);
});

test('beyond loopback, over TLS, numbers are for those with the token, which can be changed', async () => {
  const tokenFile = tls.write('token', `${TOKEN}\n`, 0o600);
  const lines = [
    `auth_token_file = "${tokenFile}"`,
    `ssl_cert_file = "${tls.server.certFile}"`,
    `ssl_key_file = "${tls.server.keyFile}"`,
  ].join('\n');
  const routes = [{ name: 'one', backend: plainBackend(1) }];
  const proxy = await proxyForTest(tls.config(routes) + admin(lines, '0.0.0.0:0'));
  const port = await adminPort(proxy);
  const { ca } = tls.clientOptions;
  const statusOf = async (path: string, token?: string) =>
    (await askAdmin(port, path, { ca, ...(token === undefined ? {} : { token }) })).status;

  for (const path of ['/metrics', '/status']) {
    expect(await statusOf(path)).toBe(401);
    expect(await statusOf(path, `${TOKEN}x`)).toBe(401);
    expect(await statusOf(path, TOKEN)).toBe(200);
  }
  expect(await statusOf('/healthz')).toBe(200);
  expect(await statusOf('/readyz')).toBe(503);
  await expect(askAdmin(port, '/healthz')).rejects.toThrow();

  writeFileSync(tokenFile, 'another-token-that-is-long');
  await until(
    'the new token is asked for',
    async () => (await statusOf('/metrics', TOKEN)) === 401,
  );
  expect(await statusOf('/metrics', 'another-token-that-is-long')).toBe(200);
  expect(proxy.output).not.toContain('another-token');
});

test('a connection that never shakes hands does not hold up the end', async () => {
  const lines = `ssl_cert_file = "${tls.server.certFile}"\nssl_key_file = "${tls.server.keyFile}"`;
  const proxy = await proxyForTest(tls.config([{ backend: plainBackend(1) }]) + admin(lines));
  const silent = connect(await adminPort(proxy), '127.0.0.1').on('error', () => undefined);
  await once(silent, 'connect');
  const ended = once(silent, 'close');
  const begun = performance.now();
  proxy.signal('SIGTERM');
  await ended;
  // Less than the 5 s that it may take for its handshake.
  expect(performance.now() - begun).toBeLessThan(4_000);
});

test('a token that others may read is refused at its key', async () => {
  const tokenFile = tls.write('public-token', TOKEN);
  chmodSync(tokenFile, 0o644);
  const file = tls.write(
    'public.toml',
    tls.config([{ backend: plainBackend(1) }]) + admin(`auth_token_file = "${tokenFile}"`),
  );
  const { code, stderr } = await runProgram(['validate', '-c', file]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/:\d+:\d+: admin\.auth_token_file: token file .* group or world access/);
});

test('a token or a key that others may read by now is not taken over', async () => {
  const tokenFile = tls.write('opened-token', TOKEN, 0o600);
  const { certFile, keyFile } = await tls.issue('opened', {
    commonName: 'localhost',
    names: ['localhost'],
  });
  const lines = [
    `auth_token_file = "${tokenFile}"`,
    `ssl_cert_file = "${certFile}"`,
    `ssl_key_file = "${keyFile}"`,
  ].join('\n');
  const proxy = await proxyForTest(tls.config([{ backend: plainBackend(1) }]) + admin(lines));
  const port = await adminPort(proxy);
  for (const [file, key] of [
    [tokenFile, 'auth_token_file'],
    [keyFile, 'ssl_key_file'],
  ] as const) {
    chmodSync(file, 0o644);
    writeFileSync(file, `${readFileSync(file, 'utf8')}\n`);
    const refused = await until(
      `${key} is refused`,
      () =>
        proxy.logs.find(
          ({ event, err }) => event === 'admin.reload' && JSON.stringify(err).includes(key),
        ),
      { explain: () => proxy.output },
    );
    expect(JSON.stringify(refused['err'])).toContain('has group or world access (mode 0644)');
    chmodSync(file, 0o600);
  }
  const { ca } = tls.clientOptions;
  expect(await askAdmin(port, '/metrics', { ca, token: TOKEN })).toMatchObject({ status: 200 });
});

test('a port in use is an error at its key, and nothing is left running', async () => {
  const taken = await listeningBackend();
  const file = tls.write(
    'taken.toml',
    tls.config([{ backend: plainBackend(1) }]) + admin('', `127.0.0.1:${taken.port}`),
  );
  const { code, stderr } = await runProgram(['-c', file]);
  expect(code).toBe(2);
  expect(stderr).toMatch(
    /:\d+:\d+: admin\.bind_address: the admin server cannot listen on .*EADDRINUSE/,
  );
});

/** What a run of the program loaded: our files and packages, by V8's coverage, and Node's own modules. */
async function loadedBy(config: string): Promise<{ files: string[]; builtins: string[] }> {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-loaded-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const coverage = join(directory, 'coverage');
  mkdirSync(coverage);
  const file = join(directory, 'pgtls.toml');
  writeFileSync(file, config);
  const list = join(directory, 'builtins.json');
  const preload = `import { writeFileSync } from 'node:fs';
    process.on('exit', () => writeFileSync(${JSON.stringify(list)}, JSON.stringify(process.moduleLoadList)));`;
  const child = spawn(
    process.execPath,
    [`--import=data:text/javascript,${encodeURIComponent(preload)}`, PROGRAM, '-c', file],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_V8_COVERAGE: coverage } },
  );
  const exited = once(child, 'close');
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await until('it listens', () => output.includes('listener.bind'), { explain: () => output });
  child.kill('SIGTERM');
  await exited;
  await until('the list is written', () => existsSync(list));
  const reports = readdirSync(coverage).map((name) => readFileSync(join(coverage, name), 'utf8'));
  const urls = reports.flatMap((text) =>
    JSON.parse(text).result.map((one: { url: string }) => one.url),
  );
  return { files: urls, builtins: JSON.parse(readFileSync(list, 'utf8')) };
}

test('nothing of it is loaded unless it is wanted', async () => {
  const config = tls.config([{ backend: plainBackend(1) }]);
  const wanted = /prom-client/;
  const http = /^NativeModule (https?|crypto)$/;

  const without = await loadedBy(config);
  expect(without.files.filter((url) => /\/dist\/chunks\/proxy\d*\.js$/.test(url))).not.toEqual([]);
  expect(without.files.filter((url) => wanted.test(url))).toEqual([]);
  expect(without.builtins.filter((name) => http.test(name))).toEqual([]);

  const having = await loadedBy(config + admin());
  expect(having.files.filter((url) => wanted.test(url)).length).toBeGreaterThan(5);
  expect(having.builtins.filter((name) => http.test(name)).length).toBeGreaterThan(0);
});
