/** Unix sockets on either side: a local backend without TCP, a listener for local clients. */
import { lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { ask, openNegotiatedTls, openTcp, startSession } from '../support/raw-client.ts';
import { proxyForTest, RunningProxy } from '../support/running-proxy.ts';

let tls: ListenerTls;
let directory = '';
let socketPath = '';

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pgtls-e2e-sock-'));
  socketPath = join(directory, '.s.PGSQL.6432');
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
});

test('a backend behind a unix socket is served over TLS', async () => {
  const backend = { address: `unix:${material().plain.socketPath}`, sslmode: 'disable' };
  const proxy = await proxyForTest(tls.config([{ backend }]));
  const channel: ByteChannel = await openNegotiatedTls(proxy.port(), tls.clientOptions);
  await startSession(channel);

  expect(await ask(channel, 'select inet_client_addr() is null')).toEqual([['t']]);
  channel.destroy();
});

function listenOnSocket(listener: Record<string, string> = {}): string {
  const bind = { bind_address: `unix:${socketPath}`, sslmode: 'prefer', ...listener };
  return tls.config([{ backend: plainBackend(material().plain.port), listener: bind }]);
}

describe('a listener on a unix socket', () => {
  test('serves plaintext and TLS, and removes its file at the end', async () => {
    const proxy = await RunningProxy.start(listenOnSocket());
    try {
      for (const open of [
        () => openTcp({ path: socketPath }),
        () => openNegotiatedTls({ path: socketPath }, tls.clientOptions),
      ]) {
        const channel: ByteChannel = await open();
        await startSession(channel);
        expect(await ask(channel, 'select 1')).toEqual([['1']]);
        channel.destroy();
      }
    } finally {
      await proxy.stop();
    }
    expect(lstatSync(socketPath, { throwIfNoEntry: false })).toBeUndefined();
  });

  test('has the mode that was asked for', async () => {
    await proxyForTest(listenOnSocket({ unix_socket_mode: '0600' }));
    expect(lstatSync(socketPath).mode & 0o777).toBe(0o600);
  });

  test('replaces the stale socket file that a killed process left behind', async () => {
    const first = await RunningProxy.start(listenOnSocket());
    await first.kill();
    expect(lstatSync(socketPath).isSocket()).toBe(true);

    await proxyForTest(listenOnSocket());
    const channel: ByteChannel = await openTcp({ path: socketPath });
    await startSession(channel);
    channel.destroy();
  });

  test('does not take a socket that somebody listens on', async () => {
    const owner = createServer().listen(socketPath);
    onTestFinished(() => {
      owner.close();
    });
    await expect(RunningProxy.start(listenOnSocket())).rejects.toThrow(/\.s\.PGSQL\.6432/);
  });

  test('does not replace a file that is no socket', async () => {
    writeFileSync(socketPath, 'precious');
    await expect(RunningProxy.start(listenOnSocket())).rejects.toThrow(/\.s\.PGSQL\.6432/);
    expect(lstatSync(socketPath).isFile()).toBe(true);
  });
});
