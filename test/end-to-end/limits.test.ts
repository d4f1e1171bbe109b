/** Clients that take their time, and too few open files: what is bounded is bounded. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { openNegotiatedTls, openTcp } from '../support/raw-client.ts';
import { PROGRAM, proxyForTest, RunningProxy } from '../support/running-proxy.ts';
import { WAIT_MILLIS, within } from '../support/until.ts';
import { SSL_REQUEST, startupMessage } from '../support/wire.ts';

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const backend = plainBackend(material().plain.port);
  const listener = { proxy_protocol: 'require', trusted_proxies: ['127.0.0.1'] };
  proxy = await RunningProxy.start(
    tls.config(
      [
        { name: 'direct', backend },
        { name: 'balanced', backend, listener },
      ],
      {
        client_login_timeout: '2s',
      },
    ),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

/** Sends the bytes one at a time for as long as the connection lives. */
function dribble(channel: ByteChannel, bytes: Buffer): void {
  let sent = 0;
  const timer = setInterval(() => {
    channel.stream.write(bytes.subarray(sent, sent + 1));
    sent += 1;
    if (sent === bytes.length || channel.stream.destroyed) {
      clearInterval(timer);
    }
  }, 100);
  onTestFinished(() => clearInterval(timer));
}

/** How long the other side lets the connection live. */
async function lifetimeMillis(channel: ByteChannel): Promise<number> {
  const began = performance.now();
  await channel.rest();
  channel.destroy();
  return performance.now() - began;
}

describe('a client that takes its time is cut at client_login_timeout', () => {
  const LONG = startupMessage({ user: 'trusted', options: 'x'.repeat(9_000) });

  test.each<[string, () => Promise<ByteChannel>]>([
    ['and says nothing', () => openTcp(proxy.port('direct'))],
    [
      'and sends its PROXY header byte by byte',
      async () => {
        const channel = await openTcp(proxy.port('balanced'));
        dribble(channel, Buffer.from(`PROXY UNKNOWN ${'x'.repeat(80)}`));
        return channel;
      },
    ],
    [
      'and sends its ClientHello byte by byte',
      async () => {
        const channel = await openTcp(proxy.port('direct'));
        await channel.write(SSL_REQUEST);
        await channel.read(1);
        const start = Buffer.from('1603010200010001fc0303', 'hex');
        dribble(channel, Buffer.concat([start, Buffer.alloc(500)]));
        return channel;
      },
    ],
    [
      'and sends its StartupMessage byte by byte, inside TLS',
      async () => {
        const channel = await openNegotiatedTls(proxy.port('direct'), tls.clientOptions);
        dribble(channel, LONG);
        return channel;
      },
    ],
    [
      'and never answers the request for its password',
      async () => {
        const channel = await openNegotiatedTls(proxy.port('direct'), tls.clientOptions);
        await channel.write(startupMessage({ user: 'postgres' }));
        expect((await channel.message()).type).toBe('R');
        return channel;
      },
    ],
  ])('%s', async (_name, open) => {
    const millis = await lifetimeMillis(await open());
    expect(millis).toBeLessThan(20_000);
    const { reason } = await proxy.logged({ event: 'conn.close', reason: 'login_timeout' });
    expect(reason).toBe('login_timeout');
  });
});

test.skipIf(spawnSync('ss', ['-V']).status !== 0)(
  'listen_backlog is what the kernel is told',
  async () => {
    const listener = { listen_backlog: 37 };
    const own = await proxyForTest(tls.config([{ listener, backend: plainBackend(1) }]));
    const { stdout } = spawnSync('ss', ['-ltnH', `sport = :${own.port()}`], { encoding: 'utf8' });
    expect(stdout).toMatch(/^LISTEN +0 +37 /);
  },
);

test('max_client_conn is lowered to what the limit of open files allows, with a warning', async () => {
  const file = tls.write('few.toml', tls.config([{ backend: plainBackend(1) }]));
  const child = spawn(
    'sh',
    ['-c', 'ulimit -n 400 && exec "$@"', 'sh', process.execPath, PROGRAM, '-c', file],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const lines: Record<string, unknown>[] = [];
  const bound = new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(JSON.parse(line));
      if (lines.some(({ event }) => event === 'listener.bind')) {
        resolve();
      }
    });
  });
  await within(WAIT_MILLIS, 'pgtls starts', bound);
  const warning = lines.find(({ event }) => event === 'limits');
  expect(warning).toMatchObject({ level: 'warn', max_client_conn: 168, open_files: 400 });
  child.kill('SIGTERM');
  await once(child, 'exit');
});
