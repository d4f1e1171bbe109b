/** SIGTERM and SIGINT: stop accepting, let sessions finish, cut the rest with 57P01, exit 0. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend, type Table } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectDirectly } from '../support/pg-client.ts';
import { ask, openNegotiatedTls, openTcp, readError, startSession } from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';
import { query, SSL_REQUEST } from '../support/wire.ts';

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

/** A proxy that the test itself ends. */
async function started(top: Table = {}): Promise<RunningProxy> {
  const proxy = await RunningProxy.start(
    tls.config([{ backend: plainBackend(material().plain.port) }], top),
  );
  onTestFinished(() => proxy.kill());
  return proxy;
}

async function session(proxy: RunningProxy): Promise<ByteChannel> {
  const channel = await openNegotiatedTls(proxy.port(), tls.clientOptions);
  onTestFinished(() => channel.destroy());
  await startSession(channel);
  return channel;
}

async function refusesConnections(proxy: RunningProxy): Promise<void> {
  const port = proxy.port();
  await until('new connections are refused', async () => {
    try {
      (await openTcp(port)).destroy();
      return false;
    } catch {
      return true;
    }
  });
}

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  test('ends an idle program at once with exit code 0', async () => {
    const proxy = await started({ shutdown_timeout: '5m' });
    proxy.signal(signal);
    expect(await proxy.exited()).toEqual({ code: 0, signal: null });
    expect(proxy.find({ event: 'shutdown' })).not.toBeNull();
  });

  test('refuses new connections and lets a session finish its work', async () => {
    const proxy = await started({ shutdown_timeout: '5m' });
    const channel = await session(proxy);
    await channel.write(query('select pg_sleep(0.5), 42'));
    proxy.signal(signal);
    await refusesConnections(proxy);

    const answer = await channel.messagesUntil('Z');
    expect(answer.map(({ type }) => type)).toEqual(['T', 'D', 'C', 'Z']);
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
    expect(proxy.hasExited).toBe(false);

    channel.destroy();
    expect(await proxy.exited()).toEqual({ code: 0, signal: null });
  });
});

test('a session that outlives shutdown_timeout is cut with 57P01 inside TLS', async () => {
  const proxy = await started({ shutdown_timeout: '500ms' });
  const channel = await session(proxy);
  proxy.signal('SIGTERM');

  expect(await readError(channel)).toMatchObject({ S: 'FATAL', C: '57P01' });
  expect(await channel.ended()).toEqual({ kind: 'end' });
  expect(await proxy.exited()).toEqual({ code: 0, signal: null });
  expect(proxy.find({ event: 'conn.close', reason: 'drained' })).not.toBeNull();
});

test('a session in the middle of a long query is cut as well', async () => {
  const proxy = await started({ shutdown_timeout: '500ms' });
  const channel = await session(proxy);
  await channel.write(query('select pg_sleep(300)'));
  proxy.signal('SIGTERM');

  await channel.rest();
  expect(await proxy.exited()).toEqual({ code: 0, signal: null });
});

test('a statement that is cut at the end of the grace is cancelled at the backend, and pgtls ends no later for it', async () => {
  const proxy = await started({ shutdown_timeout: '100ms' });
  const observer = await connectDirectly(material().plain);
  const marker = `cut-${process.pid}-${Date.now()}`;
  const running = async () => {
    const found = await observer.query(
      "select count(*)::int as count from pg_stat_activity where query like '%' || $1 || '%' and pid <> pg_backend_pid() and state = 'active'",
      [marker],
    );
    return found.rows[0].count as number;
  };
  const channels = await Promise.all(Array.from({ length: 8 }, () => session(proxy)));
  for (const channel of channels) {
    await channel.write(query(`select pg_sleep(600) /* ${marker} */`));
  }
  await until('the statements run', async () => (await running()) === channels.length);
  proxy.signal('SIGTERM');
  for (const channel of channels) {
    expect(await readError(channel)).toMatchObject({
      C: '57P01',
      H: expect.stringContaining('is being cancelled'),
    });
    channel.destroy();
  }
  expect(await proxy.exited()).toEqual({ code: 0, signal: null });
  await until('no statement is left', async () => (await running()) === 0);
});

test('a connection that still negotiates is told 57P01', async () => {
  const proxy = await started({ shutdown_timeout: '5m' });
  const channel: ByteChannel = await openTcp(proxy.port());
  await channel.write(SSL_REQUEST.subarray(0, 4));
  await proxy.logged({ event: 'conn.accept' });
  proxy.signal('SIGTERM');

  expect(await readError(channel)).toMatchObject({ S: 'FATAL', C: '57P01' });
  expect(await proxy.exited()).toEqual({ code: 0, signal: null });
});

test('a second signal ends the program without waiting', async () => {
  const proxy = await started({ shutdown_timeout: '5m' });
  const channel = await session(proxy);
  proxy.signal('SIGTERM');
  await refusesConnections(proxy);
  proxy.signal('SIGTERM');

  expect((await proxy.exited()).code).not.toBeNull();
  await channel.rest();
});
