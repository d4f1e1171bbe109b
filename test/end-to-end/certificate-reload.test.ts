/** Certificates that change on disk while sessions run: served within two seconds, no session lost, never half a pair. */
import { createPrivateKey } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Identity, LOCAL_NAMES } from '../support/certificates.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectPg } from '../support/pg-client.ts';
import { openNegotiatedTls } from '../support/raw-client.ts';
import { proxyForTest, type RunningProxy } from '../support/running-proxy.ts';
import { until, WAIT_MILLIS } from '../support/until.ts';

/** What is promised on a machine at rest is two seconds; a test may run on a busy one. */
const SERVED_MILLIS = WAIT_MILLIS;

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

function issue(commonName: string): Promise<Identity> {
  return tls.authority.issue({ commonName, names: LOCAL_NAMES });
}

/** A volume as the kubelet lays it out, holding `identity`. */
function volume(name: string, identity: Identity): string {
  const path = join(tls.directory, name);
  mkdirSync(path);
  fill(path, identity);
  symlinkSync('..data/tls.crt', join(path, 'tls.crt'));
  symlinkSync('..data/tls.key', join(path, 'tls.key'));
  return path;
}

/** The same, its key encrypted. */
function locked({ certPem, keyPem }: Identity): Identity {
  const key = createPrivateKey(keyPem).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'open sesame',
  });
  return { certPem, keyPem: String(key) };
}

/** A passphrase command that hangs as long as the file `hold` is there; it writes its process id to `begun` then. */
function holdableCommand(name: string) {
  const directory = join(tls.directory, `${name}-command`);
  mkdirSync(directory);
  const [hold, begun] = [join(directory, 'hold'), join(directory, 'begun')];
  const hang = `if [ -e ${hold} ]; then echo $$ > ${begun}; fi; while [ -e ${hold} ]; do sleep 0.05; done`;
  const pid = () => (existsSync(begun) ? Number(readFileSync(begun, 'utf8')) || null : null);
  return { command: `${hang}; echo open sesame`, hold, pid };
}

let versions = 0;

/** Writes a new version beside the old one, and exchanges the link. */
function fill(path: string, identity: Identity): void {
  const version = `..version-${++versions}`;
  mkdirSync(join(path, version));
  writeFileSync(join(path, version, 'tls.crt'), identity.certPem);
  writeFileSync(join(path, version, 'tls.key'), identity.keyPem, { mode: 0o600 });
  symlinkSync(version, join(path, '..data_tmp'));
  renameSync(join(path, '..data_tmp'), join(path, '..data'));
}

function start(
  path: string,
  top: Record<string, boolean> = {},
  more: Record<string, string> = {},
): Promise<RunningProxy> {
  const listener = {
    ...more,
    ssl_cert_file: join(path, 'tls.crt'),
    ssl_key_file: join(path, 'tls.key'),
  };
  return proxyForTest(
    tls.config([{ backend: plainBackend(material().plain.port), listener }], top),
  );
}

/** The CN of the certificate that a new connection is shown. */
async function served(proxy: RunningProxy): Promise<string> {
  const channel = await openNegotiatedTls(proxy.port(), tls.clientOptions);
  try {
    const { subject } = channel.stream.getPeerCertificate();
    return String(subject.CN);
  } finally {
    channel.destroy();
  }
}

async function untilServed(proxy: RunningProxy, commonName: string): Promise<void> {
  await until(
    `${commonName} is served`,
    async () => ((await served(proxy)) === commonName ? true : null),
    { millis: SERVED_MILLIS, explain: () => proxy.output },
  );
}

test('a Kubernetes volume is rotated again and again under load without a dropped session', async () => {
  const path = volume('rotated', await issue('first'));
  const proxy = await start(path);
  const session = await connectPg({ port: proxy.port(), ssl: tls.clientOptions });
  let isRunning = true;
  let queries = 0;
  const load = (async () => {
    while (isRunning) {
      await session.query('select 1');
      queries += 1;
    }
  })();
  for (const name of ['second', 'third', 'fourth']) {
    fill(path, await issue(name));
    await untilServed(proxy, name);
  }
  isRunning = false;
  await load;
  expect(queries).toBeGreaterThan(10);
  const failures = proxy.logs.filter(({ result }) => result === 'failure');
  expect(failures).toEqual([]);
});

