/** The hand-off from Node to Rust loses no byte, wherever in the stream it falls. */
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import {
  ask,
  openNegotiatedTls,
  openTcp,
  sessionStarted,
  startSession,
  startTls,
} from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { BYTE_BY_BYTE, segmented } from '../support/segments.ts';
import { GSSENC_REQUEST, SSL_REQUEST, startupMessage } from '../support/wire.ts';

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const backend = plainBackend(material().plain.port);
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'require', backend },
      { name: 'prefer', backend, listener: { sslmode: 'prefer' } },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

/** A connection on which `S` has been read. */
async function answeredWithS(): Promise<ByteChannel<import('node:net').Socket>> {
  const channel = await openTcp(proxy.port('require'));
  onTestFinished(() => channel.destroy());
  await channel.write(SSL_REQUEST);
  expect((await channel.read(1)).toString()).toBe('S');
  return channel;
}

async function expectWorkingSession(channel: ByteChannel): Promise<void> {
  await startSession(channel);
  expect(await ask(channel, "select repeat('ab', 100000)")).toEqual([['ab'.repeat(100_000)]]);
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('with %s', (version) => {
  const versions = { minVersion: version, maxVersion: version };

  test('a ClientHello right behind the S', async () => {
    const channel = await answeredWithS();
    const session = await startTls(channel.release(), { ...tls.clientOptions, ...versions });
    await expectWorkingSession(session);
  });

  test('a ClientHello long after the hand-off', async () => {
    const channel = await answeredWithS();
    const other = await openNegotiatedTls(proxy.port('require'), tls.clientOptions);
    await expectWorkingSession(other);
    other.destroy();

    const session = await startTls(channel.release(), { ...tls.clientOptions, ...versions });
    await expectWorkingSession(session);
  });

  test('a ClientHello, and all that follows, byte by byte', async () => {
    const channel = await answeredWithS();
    const stream = segmented(channel.release(), { size: BYTE_BY_BYTE });
    const session = await startTls(stream, { ...tls.clientOptions, ...versions });
    await expectWorkingSession(session);
  });

  test('a StartupMessage in the same segment as the Finished', async () => {
    const channel = await answeredWithS();
    const socket = connectTls({ ...tls.clientOptions, ...versions, socket: channel.release() });
    socket.write(startupMessage({ user: 'trusted', database: 'postgres' }));
    const session = new ByteChannel(socket);

    await sessionStarted(session);
    expect(await ask(session, 'select 1')).toEqual([['1']]);
  });
});

test('an SSLRequest byte by byte', async () => {
  const channel = await openTcp(proxy.port('require'));
  for (const byte of SSL_REQUEST) {
    await channel.write(Buffer.from([byte]));
  }
  expect((await channel.read(1)).toString()).toBe('S');
  await expectWorkingSession(await startTls(channel.release(), tls.clientOptions));
});

test('a GSSENCRequest is answered N, and the SSLRequest behind it S', async () => {
  const channel = await openTcp(proxy.port('require'));
  await channel.write(GSSENC_REQUEST);
  expect((await channel.read(1)).toString()).toBe('N');
  await channel.write(SSL_REQUEST);
  expect((await channel.read(1)).toString()).toBe('S');
  await expectWorkingSession(await startTls(channel.release(), tls.clientOptions));
});

test('a plaintext StartupMessage where TLS is only preferred, whole', async () => {
  const channel = await openTcp(proxy.port('prefer'));
  await expectWorkingSession(channel);
});

test('a plaintext StartupMessage where TLS is only preferred, byte by byte', async () => {
  const channel = await openTcp(proxy.port('prefer'));
  for (const byte of startupMessage({ user: 'trusted', database: 'postgres' })) {
    await channel.write(Buffer.from([byte]));
  }
  await sessionStarted(channel);
  expect(await ask(channel, 'select 1')).toEqual([['1']]);
});

test('a hundred sessions at once, each cut into segments of random sizes', async () => {
  const numbers = Array.from({ length: 100 }, (_, n) => n);
  const answers = await Promise.all(numbers.map(randomlyCutSession));
  expect(answers).toEqual(numbers.map((n) => [[String(n)]]));
});

async function randomlyCutSession(n: number): Promise<Array<Array<string | null>>> {
  const random = pseudoRandom(n + 1);
  const channel = await openTcp(proxy.port('require'));
  const stream = segmented(channel.release(), { size: () => 1 + Math.floor(random() * 400) });
  const negotiation = new ByteChannel(stream);
  await negotiation.write(SSL_REQUEST);
  await negotiation.read(1);
  const session = await startTls(negotiation.release(), tls.clientOptions);
  await startSession(session);
  const rows = await ask(session, `select ${n}`);
  session.destroy();
  return rows;
}

/** mulberry32: the same sequence for the same seed. */
function pseudoRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
