/** Many routes in one process: what happens on one is never noticed on another. */
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { FakeBackend, readStartup, welcome } from '../support/fake-backend.ts';
import { material } from '../support/material.ts';
import { quietPort } from '../support/quiet-port.ts';
import { ask, openNegotiatedTls, openTcp, readError, startSession } from '../support/raw-client.ts';
import { proxyForTest, RunningProxy } from '../support/running-proxy.ts';
import { query, SSL_REQUEST, startupMessage } from '../support/wire.ts';

let tls: ListenerTls;
let otherTls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  otherTls = await ListenerTls.create('rsa');
  const { plain, tls: tlsCluster } = material();
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'orders', backend: plainBackend(plain.port) },
      {
        name: 'billing',
        listener: {
          ssl_cert_file: otherTls.server.certFile,
          ssl_key_file: otherTls.server.keyFile,
        },
        backend: { address: `127.0.0.1:${tlsCluster.port}`, sslmode: 'require' },
      },
      { name: 'broken', backend: plainBackend(await quietPort()) },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
  otherTls.remove();
});

async function session(port: number, trust: ListenerTls): Promise<ByteChannel> {
  const channel = await openNegotiatedTls(port, trust.clientOptions);
  onTestFinished(() => channel.destroy());
  await startSession(channel);
  return channel;
}

test('each route shows its own certificate and leads to its own backend', async () => {
  const orders = await session(proxy.port('orders'), tls);
  const billing = await session(proxy.port('billing'), otherTls);

  expect(await ask(orders, 'show ssl')).toEqual([['off']]);
  expect(await ask(billing, 'show ssl')).toEqual([['on']]);
  await expect(openNegotiatedTls(proxy.port('billing'), tls.clientOptions)).rejects.toThrow();
});

test('sessions of two routes go on while a third route meets errors and abuse of every kind', async () => {
  const orders = await session(proxy.port('orders'), tls);
  const billing = await session(proxy.port('billing'), otherTls);
  await billing.write(query('select pg_sleep(1), 42'));

  for (let round = 0; round < 20; round += 1) {
    await provoke(proxy.port('broken'));
    expect(await ask(orders, `select ${round}`)).toEqual([[String(round)]]);
  }

  const messages = await billing.messagesUntil('Z');
  expect(messages.map(({ type }) => type)).toEqual(['T', 'D', 'C', 'Z']);
});

/** A backend that is down, stuffed bytes, garbage in place of TLS, a reset in the handshake. */
async function provoke(port: number): Promise<void> {
  const refused: ByteChannel = await openNegotiatedTls(port, tls.clientOptions);
  await refused.write(startupMessage({ user: 'trusted' }));
  expect((await readError(refused))['C']).toMatch(/^0800[16]$/);

  const stuffed: ByteChannel = await openTcp(port);
  await stuffed.write(Buffer.concat([SSL_REQUEST, SSL_REQUEST]));
  expect((await readError(stuffed))['C']).toBe('08P01');

  const garbage = await openTcp(port);
  await garbage.write(SSL_REQUEST);
  await garbage.read(1);
  await garbage.write(Buffer.alloc(100, 0xff));
  await garbage.rest();

  const vanishing = await openTcp(port);
  await vanishing.write(SSL_REQUEST);
  await vanishing.read(1);
  const socket = vanishing.release();
  connectTls({ socket, servername: 'localhost' }).on('error', () => undefined);
  socket.resetAndDestroy();
}

test('a backend that dies takes only the sessions of its route with it', async () => {
  const mortal = await FakeBackend.listen(async (backend) => {
    await readStartup(backend);
    await backend.write(welcome());
  });
  const running = await proxyForTest(
    tls.config([
      { name: 'alive', backend: plainBackend(material().plain.port) },
      { name: 'mortal', backend: plainBackend(mortal.port) },
    ]),
  );
  const alive = await session(running.port('alive'), tls);
  const doomed = await Promise.all(
    Array.from({ length: 20 }, () => session(running.port('mortal'), tls)),
  );

  await mortal.close();

  await Promise.all(doomed.map((channel) => channel.rest()));
  expect(await ask(alive, 'select 1')).toEqual([['1']]);
});

test('a route over its own connection limit refuses with 53300, other routes go on', async () => {
  const running = await proxyForTest(
    tls.config([
      {
        name: 'small',
        backend: plainBackend(material().plain.port),
        listener: { max_client_conn: 2 },
      },
      { name: 'large', backend: plainBackend(material().plain.port) },
    ]),
  );
  await session(running.port('small'), tls);
  const second = await session(running.port('small'), tls);

  const third: ByteChannel = await openNegotiatedTls(running.port('small'), tls.clientOptions);
  await third.write(startupMessage({ user: 'trusted', database: 'postgres' }));
  expect(await readError(third)).toMatchObject({ S: 'FATAL', C: '53300' });
  third.destroy();
  await session(running.port('large'), tls);

  second.destroy();
  await running.logged({ event: 'conn.close', route: 'small', reason: 'client_closed' });
  await session(running.port('small'), tls);
});
