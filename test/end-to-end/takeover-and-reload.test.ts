/** A takeover while the configuration is reloaded, and a reload while a successor starts: one waits for the other. */
import { createPrivateKey } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { ListenerTls, plainBackend, type Table } from '../support/config.ts';
import { material } from '../support/material.ts';
import { quietPort } from '../support/quiet-port.ts';
import { openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { Generations } from '../support/successors.ts';
import { until } from '../support/until.ts';

let tls: ListenerTls;
let port = 0;
let path = '';
/** While `<who>.hold` is there, `<who>` does not get its passphrase; `<who>.waits` says that it has asked. */
let directory = '';

type Who = 'predecessor' | 'successor';

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-takeover-reload-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  port = await quietPort();
  path = join(directory, '.s.PGSQL.6432');
  lockKey();
  const ask = `w=predecessor; if [ -n "$PGTLS_TAKEOVER" ]; then w=successor; fi
cd '${directory}'
: > $w.waits
while [ -e $w.hold ]; do sleep 0.02; done
echo sesame
`;
  writeFileSync(join(directory, 'ask.sh'), ask);
});

/** Encrypts the key anew: who has read it before asks for the passphrase again. */
function lockKey(): void {
  const key = createPrivateKey(readFileSync(tls.server.keyFile)).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'sesame',
  });
  writeFileSync(join(directory, 'locked.key'), key, { mode: 0o600 });
}

/** A route by TCP whose key needs a passphrase, and with `isWider` one by a unix socket, too. */
function config(isWider: boolean, top: Table = {}): string {
  const backend = plainBackend(material().plain.port);
  const key = {
    ssl_key_file: join(directory, 'locked.key'),
    ssl_passphrase_command: `sh '${join(directory, 'ask.sh')}'`,
  };
  const tcp = { name: 'tcp', backend, listener: { bind_address: `127.0.0.1:${port}`, ...key } };
  const unix = { name: 'unix', backend, listener: { bind_address: `unix:${path}` } };
  return tls.config(isWider ? [tcp, unix] : [tcp], { log_level: 'info', ...top });
}

function hold(who: Who): void {
  writeFileSync(join(directory, `${who}.hold`), '');
  rmSync(join(directory, `${who}.waits`), { force: true });
}

function letGo(who: Who): void {
  rmSync(join(directory, `${who}.hold`));
}

async function waits(who: Who): Promise<void> {
  await until(`the ${who} asks for its passphrase`, () =>
    existsSync(join(directory, `${who}.waits`)),
  );
}

async function login(to: number | { path: string }): Promise<void> {
  const channel = await openNegotiatedTls(to, tls.clientOptions);
  await startSession(channel);
  channel.destroy();
}

test('a takeover waits for the reload under way, and passes on what that has bound', async () => {
  const top = { reload_on_change: false };
  const generations = await Generations.start(config(false, top));
  const { proxy } = generations;
  hold('predecessor');
  hold('successor');
  lockKey();
  proxy.rewrite(config(true, top));
  proxy.signal('SIGHUP');
  await waits('predecessor');
  const taken = generations.next();
  letGo('predecessor');
  await proxy.logged({ event: 'config.reload', result: 'success' });
  await waits('successor');
  letGo('successor');
  await taken;
  await login(port);
  await login({ path });
  expect(proxy.find({ event: 'takeover', result: 'failure' })).toBe(null);
});

test('a reload waits while a successor starts, which sees the change itself once it has taken over', async () => {
  const generations = await Generations.start(config(false));
  const { proxy } = generations;
  hold('successor');
  const taken = generations.next();
  await waits('successor');
  // The successor has read the file by now, and is to notice by itself that it has changed since.
  proxy.rewrite(config(true));
  proxy.signal('SIGHUP');
  expect(proxy.find({ event: 'config.reload' })).toBe(null);
  letGo('successor');
  await taken;
  await proxy.logged({ event: 'config.reload', result: 'success', trigger: 'change' });
  await login({ path });
  await until('the predecessor has ended', () => generations.endedCount === 1);
  await login({ path });
  expect(proxy.find({ event: 'config.reload', result: 'failure' })).toBe(null);
});

test('a reload that waited is made when the successor fails', async () => {
  const top = { reload_on_change: false };
  const generations = await Generations.start(config(false, top));
  const { proxy } = generations;
  hold('successor');
  proxy.signal('SIGUSR2');
  await waits('successor');
  const starting = await proxy.logged({ event: 'takeover', msg: 'a successor is starting' });
  proxy.rewrite(config(true, top));
  proxy.signal('SIGHUP');
  process.kill(Number(starting['successor_pid']), 'SIGKILL');
  await proxy.logged({ event: 'takeover', result: 'failure' });
  await proxy.logged({ event: 'config.reload', result: 'success', trigger: 'request' });
  await login({ path });
  letGo('successor');
  await generations.next();
  await login({ path });
});
