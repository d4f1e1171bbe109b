/** PostgreSQL 17's sslnegotiation=direct: TLS as the very first bytes, ALPN `postgresql` required. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import {
  ask,
  failedTls,
  openDirectTls,
  openTcp,
  readError,
  startSession,
  startTls,
} from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { BYTE_BY_BYTE, segmented } from '../support/segments.ts';
import { requestPacket, SSL_REQUEST } from '../support/wire.ts';

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const backend = plainBackend(material().plain.port);
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'any', backend },
      { name: 'direct', backend, listener: { sslnegotiation: 'direct' } },
      { name: 'postgres', backend, listener: { sslnegotiation: 'postgres' } },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

test.each(['any', 'direct'])(
  'a client with ALPN postgresql is served (sslnegotiation=%s)',
  async (route) => {
    const channel = await openDirectTls(proxy.port(route), tls.clientOptions);
    await startSession(channel);

    expect(channel.stream.alpnProtocol).toBe('postgresql');
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
  },
);

test('direct TLS over TLS 1.2 works too', async () => {
  const channel = await openDirectTls(proxy.port('any'), {
    ...tls.clientOptions,
    maxVersion: 'TLSv1.2',
  });
  await startSession(channel);
  expect(channel.stream.getProtocol()).toBe('TLSv1.2');
});

test('a ClientHello that comes byte by byte is served', async () => {
  const channel = await openTcp(proxy.port('any'));
  const stream = segmented(channel.release(), { size: BYTE_BY_BYTE });
  const session = await startTls(stream, { ...tls.clientOptions, ALPNProtocols: ['postgresql'] });
  await startSession(session);
  expect(await ask(session, 'select 1')).toEqual([['1']]);
});

test('a client without ALPN is told inside TLS that it is needed', async () => {
  const channel: ByteChannel = await openDirectTls(proxy.port('any'), {
    ...tls.clientOptions,
    ALPNProtocols: [],
  });

  const error = await readError(channel);
  expect(error).toMatchObject({ S: 'FATAL', C: '08P01' });
  expect(error['M']).toContain('ALPN');
  await channel.ended();
});

test('a client with another ALPN is refused with an alert', async () => {
  const channel = await openTcp(proxy.port('any'));
  await failedTls(channel.release(), { ...tls.clientOptions, ALPNProtocols: ['h2', 'http/1.1'] });

  await proxy.logged({
    event: 'conn.close',
    route: 'any',
    reason: 'client_tls_handshake_failed',
    alert: 'no_application_protocol',
    alert_direction: 'sent',
  });
});

test('an SSLRequest where only direct TLS is allowed is told so with 28000', async () => {
  const channel = await openTcp(proxy.port('direct'));
  await channel.write(SSL_REQUEST);

  const error = await readError(channel);
  expect(error).toMatchObject({ S: 'FATAL', C: '28000' });
  expect(error['H']).toMatch(/sslnegotiation=direct/);
  await channel.ended();
});

test('direct TLS where only negotiated TLS is allowed is closed', async () => {
  const channel = await openTcp(proxy.port('postgres'));
  await failedTls(channel.release(), { ...tls.clientOptions, ALPNProtocols: ['postgresql'] });
});

test('an SSLRequest inside TLS is refused with an ErrorResponse', async () => {
  const channel: ByteChannel = await openDirectTls(proxy.port('any'), tls.clientOptions);
  await channel.write(SSL_REQUEST);

  expect(await readError(channel)).toMatchObject({ S: 'FATAL' });
  await channel.ended();
});

test('a protocol version from before PostgreSQL 7.4 is refused inside TLS', async () => {
  const channel: ByteChannel = await openDirectTls(proxy.port('any'), tls.clientOptions);
  await channel.write(requestPacket(0x0002_0000, Buffer.alloc(32)));

  expect(await readError(channel)).toMatchObject({ S: 'FATAL' });
  await channel.ended();
});
