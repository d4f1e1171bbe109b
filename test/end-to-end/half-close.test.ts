/** One direction ends, the other goes on: half-close in both directions, over TLS and in plaintext; close_notify on the wire. */
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { FakeBackend, readStartup, welcome } from '../support/fake-backend.ts';
import { material } from '../support/material.ts';
import {
  openNegotiatedTls,
  openTcp,
  sessionStarted,
  startSession,
  startTls,
} from '../support/raw-client.ts';
import { proxyForTest, RunningProxy } from '../support/running-proxy.ts';
import { segmented } from '../support/segments.ts';
import { until } from '../support/until.ts';
import { dataRow, message, query, SSL_REQUEST, startupMessage } from '../support/wire.ts';

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const { plain, tls: tlsCluster } = material();
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'plain', backend: plainBackend(plain.port), listener: { sslmode: 'prefer' } },
      { name: 'tls', backend: { address: `127.0.0.1:${tlsCluster.port}`, sslmode: 'require' } },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

const HALF_OPEN = { allowHalfOpen: true };
const TLS_1_2 = { maxVersion: 'TLSv1.2' } as const;

/** Client legs: TLS 1.3, TLS 1.2, plaintext. Backend legs: plaintext, TLS. */
const LEGS: ReadonlyArray<readonly [string, () => Promise<ByteChannel>]> = [
  [
    'TLS 1.3 to a plaintext backend',
    () => openNegotiatedTls(proxy.port('plain'), tls.clientOptions),
  ],
  [
    'TLS 1.2 to a plaintext backend',
    () => openNegotiatedTls(proxy.port('plain'), { ...tls.clientOptions, ...TLS_1_2 }),
  ],
  ['plaintext to a plaintext backend', () => openTcp(proxy.port('plain'))],
  ['TLS 1.3 to a TLS backend', () => openNegotiatedTls(proxy.port('tls'), tls.clientOptions)],
];

describe.each(LEGS)('%s: a client that ends its sending direction', (_name, open) => {
  async function started(): Promise<ByteChannel> {
    const channel = await open();
    onTestFinished(() => channel.destroy());
    await startSession(channel);
    return channel;
  }

  test('right behind a query still gets the whole answer', async () => {
    const channel = await started();
    await channel.write(query("select repeat('x', 1000000)"));
    await channel.finishWriting();

    const messages = await channel.messagesUntil('C');
    const row = messages.find(({ type }) => type === 'D');
    expect(dataRow(row?.body ?? Buffer.alloc(2))[0]).toHaveLength(1_000_000);
  });

  test('right behind a COPY FROM STDIN still gets its CommandComplete', async () => {
    const channel = await started();
    await channel.write(query('create temporary table half_closed (line text)'));
    await channel.messagesUntil('Z');
    await channel.write(query('copy half_closed from stdin'));
    await channel.messagesUntil('G');
    const line = Buffer.from(`${'y'.repeat(999)}\n`);
    await channel.write(Buffer.concat(Array.from({ length: 5000 }, () => message('d', line))));
    await channel.write(message('c'));
    await channel.finishWriting();

    const messages = await channel.messagesUntil('C');
    expect(messages.at(-1)?.body.toString()).toBe('COPY 5000\0');
  });

  test('right behind its StartupMessage is logged in, and the log says that it left', async () => {
    const channel = await open();
    onTestFinished(() => channel.destroy());
    const { localPort } = channel.stream as unknown as { localPort: number };
    await channel.write(startupMessage({ user: 'trusted', database: 'postgres' }));
    await channel.finishWriting();

    await sessionStarted(channel);
    const line = await proxy.logged({ event: 'conn.close', client_addr: `127.0.0.1:${localPort}` });
    expect(line).toMatchObject({ level: 'info', phase: 'relay', reason: 'client_closed' });
    expect(line).not.toHaveProperty('fault_side');
  });
});

test('a backend sees the end of the client at once and may go on sending', async () => {
  const answer = message('N', Buffer.alloc(2_000_000, 'n'));
  const fake = await FakeBackend.listen(async (backend) => {
    await readStartup(backend);
    await backend.write(welcome());
    await once(backend.stream, 'end');
    await backend.write(answer);
    backend.stream.end();
  }, HALF_OPEN);
  const running = await proxyForTest(tls.config([{ backend: plainBackend(fake.port) }]));
  const channel: ByteChannel = await openNegotiatedTls(running.port(), tls.clientOptions);
  await startSession(channel);
  await channel.finishWriting();

  const { bytes, end } = await channel.rest();
  expect(bytes.equals(answer)).toBe(true);
  expect(end).toEqual({ kind: 'end' });
});

test('a client sees the end of the backend at once and may go on sending', async () => {
  const sent = Buffer.alloc(2_000_000, 's');
  let received: Buffer | null = null;
  const fake = await FakeBackend.listen(async (backend) => {
    await readStartup(backend);
    await backend.write(welcome());
    backend.stream.end();
    received = (await backend.rest()).bytes;
  }, HALF_OPEN);
  const running = await proxyForTest(
    tls.config([{ backend: plainBackend(fake.port), listener: { sslmode: 'prefer' } }]),
  );
  const channel: ByteChannel = await openTcp(running.port());
  await startSession(channel);
  expect((await channel.ended()).kind).toBe('end');
  await channel.write(message('d', sent));
  await channel.finishWriting();

  const arrived = await until('the backend has read everything', () => received);
  expect(arrived.equals(message('d', sent))).toBe(true);
});

test('a session that the backend ends is closed with close_notify', async () => {
  const fake = await FakeBackend.listen(async (backend) => {
    await readStartup(backend);
    await backend.write(welcome());
    backend.stream.end();
  });
  const running = await proxyForTest(tls.config([{ backend: plainBackend(fake.port) }]));
  const tcp = await openTcp(running.port());
  await tcp.write(SSL_REQUEST);
  await tcp.read(1);
  const socket = tcp.release();
  let received = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
  });
  const channel = await startTls(segmented(socket), { ...tls.clientOptions, ...TLS_1_2 });
  await startSession(channel);
  await channel.ended();

  expect(lastRecordType(received)).toBe(21);
});

/** The content type of the last TLS record; 21 = alert, which in an orderly end is close_notify (RFC 5246, 6.2.1). */
function lastRecordType(stream: Buffer): number | undefined {
  let type: number | undefined;
  for (let at = 0; at + 5 <= stream.length; at += 5 + stream.readUInt16BE(at + 3)) {
    type = stream[at];
  }
  return type;
}
