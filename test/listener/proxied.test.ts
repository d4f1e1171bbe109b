/** Listeners behind load balancers: PROXY headers over real sockets. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createAccessList } from '../../src/listener/access.ts';
import { ConnectionRate } from '../../src/listener/connection-rate.ts';
import { createTrustedProxies } from '../../src/listener/gate.ts';
import type { ListenerOptions } from '../../src/listener/listener.ts';
import { NegotiatingClients } from '../../src/listener/negotiating-clients.ts';
import { CLIENT_HELLO, SSL_REQUEST, STARTUP } from '../negotiation/packets.ts';
import { headerV1Of, headerV2, headerV2Of } from '../support/proxy-header.ts';
import { RawClient, startListener } from './fixture.ts';

const LOCAL = headerV2(0x20, 0, Buffer.alloc(0));

async function start(options: Partial<ListenerOptions> = {}) {
  const proxies = createTrustedProxies(['127.0.0.1']);
  const { listener, recorder } = await startListener({ proxies, ...options });
  onTestFinished(() => listener.close());
  const open = () => {
    const client = new RawClient(listener.address);
    onTestFinished(() => {
      client.socket.destroy();
    });
    return client;
  };
  return { listener, recorder, open };
}

describe('a client behind a load balancer', () => {
  it.each([
    ['version 1', headerV1Of('192.0.2.7', 4_711)],
    ['version 2', headerV2Of('192.0.2.7', 4_711)],
  ])(
    'is known by the address in the header, in the same segment as its packet: %s',
    async (_name, header) => {
      const { recorder, open } = await start();
      await open().send(Buffer.concat([header, STARTUP]));
      const { info, outcome, receivedBytes } = await recorder.end(0);
      expect(outcome.type).toBe('handed-off');
      expect(receivedBytes).toBe(header.length + STARTUP.length);
      expect(info.peer).toBe('192.0.2.7:4711');
      expect(recorder.accepted).toEqual([info]);
      const { prefix, peer } = recorder.adopted[0]?.handoff ?? {};
      expect({ prefix, peer }).toEqual({ prefix: STARTUP, peer: '192.0.2.7:4711' });
    },
  );

  it('is served with its header cut anywhere', async () => {
    const { recorder, open } = await start();
    const client = open();
    for (const byte of Buffer.concat([headerV2Of('192.0.2.7', 4_711), SSL_REQUEST])) {
      await client.send(Buffer.from([byte]));
    }
    expect((await client.receive(1)).toString()).toBe('S');
    await recorder.end(0);
    expect(recorder.adopted[0]?.handoff).toMatchObject({ prefix: null, peer: '192.0.2.7:4711' });
  });

  it('may not stuff bytes behind its SSLRequest in the segment of the header either', async () => {
    const { recorder, open } = await start();
    await open().send(Buffer.concat([headerV1Of('192.0.2.7', 1), SSL_REQUEST, CLIENT_HELLO]));
    expect((await recorder.end(0)).outcome).toMatchObject({ reason: 'stuffed_bytes' });
    expect(recorder.adopted).toEqual([]);
  });

  it('is allowed and denied by its own address', async () => {
    const { recorder, open } = await start({ access: createAccessList([], ['192.0.2.0/24']) });
    const denied = open();
    await denied.send(Buffer.concat([headerV2Of('192.0.2.7', 1), STARTUP]));
    await denied.closed;
    expect(denied.received).toHaveLength(0);
    const { outcome, info } = await recorder.end(0);
    expect(outcome).toEqual({ type: 'denied', reason: 'access_denied' });
    expect(info.peer).toBe('192.0.2.7:1');
    await open().send(Buffer.concat([headerV2Of('198.51.100.7', 1), STARTUP]));
    expect((await recorder.end(1)).outcome.type).toBe('handed-off');
  });

  it('has a rate of its own, an IPv4 address in IPv6 form included', async () => {
    const { recorder, open } = await start({ rate: new ConnectionRate(1) });
    const mapped = Buffer.from('PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 5432\r\n');
    await open().send(Buffer.concat([headerV2Of('192.0.2.7', 1), STARTUP]));
    await recorder.end(0);
    await open().send(Buffer.concat([headerV2Of('192.0.2.8', 1), STARTUP]));
    await recorder.end(1);
    await open().send(Buffer.concat([mapped, STARTUP]));
    const { outcome, info } = await recorder.end(2);
    expect(outcome).toEqual({ type: 'denied', reason: 'rate_limited' });
    expect(info.peer).toBe('192.0.2.7:4711');
  });

  it('keeps the address of the socket where the load balancer speaks for itself', async () => {
    const { recorder, open } = await start();
    const client = open();
    await once(client.socket, 'connect');
    const { localPort } = client.socket;
    await client.send(Buffer.concat([LOCAL, STARTUP]));
    expect((await recorder.end(0)).info.peer).toBe(`127.0.0.1:${localPort}`);
  });
});

describe('a connection without a header that is believed', () => {
  it('is closed before a byte is read when nobody trusts its address', async () => {
    const { recorder, open } = await start({
      proxies: createTrustedProxies(['192.0.2.0/24', 'unix:']),
    });
    const client = open();
    await client.send(Buffer.concat([headerV2Of('192.0.2.7', 1), STARTUP]));
    await client.closed;
    expect((await recorder.end(0)).outcome).toEqual({ type: 'denied', reason: 'untrusted_proxy' });
    expect(recorder.accepted).toEqual([]);
  });

  it.each([
    ['is missing', SSL_REQUEST, 'proxy_header_missing'],
    ['is malformed', Buffer.from('PROXY TCP4 here there 1 2\r\n'), 'proxy_header_malformed'],
  ])('is closed without a word when the header %s', async (_name, bytes, reason) => {
    const { recorder, open } = await start();
    const client = open();
    await client.send(bytes);
    await client.closed;
    expect(client.received).toHaveLength(0);
    expect((await recorder.end(0)).outcome).toMatchObject({ type: 'header-refused', reason });
  });

  it('is a TCP probe when it closes without a byte', async () => {
    const { recorder, open } = await start();
    open().socket.end();
    expect((await recorder.end(0)).outcome).toEqual({ type: 'closed', reason: 'tcp_probe' });
  });

  it('is cut at client_login_timeout, which the header does not begin anew', async () => {
    const { listener, recorder, open } = await start({ loginTimeoutMillis: 300 });
    await open().send(headerV2Of('192.0.2.7', 1).subarray(0, 20));
    const half = open();
    await half.send(headerV2Of('192.0.2.7', 1));
    await half.send(STARTUP.subarray(0, 3));
    for (const index of [0, 1]) {
      const { outcome, durationMillis } = await recorder.end(index);
      expect(outcome).toMatchObject({ reason: 'login_timeout' });
      expect(durationMillis).toBeGreaterThanOrEqual(299);
      expect(durationMillis).toBeLessThan(5_000);
    }
    await vi.waitFor(() => expect(listener.negotiatingCount).toBe(0));
  });
});

describe('a Unix-domain listener', () => {
  function unix() {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-proxied-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    return { kind: 'unix', path: join(directory, 's'), mode: null, group: null } as const;
  }

  it('believes its peers only where trusted_proxies names unix:', async () => {
    const trusting = await start({ address: unix(), proxies: createTrustedProxies(['unix:']) });
    await trusting.open().send(Buffer.concat([headerV2Of('192.0.2.7', 1), STARTUP]));
    expect((await trusting.recorder.end(0)).info.peer).toBe('192.0.2.7:1');
    const other = await start({ address: unix(), proxies: createTrustedProxies(['127.0.0.1']) });
    await other.open().closed;
    expect((await other.recorder.end(0)).outcome).toMatchObject({ reason: 'untrusted_proxy' });
  });

  it('asks no list about a load balancer that speaks for itself, but about the clients it names', async () => {
    const access = createAccessList(['198.51.100.0/24'], []);
    const proxies = createTrustedProxies(['unix:']);
    const { recorder, open } = await start({ address: unix(), proxies, access });
    await open().send(Buffer.concat([LOCAL, STARTUP]));
    expect((await recorder.end(0)).outcome.type).toBe('handed-off');
    await open().send(Buffer.concat([headerV1Of('192.0.2.7', 1), STARTUP]));
    expect((await recorder.end(1)).outcome).toMatchObject({ reason: 'access_denied' });
  });
});

describe('an address that comes too fast', () => {
  it('is closed before a byte is read, until a token is earned', async () => {
    const { recorder, open } = await start({ proxies: null, rate: new ConnectionRate(2) });
    await Promise.all([open().send(STARTUP), open().send(STARTUP)]);
    await Promise.all([recorder.end(0), recorder.end(1)]);
    const third = open();
    await third.closed;
    expect(third.received).toHaveLength(0);
    expect((await recorder.end(2)).outcome).toEqual({ type: 'denied', reason: 'rate_limited' });
    await vi.waitFor(
      async () => {
        const client = open();
        await client.send(STARTUP);
        await client.closed;
        expect(recorder.adopted.length).toBeGreaterThan(2);
      },
      { timeout: 30_000 },
    );
  });
});

describe('an address whose connections say nothing', () => {
  it('is closed once it holds its places, and served again when one of them is free', async () => {
    const { recorder, open } = await start({
      proxies: null,
      negotiating: new NegotiatingClients(2),
    });
    const silent = [open(), open()];
    await vi.waitFor(() => expect(recorder.accepted).toHaveLength(2), { timeout: 30_000 });
    const third = open();
    await third.closed;
    expect(third.received).toHaveLength(0);
    const reason = 'too_many_connections';
    expect((await recorder.end(0)).outcome).toEqual({ type: 'denied', reason });
    await silent[0]?.send(STARTUP);
    expect((await recorder.end(1)).outcome.type).toBe('handed-off');
    await open().send(STARTUP);
    expect((await recorder.end(2)).outcome.type).toBe('handed-off');
  });

  it('is the one that the PROXY header names', async () => {
    const { recorder, open } = await start({ negotiating: new NegotiatingClients(1) });
    await open().send(headerV2Of('192.0.2.7', 1));
    await vi.waitFor(() => expect(recorder.accepted).toHaveLength(1), { timeout: 30_000 });
    await open().send(Buffer.concat([headerV2Of('192.0.2.7', 2), STARTUP]));
    const { outcome, info } = await recorder.end(0);
    expect(outcome).toEqual({ type: 'denied', reason: 'too_many_connections' });
    expect(info.peer).toBe('192.0.2.7:2');
    await open().send(Buffer.concat([headerV2Of('192.0.2.8', 1), STARTUP]));
    expect((await recorder.end(1)).outcome.type).toBe('handed-off');
  });
});
