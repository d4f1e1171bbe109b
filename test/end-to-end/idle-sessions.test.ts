/** Two thousand idle sessions: all live at once, and afterwards descriptors and memory are back where they were. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { acceptAndIdle, FakeBackend } from '../support/fake-backend.ts';
import { openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { proxyForTest, type RunningProxy } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';

const SESSIONS = 2000;
const AT_ONCE = 50;
const MEGABYTE = 1 << 20;
/** What an allocator may keep for itself, and V8 for its own heap. */
const KEPT_BYTES = 12 * MEGABYTE;

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

async function openSessions(port: number, count: number): Promise<ByteChannel[]> {
  const sessions: ByteChannel[] = [];
  let begun = 0;
  async function openSome(): Promise<void> {
    while (begun < count) {
      begun += 1;
      const channel = await openNegotiatedTls(port, tls.clientOptions);
      await startSession(channel);
      sessions.push(channel);
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, openSome));
  return sessions;
}

async function closeSessions(
  proxy: RunningProxy,
  sessions: readonly ByteChannel[],
  descriptors: number,
) {
  for (const session of sessions) {
    session.destroy();
  }
  await proxy.descriptorsReturnTo(descriptors);
}

/** Threads, epoll instances and the like are there after the first sessions. */
async function descriptorsAfterWarmUp(proxy: RunningProxy): Promise<number> {
  const before = proxy.openDescriptors();
  await closeSessions(proxy, await openSessions(proxy.port(), 200), before + 50);
  await until('all sessions are reported', () => {
    const closed = proxy.logs.filter(({ event }) => event === 'conn.close');
    return closed.length >= 200;
  });
  return proxy.openDescriptors();
}

test('2,000 idle sessions leave no descriptor and no memory behind', {
  timeout: 240_000,
}, async () => {
  const backend = await FakeBackend.listen(acceptAndIdle);
  const config = tls.config([{ backend: plainBackend(backend.port) }], { log_level: 'info' });
  const proxy = await proxyForTest(config);
  const port = proxy.port();
  const descriptors = await descriptorsAfterWarmUp(proxy);
  const memory = proxy.residentBytes();

  const sessions = await openSessions(port, SESSIONS);
  const atPeak = { descriptors: proxy.openDescriptors(), memory: proxy.residentBytes() };
  await closeSessions(proxy, sessions, descriptors);
  await until('memory returns', () => proxy.residentBytes() <= memory + KEPT_BYTES, {
    explain: () =>
      `${memory} at the start, ${atPeak.memory} at the peak, ${proxy.residentBytes()} now`,
  });

  expect(atPeak.descriptors - descriptors).toBeGreaterThanOrEqual(2 * SESSIONS);
  console.log(
    `${SESSIONS} idle sessions: ${((atPeak.memory - memory) / SESSIONS / 1024).toFixed(1)} KiB each of the whole process; ` +
      `afterwards ${((proxy.residentBytes() - memory) / MEGABYTE).toFixed(1)} MiB above the start`,
  );
  expect(backend.failures).toEqual([]);
});
