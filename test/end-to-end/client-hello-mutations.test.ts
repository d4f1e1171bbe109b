/**
 * A ClientHello of node:tls with a few bytes changed, sent again and again: the program lives on, keeps its books (one
 * conn.close for each conn.accept), and serves the next client. The seed is in every failure; PGTLS_SEED repeats it.
 */
import { once } from 'node:events';
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { connectionBooks } from '../support/log-books.ts';
import { material } from '../support/material.ts';
import { ask, openDirectTls, openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { within } from '../support/until.ts';
import { SSL_REQUEST } from '../support/wire.ts';

const SEED = Number(process.env['PGTLS_SEED'] ?? Date.now() % 2 ** 31);
const BUDGET_MILLIS = 8_000;
const MOST = 10_000;
const AT_A_TIME = 8;

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const backend = plainBackend(material().plain.port);
  const routes = ['negotiated', 'direct'].map((name) => ({ name, backend }));
  proxy = await RunningProxy.start(tls.config(routes, { client_login_timeout: '5s' }));
});

afterAll(async () => {
  await proxy?.stop();
  tls?.remove();
});

/** The first bytes that node:tls sends. */
async function capturedHello(version: 'TLSv1.2' | 'TLSv1.3'): Promise<Buffer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connectTls({
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ALPNProtocols: ['postgresql'],
    minVersion: version,
    maxVersion: version,
  });
  client.on('error', () => undefined);
  try {
    const [socket] = await once(server, 'connection');
    const [bytes] = await once(socket, 'data');
    socket.destroy();
    return bytes as Buffer;
  } finally {
    client.destroy();
    server.close();
  }
}

/** Mulberry32: small, seeded, the same everywhere. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Changes, removes, repeats or cuts some bytes; the first byte stays TLS's, since other ones never come so far. */
function mutated(hello: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(hello);
  for (let changes = 1 + random(4); changes > 0; changes -= 1) {
    const at = 1 + random(Math.max(1, bytes.length - 1));
    const count = 1 + random(16);
    switch (random(6)) {
      case 0:
        bytes[at] = random(256);
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + count)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at + count), bytes.subarray(at)]);
        break;
      case 4:
        bytes.fill(random(2) * 255, at, Math.min(at + count, bytes.length));
        break;
      default:
        bytes = bytes.subarray(0, Math.max(2, at));
    }
  }
  return bytes;
}

/** Sends the bytes, ends, and waits until the program has ended the connection, too. */
async function send(port: number, isDirect: boolean, bytes: Buffer): Promise<void> {
  const socket = connectTcp({ host: '127.0.0.1', port, noDelay: true });
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  if (isDirect) {
    socket.end(bytes);
    socket.resume();
  } else {
    socket.write(SSL_REQUEST);
    socket.once('data', () => {
      socket.end(bytes);
      socket.resume();
    });
  }
  await within(30_000, `seed ${SEED}: the connection ends`, closed);
}

test(`mutated ClientHellos harm nobody (seed ${SEED})`, async () => {
  const hellos = [await capturedHello('TLSv1.2'), await capturedHello('TLSv1.3')];
  const random = randomFrom(SEED);
  const deadline = Date.now() + BUDGET_MILLIS;
  const ports = { negotiated: proxy.port('negotiated'), direct: proxy.port('direct') };
  let sent = 0;
  const sender = async (): Promise<void> => {
    while (sent < MOST && Date.now() < deadline) {
      sent += 1;
      const hello = hellos[random(hellos.length)] ?? Buffer.alloc(0);
      const isDirect = random(2) === 0;
      await send(isDirect ? ports.direct : ports.negotiated, isDirect, mutated(hello, random));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, sender));

  expect(proxy.hasExited, proxy.output).toBe(false);
  for (const [route, open] of [
    ['negotiated', openNegotiatedTls],
    ['direct', openDirectTls],
  ] as const) {
    const channel = await open(ports[route], tls.clientOptions);
    await startSession(channel);
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
    channel.destroy();
  }
  await proxy.stop();
  const books = connectionBooks(proxy.logs);
  expect(books, `seed ${SEED}`).toEqual({ accepted: sent + 2, closed: sent + 2, internal: [] });
  expect(sent).toBeGreaterThan(50);
}, 120_000);
