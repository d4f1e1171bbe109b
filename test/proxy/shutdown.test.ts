/** Ending a proxy: gracefully, at once, and both together. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { config, proxyConfig } from '../data-plane/configuration.ts';
import { RawClient } from '../listener/fixture.ts';
import { errorFields } from '../negotiation/packets.ts';
import { type RunningFake, startFake } from './fixture.ts';

const running: RunningFake[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map(({ proxy }) => proxy.close()));
});

async function start(shutdownDelayMillis = 0): Promise<RunningFake> {
  const fake = await startFake(config([proxyConfig('a')], { shutdownDelayMillis }));
  running.push(fake);
  return fake;
}

function connect(fake: RunningFake): RawClient {
  return new RawClient(fake.proxy.addresses[0]?.address ?? '');
}

async function isAccepting(fake: RunningFake): Promise<boolean> {
  const client = connect(fake);
  const answers = await new Promise<boolean>((resolve) => {
    client.socket.once('connect', () => resolve(true));
    client.socket.once('error', () => resolve(false));
  });
  client.socket.destroy();
  return answers;
}

describe('a drain', () => {
  it('stops accepting, waits for the sessions, then closes', async () => {
    const fake = await start();
    fake.dataPlane.liveSessions = 2;
    const drained = fake.proxy.drain();
    await vi.waitFor(() => expect(fake.dataPlane.calls).toEqual(['drain 60000']));
    expect(await isAccepting(fake)).toBe(false);
    fake.dataPlane.finishDrain({ drained: 1, cut: 1 });
    await drained;
    expect(fake.dataPlane.calls).toEqual(['drain 60000', 'close']);
    expect(fake.log.filter(({ event }) => event === 'shutdown')).toMatchObject([
      { msg: 'draining', grace_ms: 60_000 },
      { msg: 'drained', drained: 1, cut: 1 },
      { msg: 'closed' },
    ]);
  });

  it('tells connections that still negotiate', async () => {
    const fake = await start();
    const client = connect(fake);
    await vi.waitFor(() => expect(fake.proxy.snapshot().negotiating).toBe(1));
    await fake.proxy.drain();
    await client.closed;
    expect(errorFields(client.received)).toMatchObject({ C: '57P01' });
  });

  it('keeps accepting during the delay', async () => {
    const fake = await start(200);
    const drained = fake.proxy.drain();
    expect(await isAccepting(fake)).toBe(true);
    await drained;
    expect(await isAccepting(fake)).toBe(false);
  });

  it('is the same one however often it is asked for', async () => {
    const fake = await start();
    await Promise.all([fake.proxy.drain(), fake.proxy.drain()]);
    await fake.proxy.drain();
    await fake.proxy.close();
    expect(fake.dataPlane.calls).toEqual(['drain 60000', 'close']);
  });

  it('closes also when the data plane fails to drain', async () => {
    const fake = await start();
    vi.spyOn(fake.dataPlane, 'drain').mockRejectedValue(new Error('broken'));
    await fake.proxy.drain();
    expect(fake.dataPlane.calls).toEqual(['close']);
    expect(fake.log).toContainEqual(expect.objectContaining({ level: 'error', event: 'shutdown' }));
  });
});

describe('a close', () => {
  it('cuts the sessions and closes', async () => {
    const fake = await start();
    fake.dataPlane.liveSessions = 2;
    await fake.proxy.close();
    expect(fake.dataPlane.calls).toEqual(['drain 0', 'close']);
    expect(await isAccepting(fake)).toBe(false);
  });

  it('in the middle of a drain ends both at once', async () => {
    const fake = await start();
    fake.dataPlane.liveSessions = 2;
    const drained = fake.proxy.drain();
    await vi.waitFor(() => expect(fake.dataPlane.calls).toEqual(['drain 60000']));
    await fake.proxy.close();
    await drained;
    // Cut before the close, which blocks the event loop for as long as sessions live.
    expect(fake.dataPlane.calls).toEqual(['drain 60000', 'drain 0', 'close']);
  });

  it('in the middle of the delay ends both at once', async () => {
    const fake = await start(3_600_000);
    const drained = fake.proxy.drain();
    await fake.proxy.close();
    await drained;
    expect(fake.dataPlane.calls).toEqual(['drain 0', 'close']);
  });

  it('is idempotent', async () => {
    const fake = await start();
    await Promise.all([fake.proxy.close(), fake.proxy.close()]);
    await fake.proxy.drain();
    expect(fake.dataPlane.calls).toEqual(['drain 0', 'close']);
  });
});
