/** The client's address through a load balancer and two pgtls in a row, up to pg_stat_activity. */
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { headerV1Of, headerV2, headerV2Of } from '../support/proxy-header.ts';
import { ask, openTcp, startSession, startTls } from '../support/raw-client.ts';
import { proxyForTest, RunningProxy } from '../support/running-proxy.ts';
import { cancelRequest, PROTOCOL_3_0, PROTOCOL_3_2, SSL_REQUEST } from '../support/wire.ts';

const NAME = 'select application_name from pg_stat_activity where pid = pg_backend_pid()';
const BALANCED = { proxy_protocol: 'require', trusted_proxies: ['127.0.0.1'] };

let tls: ListenerTls;
let inner: RunningProxy;
let outer: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const backend = { ...plainBackend(material().plain.port), application_name_add_host: true };
  inner = await RunningProxy.start(
    tls.config([
      { name: 'inner', listener: { ...BALANCED }, backend },
      { name: 'bare', backend },
    ]),
  );
  const chained = { address: `localhost:${inner.port('inner')}`, proxy_protocol: 'v2' };
  const verified = { sslmode: 'verify-full', sslrootcert: tls.caFile };
  outer = await RunningProxy.start(
    tls.config([
      {
        name: 'outer',
        listener: { ...BALANCED, max_client_conn_per_ip: 2 },
        backend: { ...chained, ...verified },
      },
    ]),
  );
});

afterAll(async () => {
  await outer.stop();
  await inner.stop();
  tls.remove();
});

/** What a load balancer would send for this client, its SSLRequest in the same segment; then TLS. */
async function openBehind(header: Buffer, port = outer.port()): Promise<ByteChannel> {
  const channel: ByteChannel<Socket> = await openTcp(port);
  await channel.write(Buffer.concat([header, SSL_REQUEST]));
  expect((await channel.read(1)).toString()).toBe('S');
  return startTls(channel.release(), tls.clientOptions);
}

describe('a client behind a load balancer', () => {
  test.each([
    ['version 1, protocol 3.0', headerV1Of('192.0.2.7', 4711), PROTOCOL_3_0],
    ['version 2, protocol 3.2', headerV2Of('192.0.2.7', 4711), PROTOCOL_3_2],
  ])('is known everywhere by its own address: %s', async (_name, header, version) => {
    const channel = await openBehind(header);
    await startSession(channel, { application_name: 'orders' }, version);
    expect(await ask(channel, NAME)).toEqual([['orders - 192.0.2.7:4711']]);
    channel.destroy();
    const client_addr = '192.0.2.7:4711';
    await outer.logged({ event: 'conn.close', client_addr });
    await inner.logged({ event: 'conn.close', client_addr });
  });

  test('is counted by its own address, and the load balancer is not', async () => {
    const open = async (host: string) => openBehind(headerV2Of(host, 1));
    const one = [await open('198.51.100.1'), await open('198.51.100.1')];
    for (const channel of one) {
      await startSession(channel);
    }
    const third = await open('198.51.100.1');
    await expect(startSession(third)).rejects.toThrow(/53300/);
    const other = await open('198.51.100.2');
    await startSession(other);
    for (const channel of [...one, third, other]) {
      channel.destroy();
    }
  });

  test('can cancel its query through both', async () => {
    const channel = await openBehind(headerV2Of('203.0.113.1', 1));
    const { processId, secretKey } = await startSession(channel);
    const asking = ask(channel, 'select pg_sleep(600)');
    const refused = expect(asking).rejects.toThrow(/57014/);
    const cancel = await openTcp(outer.port());
    const header = headerV2Of('203.0.113.1', 2);
    await cancel.write(Buffer.concat([header, cancelRequest(processId, secretKey)]));
    await cancel.ended();
    await refused;
    channel.destroy();
    const line = { event: 'conn.close', client_addr: '203.0.113.1:2', is_cancel: true };
    await inner.logged({ ...line, reason: 'cancel_forwarded' });
  });

  test('is the load balancer itself when that speaks for itself', async () => {
    const channel = await openBehind(headerV2(0x20, 0, Buffer.alloc(0)));
    await startSession(channel);
    const [[name] = []] = await ask(channel, NAME);
    expect(name).toMatch(/^app - 127\.0\.0\.1:\d+$/);
    channel.destroy();
  });
});

describe('application_name_add_host', () => {
  test('shortens a long name rather than the address', async () => {
    const channel = await openTcp(inner.port('bare'));
    const { localPort } = channel.stream;
    await channel.write(SSL_REQUEST);
    await channel.read(1);
    const session = await startTls(channel.release(), tls.clientOptions);
    await startSession(session, { application_name: 'x'.repeat(200) });
    const [[name] = []] = await ask(session, NAME);
    expect(name).toHaveLength(63);
    expect(name).toMatch(new RegExp(`^x+ - 127\\.0\\.0\\.1:${localPort}$`));
    session.destroy();
  });
});

describe('whoever is no trusted load balancer', () => {
  test('is closed before a byte is read, and the log tells why, once', async () => {
    const proxy = await proxyForTest(
      tls.config([
        {
          listener: { ...BALANCED, trusted_proxies: ['192.0.2.0/24'] },
          backend: plainBackend(material().plain.port),
        },
      ]),
    );
    for (let count = 0; count < 50; count += 1) {
      const channel = await openTcp(proxy.port());
      await channel.ended();
      channel.destroy();
    }
    const line = { event: 'conn.close', reason: 'untrusted_proxy' };
    expect(await proxy.logged(line)).toMatchObject({ level: 'warn', phase: 'negotiate' });
    expect(proxy.logs.filter(({ reason }) => reason === 'untrusted_proxy').length).toBeLessThan(6);
  });

  test('is told nothing when its header is missing, and the log says what to do', async () => {
    const channel = await openTcp(inner.port('inner'));
    await channel.write(SSL_REQUEST);
    expect((await channel.rest()).bytes).toHaveLength(0);
    channel.destroy();
    const line = await inner.logged({ event: 'conn.close', reason: 'proxy_header_missing' });
    expect(line).toMatchObject({ level: 'warn', error: expect.stringContaining('send-proxy-v2') });
  });
});

test('an address that comes too fast is closed before TLS, its CancelRequests included', async () => {
  const proxy = await proxyForTest(
    tls.config([
      { listener: { conn_rate_per_ip: 1 }, backend: plainBackend(material().plain.port) },
    ]),
  );
  for (let count = 0; count < 50; count += 1) {
    const channel = await openTcp(proxy.port());
    await channel.write(cancelRequest(1, Buffer.alloc(4))).catch(() => undefined);
    await channel.rest();
    channel.destroy();
  }
  await proxy.logged({ event: 'conn.close', reason: 'rate_limited' });
  const lines = proxy.logs.filter(({ reason }) => reason === 'rate_limited');
  expect(lines.length).toBeLessThan(6);
});
