/** Clients that misbehave before or during the negotiation: each gets a clear end, and nothing is leaked. */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import {
  ask,
  openNegotiatedTls,
  openTcp,
  readError,
  startSession,
  startTls,
} from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { segmented } from '../support/segments.ts';
import { until } from '../support/until.ts';
import {
  errorFields,
  GSSENC_REQUEST,
  MessageReader,
  query,
  requestPacket,
  SSL_REQUEST,
  startupMessage,
} from '../support/wire.ts';

let tls: ListenerTls;
let proxy: RunningProxy;
let descriptors = 0;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const backend = plainBackend(material().plain.port);
  proxy = await RunningProxy.start(
    tls.config(
      [
        { name: 'require', backend },
        {
          name: 'disable',
          backend,
          listener: { sslmode: 'disable', ssl_cert_file: null, ssl_key_file: null },
        },
      ],
      { client_login_timeout: '3s' },
    ),
  );
  const warmUp = await openNegotiatedTls(proxy.port('require'), tls.clientOptions);
  await startSession(warmUp);
  warmUp.destroy();
  await proxy.logged({ event: 'conn.close' });
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

/** Every test leaves the process as it was: same descriptors, and a next client is served. */
beforeEach(() => {
  descriptors = proxy.openDescriptors();
  onTestFinished(async () => {
    await proxy.descriptorsReturnTo(descriptors);
    const next = await openNegotiatedTls(proxy.port('require'), tls.clientOptions);
    await startSession(next);
    expect(await ask(next, 'select 1')).toEqual([['1']]);
    next.destroy();
  });
});

async function expectRefusal(channel: ByteChannel, sqlstate: string): Promise<void> {
  const error = await readError(channel);
  expect(error).toMatchObject({ S: 'FATAL', C: sqlstate });
  await channel.ended();
  channel.destroy();
}

function packetOfLength(length: number): Buffer {
  const packet = Buffer.alloc(16);
  packet.writeUInt32BE(length, 0);
  packet.writeUInt32BE(0x0003_0000, 4);
  return packet;
}

describe('in plaintext', () => {
  test('bytes stuffed behind an SSLRequest are refused with 08P01', async () => {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(Buffer.concat([SSL_REQUEST, startupMessage({ user: 'mallory' })]));
    await expectRefusal(channel, '08P01');
  });

  test('a single byte stuffed behind an SSLRequest is refused with 08P01', async () => {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(Buffer.concat([SSL_REQUEST, Buffer.from([0x16])]));
    await expectRefusal(channel, '08P01');
  });

  test('bytes stuffed behind a GSSENCRequest are refused with 08P01', async () => {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(Buffer.concat([GSSENC_REQUEST, SSL_REQUEST]));
    await expectRefusal(channel, '08P01');
  });

  test('a second GSSENCRequest is refused with 08P01', async () => {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(GSSENC_REQUEST);
    expect((await channel.read(1)).toString()).toBe('N');
    await channel.write(GSSENC_REQUEST);
    await expectRefusal(channel, '08P01');
  });

  test('a plaintext startup where TLS is required is refused with 28000 and a hint', async () => {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(startupMessage({ user: 'trusted' }));
    const error = await readError(channel);
    expect(error).toMatchObject({ S: 'FATAL', C: '28000' });
    expect(error['H']).toMatch(/sslmode=require/);
    await channel.ended();
  });

  test.each([0, 7, 10_001, 0x7fff_ffff, 0xffff_ffff])(
    'a packet length of %d is refused with 08P01',
    async (length) => {
      const channel = await openTcp(proxy.port('require'));
      await channel.write(packetOfLength(length));
      await expectRefusal(channel, '08P01');
    },
  );

  test('an HTTP request is refused', async () => {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'));
    await expectRefusal(channel, '08P01');
  });

  test('protocol 2.0 is refused', async () => {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(requestPacket(0x0002_0000, Buffer.alloc(288)));
    await expectRefusal(channel, '0A000');
  });

  test('an SSLRequest where TLS is disabled is answered N, and the session goes on in plaintext', async () => {
    const channel = await openTcp(proxy.port('disable'));
    await channel.write(SSL_REQUEST);
    expect((await channel.read(1)).toString()).toBe('N');
    await startSession(channel);
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
    channel.destroy();
  });

  test('a client that sends half a header and stops is cut at the login deadline', async () => {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(SSL_REQUEST.subarray(0, 5));
    await channel.rest();
    channel.destroy();
    await proxy.logged({ event: 'conn.close', reason: 'login_timeout', phase: 'negotiate' });
  });

  test('a TCP probe leaves nothing louder than a debug line', async () => {
    const lines = proxy.logs.length;
    const channel = await openTcp(proxy.port('require'));
    await channel.finishWriting();
    await channel.ended();
    channel.destroy();
    const line = await until('the probe is logged', () =>
      proxy.logs
        .slice(lines)
        .find(({ event, reason }) => event === 'conn.close' && reason === 'tcp_probe'),
    );
    expect(line['level']).toBe('debug');
  });

  test.each([0, 3, 8])(
    'a client that resets the connection after %d bytes costs nothing',
    async (count) => {
      const channel = await openTcp(proxy.port('require'));
      if (count > 0) {
        await channel.write(SSL_REQUEST.subarray(0, count));
      }
      if (count === SSL_REQUEST.length) {
        await channel.read(1);
      }
      channel.stream.resetAndDestroy();
    },
  );
});

