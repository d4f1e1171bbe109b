/** pgtls needs no privilege: as an ordinary user, without any capability, it serves TLS, reloads and hands over. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  canReach,
  createTemporaryDirectory,
  findServerIdentity,
  type ServerIdentity,
} from '../../src/cli/demo/server-identity.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { ask, openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { PROGRAM } from '../support/running-proxy.ts';
import { until, WAIT_MILLIS, within } from '../support/until.ts';

const USER = findServerIdentity();
/** Gives everything up that root has. */
const SETPRIV = ['--clear-groups', '--inh-caps=-all', '--bounding-set=-all', '--no-new-privs'];

/** Why it cannot be tried here, null = it can. */
function obstacle({ ids, user }: ServerIdentity): string | null {
  if (process.platform !== 'linux') {
    return 'capabilities are of Linux';
  }
  if (ids === null) {
    return null;
  }
  if (spawnSync('setpriv', ['--version']).status !== 0) {
    return 'setpriv is not installed';
  }
  return canReach(USER, process.execPath) && canRead(ids, PROGRAM)
    ? null
    : `${user} cannot reach the program`;
}

function canRead(ids: NonNullable<ServerIdentity['ids']>, path: string): boolean {
  return spawnSync('/bin/sh', ['-c', 'test -r "$0"', path], { ...ids, cwd: '/' }).status === 0;
}

const OBSTACLE = obstacle(USER);

/** The files of a listener in a directory of the user's own. */
function filesOfUser(tls: ListenerTls): { certFile: string; keyFile: string; write: Write } {
  const directory = createTemporaryDirectory('pgtls-no-privilege-', USER);
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const write: Write = (name, text, mode) => {
    const file = join(directory, name);
    writeFileSync(file, text, { mode });
    chmodSync(file, mode);
    if (USER.ids !== null) {
      chownSync(file, USER.ids.uid, USER.ids.gid);
    }
    return file;
  };
  const { certPem, keyPem } = tls.server;
  return {
    certFile: write('tls.crt', certPem, 0o644),
    keyFile: write('tls.key', keyPem, 0o600),
    write,
  };
}

type Write = (name: string, text: string, mode: number) => string;

/** Starts the program as the user; its log as it comes. */
function startAsUser(configFile: string): { child: ChildProcess; log: () => string } {
  const program = [process.execPath, PROGRAM, '-c', configFile];
  const ids = USER.ids === null ? [] : [`--reuid=${USER.ids.uid}`, `--regid=${USER.ids.gid}`];
  const [command = '', ...rest] =
    USER.ids === null ? program : ['setpriv', ...ids, ...SETPRIV, ...program];
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
  onTestFinished(() => void child.kill('SIGKILL'));
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  return { child, log: () => text };
}

/** What the kernel says of a process. */
function statusOf(pid: number | undefined): Readonly<Record<string, string>> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/:\s+/, 2)));
}

async function serves(port: number, tls: ListenerTls): Promise<void> {
  const channel = await openNegotiatedTls(port, tls.clientOptions);
  await startSession(channel);
  expect(await ask(channel, 'select 1')).toEqual([['1']]);
  channel.destroy();
}

test.skipIf(OBSTACLE !== null)(
  `an ordinary user without capabilities serves TLS, reloads and hands over${OBSTACLE === null ? '' : ` (${OBSTACLE})`}`,
  async () => {
    const tls = await ListenerTls.create();
    onTestFinished(() => tls.remove());
    const { certFile, keyFile, write } = filesOfUser(tls);
    const listener = { ssl_cert_file: certFile, ssl_key_file: keyFile };
    const config = tls.config([{ listener, backend: plainBackend(material().plain.port) }]);
    const { child, log } = startAsUser(write('pgtls.toml', config, 0o600));
    const port = await until(
      'it listens',
      () => /"event":"listener.bind".*?"listener_addr":"127\.0\.0\.1:(\d+)"/.exec(log())?.[1],
      { explain: log },
    );
    const { CapEff, CapPrm, CapBnd, NoNewPrivs, Uid } = statusOf(child.pid);
    expect(Uid?.split('\t')).not.toContain('0');
    expect(CapEff).toMatch(/^0+$/);
    expect(CapPrm).toMatch(/^0+$/);
    if (USER.ids !== null) {
      expect(CapBnd).toMatch(/^0+$/);
      expect(NoNewPrivs).toBe('1');
    }
    await serves(Number(port), tls);
    child.kill('SIGHUP');
    await until('it reloads', () => /"event":"config.reload","result":"success"/.test(log()), {
      explain: log,
    });
    child.kill('SIGUSR2');
    const ended = once(child, 'exit');
    const found = await until(
      'a successor takes over',
      () => /"event":"takeover","successor_pid":(\d+),"result":"success"/.exec(log())?.[1],
      { explain: log },
    );
    const successor = Number(found);
    onTestFinished(() => {
      try {
        process.kill(successor, 'SIGKILL');
      } catch {
        // It has ended.
      }
    });
    await serves(Number(port), tls);
    expect(await within(WAIT_MILLIS, 'the predecessor ends', ended)).toEqual([0, null]);
    process.kill(successor, 'SIGTERM');
    await until('the successor ends', () => log().match(/"msg":"closed"/g)?.length === 2, {
      explain: log,
    });
  },
);