test('half a pair never wins, is told once, and the whole pair then does', async () => {
  const old = await issue('old');
  const fresh = await issue('fresh');
  const directory = join(tls.directory, 'halves');
  mkdirSync(directory);
  const [cert, key] = [join(directory, 'tls.crt'), join(directory, 'tls.key')];
  writeFileSync(cert, old.certPem);
  writeFileSync(key, old.keyPem, { mode: 0o600 });
  const proxy = await start(directory);
  // As certbot and editors do it: each file replaced by rename, one after the other.
  writeFileSync(`${cert}.new`, fresh.certPem);
  renameSync(`${cert}.new`, cert);
  const failure = await proxy.logged({ event: 'cert.reload', result: 'failure' });
  expect(failure).toMatchObject({
    trigger: 'change',
    err: { type: 'PgtlsError', code: 'PGTLS_TLS_CONFIG_INVALID', message: expect.any(String) },
  });
  expect(await served(proxy)).toBe('old');
  // Half of the key, written in place.
  writeFileSync(key, fresh.keyPem.slice(0, 80));
  await until(
    'the cut key is told, too',
    () => proxy.logs.filter(({ result }) => result === 'failure').length === 2 || null,
    { millis: SERVED_MILLIS, explain: () => proxy.output },
  );
  expect(await served(proxy)).toBe('old');
  writeFileSync(key, fresh.keyPem);
  await untilServed(proxy, 'fresh');
  expect(proxy.logs.filter(({ result }) => result === 'failure')).toHaveLength(2);
});

test('with reload_on_change = false only SIGHUP reads the files again', async () => {
  const path = volume('still', await issue('before'));
  const proxy = await start(path, { reload_on_change: false });
  fill(path, await issue('after'));
  expect(await served(proxy)).toBe('before');
  proxy.signal('SIGHUP');
  await proxy.logged({ event: 'cert.reload', result: 'success', trigger: 'request' });
  expect(await served(proxy)).toBe('after');
});

test('while a passphrase command takes its time, clients connect and are answered, and then get the new certificate', async () => {
  const { command, hold, pid } = holdableCommand('slow');
  const path = volume('slow', locked(await issue('quick')));
  const proxy = await start(path, {}, { ssl_passphrase_command: command });
  const session = await connectPg({ port: proxy.port(), ssl: tls.clientOptions });
  writeFileSync(hold, '');
  fill(path, locked(await issue('slow')));
  await until('the command was started', pid, { explain: () => proxy.output });
  proxy.signal('SIGHUP');
  for (let count = 0; count < 5; count += 1) {
    expect(await served(proxy)).toBe('quick');
    const other = await connectPg({ port: proxy.port(), ssl: tls.clientOptions });
    await Promise.all([session.query('select 1'), other.query('select 1')]);
    await other.end();
  }
  expect(proxy.find({ event: 'cert.reload' })).toBe(null);
  rmSync(hold);
  await untilServed(proxy, 'slow');
  // What was asked for meanwhile is done afterwards.
  await proxy.logged({ event: 'cert.reload', result: 'success', trigger: 'request' });
  await session.query('select 1');
});

test('a passphrase command that hangs keeps nobody from ending pgtls, and is ended with it', async () => {
  const { command, hold, pid } = holdableCommand('hung');
  const path = volume('hung', locked(await issue('before')));
  const proxy = await start(path, {}, { ssl_passphrase_command: command });
  writeFileSync(hold, '');
  fill(path, locked(await issue('never')));
  const running = await until('the command was started', pid, { explain: () => proxy.output });
  const begun = performance.now();
  proxy.signal('SIGTERM');
  expect(await proxy.exited()).toEqual({ code: 0, signal: null });
  // It would be ended after ten seconds otherwise.
  expect(performance.now() - begun).toBeLessThan(8_000);
  expect(existsSync(`/proc/${running}`)).toBe(false);
  expect(proxy.find({ event: 'cert.reload' })).toBe(null);
});