describe('in the TLS handshake', () => {
  async function answeredWithS() {
    const channel = await openTcp(proxy.port('require'));
    await channel.write(SSL_REQUEST);
    expect((await channel.read(1)).toString()).toBe('S');
    return channel;
  }

  test('a plaintext startup behind the S ends the connection', async () => {
    const channel = await answeredWithS();
    await channel.write(startupMessage({ user: 'mallory' }));
    await channel.rest();
    channel.destroy();
    await proxy.logged({ event: 'conn.close', reason: 'client_tls_handshake_failed' });
  });

  test('random bytes in place of a ClientHello end the connection', async () => {
    const channel = await answeredWithS();
    await channel.write(Buffer.alloc(4096, 0xa5));
    await channel.rest();
    channel.destroy();
  });

  test('a client that says nothing behind the S is cut at the login deadline', async () => {
    const channel = await answeredWithS();
    await channel.rest();
    channel.destroy();
  });

  test('a ClientHello of which only the beginning comes is cut at the login deadline', async () => {
    const channel = await answeredWithS();
    await channel.write(Buffer.from('1603010200010001fc0303', 'hex'));
    await channel.rest();
    channel.destroy();
    await proxy.logged({ event: 'conn.close', reason: 'login_timeout', phase: 'client_handshake' });
  });

  test('a client that resets the connection in the handshake costs nothing', async () => {
    const channel = await answeredWithS();
    await channel.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    channel.stream.resetAndDestroy();
  });
});

describe('inside TLS, before the StartupMessage', () => {
  test.each([0, 7, 10_001, 0x7fff_ffff])(
    'a packet length of %d is refused with 08P01',
    async (length) => {
      const channel: ByteChannel = await openNegotiatedTls(
        proxy.port('require'),
        tls.clientOptions,
      );
      await channel.write(packetOfLength(length));
      await expectRefusal(channel, '08P01');
    },
  );

  test('a StartupMessage without an end is cut at the login deadline with 57014', async () => {
    const channel: ByteChannel = await openNegotiatedTls(proxy.port('require'), tls.clientOptions);
    await channel.write(startupMessage({ user: 'trusted' }).subarray(0, 12));
    const { bytes } = await channel.rest();
    channel.destroy();
    const [message] = new MessageReader().push(bytes);
    expect(errorFields(message?.body ?? Buffer.alloc(0))).toMatchObject({ C: '57014' });
  });

  test('a StartupMessage without a terminator is refused', async () => {
    const channel: ByteChannel = await openNegotiatedTls(proxy.port('require'), tls.clientOptions);
    await channel.write(requestPacket(0x0003_0000, Buffer.from('user\0trusted')));
    const { bytes } = await channel.rest();
    channel.destroy();
    const [message] = new MessageReader().push(bytes);
    expect(message?.type).toBe('E');
  });

  test('a client that leaves before its StartupMessage costs nothing', async () => {
    const channel = await openNegotiatedTls(proxy.port('require'), tls.clientOptions);
    await channel.finishWriting();
    await proxy.logged({ event: 'conn.close', reason: 'closed_before_startup' });
    channel.destroy();
  });
});

describe('in a session', () => {
  test('a record that does not decrypt ends that session only, with an alert', async () => {
    const neighbour: ByteChannel = await openNegotiatedTls(
      proxy.port('require'),
      tls.clientOptions,
    );
    await startSession(neighbour);
    const tcp = await openTcp(proxy.port('require'));
    await tcp.write(SSL_REQUEST);
    await tcp.read(1);
    const socket = tcp.release();
    const channel: ByteChannel = await startTls(segmented(socket), tls.clientOptions);
    await startSession(channel);

    socket.write(Buffer.from('1703030020'.padEnd(74, '0'), 'hex'));

    await channel.rest();
    channel.destroy();
    const line = await proxy.logged({ event: 'conn.close', reason: 'client_tls_failed' });
    expect(line).toMatchObject({
      route: 'require',
      alert: 'bad_record_mac',
      alert_direction: 'sent',
    });
    expect(await ask(neighbour, 'select 1')).toEqual([['1']]);
    neighbour.destroy();
  });

  test('a client that resets the connection in the middle of a query costs nothing', async () => {
    const tcp = await openTcp(proxy.port('require'));
    await tcp.write(SSL_REQUEST);
    await tcp.read(1);
    const socket = tcp.release();
    const channel = await startTls(socket, tls.clientOptions);
    await startSession(channel);
    await channel.write(query('select pg_sleep(300)'));
    socket.resetAndDestroy();
    await proxy.logged({ event: 'conn.close', reason: 'client_reset' });
  });
});
