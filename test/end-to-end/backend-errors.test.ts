/** Backends that are down, refuse, or vanish: the client reads why inside its TLS; nothing is leaked. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend, type Table } from '../support/config.ts';
import { FakeBackend, readStartup, welcome } from '../support/fake-backend.ts';
import { material } from '../support/material.ts';
import { quietPort } from '../support/quiet-port.ts';
import { ask, openNegotiatedTls, readError, startSession } from '../support/raw-client.ts';
import { proxyForTest, type RunningProxy } from '../support/running-proxy.ts';
import { errorFields, message, startupMessage } from '../support/wire.ts';

let tls: ListenerTls;

beforeAll(async () => {
  tls = await ListenerTls.create();
});

afterAll(() => tls.remove());

async function connectedTo(backend: Table): Promise<{ proxy: RunningProxy; channel: ByteChannel }> {
  const proxy = await proxyForTest(tls.config([{ name: 'orders', backend }]));
  const channel = await openNegotiatedTls(proxy.port(), tls.clientOptions);
  onTestFinished(() => channel.destroy());
  return { proxy, channel };
}

const STARTUP = startupMessage({ user: 'trusted', database: 'postgres' });

describe('before the session', () => {
  test('a backend that is down is told with 08006 or 08001 inside TLS, and logged with its address', async () => {
    const port = await quietPort();
    const { proxy, channel } = await connectedTo(plainBackend(port));
    await channel.write(STARTUP);

    const error = await readError(channel);
    expect(error).toMatchObject({ S: 'FATAL' });
    expect(error['C']).toMatch(/^0800[16]$/);
    expect(error['M']).not.toContain(String(port));
    expect(await channel.ended()).toEqual({ kind: 'end' });
    expect(
      await proxy.logged({ event: 'conn.close', reason: 'backend_unreachable' }),
    ).toMatchObject({
      route: 'orders',
      fault_side: 'backend',
      sqlstate: error['C'],
      backend_addr: `127.0.0.1:${port}`,
    });
  });

  test('a name that does not resolve is told inside TLS', async () => {
    const { channel } = await connectedTo({
      address: 'no-such-host.invalid:5432',
      sslmode: 'disable',
    });
    await channel.write(STARTUP);
    expect((await readError(channel))['C']).toMatch(/^0800[16]$/);
  });

  test('the next address of a list is tried when the first is down', async () => {
    const address = [`127.0.0.1:${await quietPort()}`, `127.0.0.1:${material().plain.port}`];
    const { channel } = await connectedTo({ address, sslmode: 'disable' });
    await startSession(channel);
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
  });

  test('a refusal by PostgreSQL itself reaches the client unchanged', async () => {
    const { channel } = await connectedTo(plainBackend(material().plain.port));
    await channel.write(startupMessage({ user: 'trusted', database: 'no_such_database' }));
    const refusal = (await channel.messagesUntil('E')).at(-1);
    expect(errorFields(refusal?.body ?? Buffer.alloc(0))).toMatchObject({
      S: 'FATAL',
      C: '3D000',
      M: 'database "no_such_database" does not exist',
    });
    await channel.ended();
  });

  test('a backend that ends the connection without an answer ends the session, and the log blames it', async () => {
    const fake = await FakeBackend.listen(async (backend) => {
      await readStartup(backend);
      backend.destroy();
    });
    const { proxy, channel } = await connectedTo(plainBackend(fake.port));
    await channel.write(STARTUP);
    expect(await readError(channel)).toMatchObject({ S: 'FATAL', C: '08006' });
    await channel.ended();
    const line = await proxy.logged({ event: 'conn.close', route: 'orders' });
    expect(line).toMatchObject({ reason: 'backend_closed', fault_side: 'backend' });
  });

  test('a client that leaves while the backend is being connected costs nothing', async () => {
    const fake = await FakeBackend.listen(async (backend) => {
      await readStartup(backend);
    });
    const { proxy, channel } = await connectedTo(plainBackend(fake.port));
    const descriptors = proxy.openDescriptors() - 1;
    await channel.write(STARTUP);
    channel.destroy();
    await proxy.logged({ event: 'conn.close' });
    await proxy.descriptorsReturnTo(descriptors);
  });
});

describe('in a session', () => {
  test('a backend that resets the connection ends the session, and the log blames it', async () => {
    const fake = await FakeBackend.listen(async (backend) => {
      await readStartup(backend);
      await backend.write(welcome());
      await backend.message();
      backend.stream.resetAndDestroy();
    });
    const { proxy, channel } = await connectedTo(plainBackend(fake.port));
    const descriptors = proxy.openDescriptors() - 1;
    await startSession(channel);
    await channel.write(message('Q', 'select 1'));
    expect(await readError(channel)).toMatchObject({ S: 'FATAL', C: '08006' });
    await channel.ended();
    expect(await proxy.logged({ event: 'conn.close', reason: 'backend_reset' })).toMatchObject({
      fault_side: 'backend',
    });
    channel.destroy();
    await proxy.descriptorsReturnTo(descriptors);
  });

  test('what the backend said before it ended the connection arrives in full, then close_notify', async () => {
    const farewell = message('N', Buffer.alloc(300_000, 'x'));
    const fake = await FakeBackend.listen(async (backend) => {
      await readStartup(backend);
      await backend.write(Buffer.concat([welcome(), farewell]));
      backend.stream.end();
    });
    const { channel } = await connectedTo(plainBackend(fake.port));
    await startSession(channel);
    const { bytes, end } = await channel.rest();
    expect(bytes.equals(farewell)).toBe(true);
    expect(end).toEqual({ kind: 'end' });
  });
});

test('a backend whose accept queue takes the connection but never answers is cut at the login deadline', async () => {
  const silent = createServer({ pauseOnConnect: true });
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  onTestFinished(() => {
    silent.close();
  });
  const proxy = await proxyForTest(
    tls.config([{ backend: plainBackend(port) }], { client_login_timeout: '2s' }),
  );
  const channel: ByteChannel = await openNegotiatedTls(proxy.port(), tls.clientOptions);
  await channel.write(STARTUP);
  expect(await readError(channel)).toMatchObject({ S: 'FATAL', C: '57014' });
  await channel.ended();
  await proxy.logged({ event: 'conn.close', reason: 'login_timeout' });
});
