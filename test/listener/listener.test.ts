/** Listeners over real sockets, with a data plane that only records. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PgtlsError } from '../../src/errors.ts';
import { createAccessList } from '../../src/listener/access.ts';
import { createTrustedProxies } from '../../src/listener/gate.ts';
import type { Receive } from '../../src/listener/handoff.ts';
import type { Listener, ListenerOptions } from '../../src/listener/listener.ts';
import {
  CANCEL_REQUEST,
  CLIENT_HELLO,
  errorFields,
  GSSENC_REQUEST,
  SSL_REQUEST,
  STARTUP,
} from '../negotiation/packets.ts';
import { RawClient, startListener } from './fixture.ts';

const REQUIRE = { sslmode: 'require', sslnegotiation: 'any' } as const;

const cleanups: (() => void | Promise<void>)[] = [];
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pgtls-listener-'));
  cleanups.push(() => rmSync(directory, { recursive: true }));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) {
    await cleanup();
  }
});

async function start(options: Partial<ListenerOptions> = {}) {
  const started = await startListener(options);
  cleanups.push(() => started.listener.close());
  return started;
}

function open(listener: Listener): RawClient {
  const client = new RawClient(listener.address);
  cleanups.push(() => {
    client.socket.destroy();
  });
  return client;
}

function unixAddress(path: string, mode: number | null = null, group: string | null = null) {
  return { kind: 'unix', path, mode, group } as const;
}

describe('a connection', () => {
  it('is handed off after S, with ids, addresses and what is left of the deadline', async () => {
    const { listener, recorder } = await start({ policy: REQUIRE });
    const client = open(listener);
    await once(client.socket, 'connect');
    const { localPort } = client.socket;
    await client.send(SSL_REQUEST);
    const { outcome, info, receivedBytes } = await recorder.end(0);
    expect(outcome).toEqual({ type: 'handed-off', encryption: 'negotiated', isCancel: false });
    expect(receivedBytes).toBe(8);
    const [{ fd, handoff } = { fd: -1, handoff: null }] = recorder.adopted;
    expect(fd).toBeGreaterThanOrEqual(0);
    expect(handoff).toEqual({
      connectionId: 1,
      routeId: 3,
      encryption: 'negotiated',
      prefix: null,
      peer: `127.0.0.1:${localPort}`,
      localAddress: listener.address,
      remainingMillis: expect.any(Number),
    });
    expect(handoff?.remainingMillis).toBeLessThanOrEqual(10_000);
    expect(info).toEqual(recorder.accepted[0]);
    expect((await client.receive(1)).toString()).toBe('S');
    await client.closed;
    await vi.waitFor(() => expect(listener.negotiatingCount).toBe(0));
  });

  it('is handed off after N and S', async () => {
    const { listener, recorder } = await start({ policy: REQUIRE });
    const client = open(listener);
    await client.send(GSSENC_REQUEST);
    await client.receive(1);
    await client.send(SSL_REQUEST);
    expect((await client.receive(2)).toString()).toBe('NS');
    await recorder.end(0);
    expect(recorder.adopted).toHaveLength(1);
  });

  it('is handed off with a ClientHello as the prefix of direct TLS', async () => {
    const { listener, recorder } = await start({ policy: REQUIRE });
    await open(listener).send(CLIENT_HELLO);
    await recorder.end(0);
    expect(recorder.adopted[0]?.handoff).toMatchObject({
      encryption: 'direct',
      prefix: CLIENT_HELLO,
    });
  });

  it.each([
    ['StartupMessage', STARTUP, false],
    ['CancelRequest', CANCEL_REQUEST, true],
  ])('is handed off with a plaintext %s as the prefix', async (_name, packet, isCancel) => {
    const { listener, recorder } = await start();
    await open(listener).send(packet);
    const { outcome } = await recorder.end(0);
    expect(outcome).toEqual({ type: 'handed-off', encryption: 'none', isCancel });
    expect(recorder.adopted[0]?.handoff.prefix).toEqual(packet);
  });

  it('that half-closes right behind its packet is still handed off', async () => {
    const { listener, recorder } = await start();
    open(listener).socket.end(CANCEL_REQUEST);
    expect((await recorder.end(0)).outcome.type).toBe('handed-off');
  });

  it('arrives byte by byte without losing one', async () => {
    const { listener, recorder } = await start();
    const client = open(listener);
    for (const byte of STARTUP.subarray(0, 8)) {
      await client.send(Buffer.from([byte]));
    }
    await recorder.end(0);
    expect(recorder.adopted[0]?.handoff.prefix).toEqual(STARTUP.subarray(0, 8));
  });

  it.each([10, 100_000])('of which %d more bytes come lives on in the duplicate', async (size) => {
    const payload = Buffer.alloc(size, 'x');
    const { listener, recorder } = await start({
      policy: REQUIRE,
      adopt: (fd) => {
        const heir = spawn('cat', { stdio: [fd, fd, 'inherit'] });
        cleanups.push(() => {
          heir.kill();
        });
      },
    });
    const client = open(listener);
    await client.send(SSL_REQUEST);
    await client.receive(1);
    client.socket.end(payload);
    expect((await client.receive(1 + payload.length)).subarray(1)).toEqual(payload);
    await client.closed;
    expect(recorder.adopted[0]?.handoff.prefix).toBeNull();
  });
});

/** Answers the first look at each socket with `bytes`, as if they had come before it. */
function there(bytes: Buffer): Receive {
  return (_fd, into) => bytes.copy(into);
}

describe('a connection that had sent something by its accept', () => {
  it('is handed off at once, and Node never reads from it', async () => {
    const { listener, recorder } = await start({ policy: REQUIRE, receive: there(SSL_REQUEST) });
    const client = open(listener);
    const { outcome, receivedBytes } = await recorder.end(0);
    expect(outcome).toMatchObject({ type: 'handed-off', encryption: 'negotiated' });
    expect(receivedBytes).toBe(SSL_REQUEST.length);
    expect(recorder.adopted[0]?.handoff.prefix).toBeNull();
    expect(listener.negotiatingCount).toBe(0);
    await client.closed;
  });

  it('is negotiated with as usual when a part of its packet is still to come', async () => {
    const { listener, recorder } = await start({ receive: there(STARTUP.subarray(0, 3)) });
    await open(listener).send(STARTUP.subarray(3));
    await recorder.end(0);
    expect(recorder.adopted[0]?.handoff.prefix).toEqual(STARTUP);
  });

  it('gets the N and goes on when that was a GSSENCRequest', async () => {
    const { listener, recorder } = await start({ receive: there(GSSENC_REQUEST) });
    const client = open(listener);
    expect(await client.receive(1)).toEqual(Buffer.from('N'));
    await client.send(STARTUP);
    await recorder.end(0);
    expect(recorder.adopted[0]?.handoff.prefix).toEqual(STARTUP);
  });

  it('is refused when bytes stand behind its SSLRequest', async () => {
    const stuffed = Buffer.concat([SSL_REQUEST, CLIENT_HELLO]);
    const { listener, recorder } = await start({ policy: REQUIRE, receive: there(stuffed) });
    const client = open(listener);
    await client.closed;
    expect(errorFields(client.received)).toMatchObject({ C: '08P01' });
    expect(recorder.adopted).toEqual([]);
  });

  it('and is gone already is a probe', async () => {
    const { listener, recorder } = await start({ receive: () => -1 });
    const client = open(listener);
    expect((await recorder.end(0)).outcome).toMatchObject({ reason: 'tcp_probe' });
    await client.closed;
    expect(listener.negotiatingCount).toBe(0);
  });
});

describe('a connection that was reset before its accept', () => {
  it('is a probe, and no client that was denied or a proxy that is not trusted', async () => {
    const access = createAccessList(['127.0.0.1/32'], []);
    const proxies = createTrustedProxies(['127.0.0.1/32']);
    const [lists, proxied] = [await start({ access }), await start({ access, proxies })];
    for (const { listener, recorder } of [lists, proxied]) {
      for (let count = 0; count < 20; count += 1) {
        const { socket } = open(listener);
        socket.once('connect', () => socket.resetAndDestroy());
      }
      await recorder.end(19);
      const reasons = new Set(
        recorder.ends.map(({ outcome }) => 'reason' in outcome && outcome.reason),
      );
      expect([...reasons]).toEqual(['tcp_probe']);
      expect(recorder.accepted).toHaveLength(20);
    }
  });
});

describe('a unix socket whose path cannot be looked at any more', () => {
  it('does not keep its listener from closing', async () => {
    const inner = join(directory, 'inner');
    mkdirSync(inner);
    const path = join(inner, 'socket');
    const { listener } = await start({ address: unixAddress(path) });
    renameSync(inner, join(directory, 'moved'));
    symlinkSync(inner, inner);
    await listener.close();
  });
});

describe('a refused connection', () => {
  it('gets the error and an orderly end, also when it is still sending', async () => {
    const { listener, recorder } = await start({ policy: REQUIRE });
    const client = open(listener);
    await client.send(STARTUP.subarray(0, 8));
    await recorder.end(0);
    await client.send(STARTUP.subarray(8));
    await client.closed;
    expect(errorFields(client.received)).toMatchObject({ S: 'FATAL', C: '28000' });
    await vi.waitFor(() => expect(listener.negotiatingCount).toBe(0));
  });

  it('with bytes stuffed behind its SSLRequest never gets an S', async () => {
    const { listener, recorder } = await start({ policy: REQUIRE });
    const client = open(listener);
    await client.send(Buffer.concat([SSL_REQUEST, CLIENT_HELLO]));
    await client.closed;
    expect(errorFields(client.received)).toMatchObject({ C: '08P01' });
    expect(recorder.adopted).toEqual([]);
  });

  it('that floods is cut off', async () => {
    const { listener } = await start({ policy: REQUIRE });
    const client = open(listener);
    client.socket.write(Buffer.alloc(5_000_000, 0xff));
    await client.closed;
    await vi.waitFor(() => expect(listener.negotiatingCount).toBe(0));
  });

  it('for direct TLS where it is not allowed is closed without a byte', async () => {
    const { listener, recorder } = await start({
      policy: { sslmode: 'require', sslnegotiation: 'postgres' },
    });
    const client = open(listener);
    await client.send(CLIENT_HELLO);
    await client.closed;
    expect(client.received).toHaveLength(0);
    expect((await recorder.end(0)).outcome).toMatchObject({ reason: 'direct_tls_refused' });
  });

  it('for its address is closed before a byte is read', async () => {
    const { listener, recorder } = await start({ access: createAccessList([], ['127.0.0.0/8']) });
    const client = open(listener);
    await client.closed;
    expect(client.received).toHaveLength(0);
    expect((await recorder.end(0)).outcome.type).toBe('denied');
    expect(recorder.accepted).toEqual([]);
  });

  it('beyond the number that may negotiate is closed', async () => {
    const { listener, recorder } = await start({ maxNegotiating: 1 });
    const first = open(listener);
    await vi.waitFor(() => expect(listener.negotiatingCount).toBe(1));
    await open(listener).closed;
    expect(recorder.failures).toHaveLength(1);
    await first.send(STARTUP);
    await recorder.end(0);
  });
});

describe('a connection the data plane refuses', () => {
  it('is closed, and the error reported', async () => {
    const error = new PgtlsError('PGTLS_ADOPT_FAILED', 'no descriptor left');
    const { listener, recorder } = await start({
      adopt: () => {
        throw error;
      },
    });
    const client = open(listener);
    await client.send(STARTUP);
    await client.closed;
    expect((await recorder.end(0)).outcome).toEqual({
      type: 'adopt-failed',
      reason: 'adopt_failed',
      error,
    });
    expect(recorder.ends).toHaveLength(1);
    expect(client.received).toHaveLength(0);
  });

  it('because there are too many is told so', async () => {
    const { listener } = await start({
      adopt: () => {
        throw new PgtlsError('PGTLS_TOO_MANY_CONNECTIONS', 'full');
      },
    });
    const client = open(listener);
    await client.send(STARTUP);
    await client.closed;
    expect(errorFields(client.received)).toMatchObject({ C: '53300' });
  });

  it('with an untyped error gets a typed one, and the next connection is unharmed', async () => {
    let calls = 0;
    const { listener, recorder } = await start({
      adopt: () => {
        calls += 1;
        if (calls === 1) {
          throw new TypeError('defect');
        }
      },
    });
    await open(listener).send(STARTUP);
    const { outcome } = await recorder.end(0);
    expect(outcome).toMatchObject({ error: { code: 'PGTLS_ADOPT_FAILED' } });
    await open(listener).send(STARTUP);
    expect((await recorder.end(1)).outcome.type).toBe('handed-off');
  });
});

describe('a connection that does not get on', () => {
  it('is told once client_login_timeout has passed, and not before', async () => {
    const { listener, recorder } = await start({ loginTimeoutMillis: 300 });
    const client = open(listener);
    await client.send(SSL_REQUEST.subarray(0, 7));
    await client.closed;
    expect(errorFields(client.received)).toMatchObject({ C: '57014' });
    const { durationMillis } = await recorder.end(0);
    expect(durationMillis).toBeGreaterThanOrEqual(299);
    // How exact deadlines are is for deadline-queue.test.ts to say; here the machine may be busy.
    expect(durationMillis).toBeLessThan(5_000);
  });

  it('and closes without a byte is a TCP probe', async () => {
    const { listener, recorder } = await start();
    open(listener).socket.end();
    expect((await recorder.end(0)).outcome).toEqual({ type: 'closed', reason: 'tcp_probe' });
  });

  it('and resets within a packet is reported once', async () => {
    const { listener, recorder } = await start();
    const client = open(listener);
    await client.send(SSL_REQUEST.subarray(0, 3));
    await vi.waitFor(() => expect(recorder.accepted).toHaveLength(1));
    client.socket.resetAndDestroy();
    const { outcome } = await recorder.end(0);
    expect(outcome.type).toBe('closed');
    await vi.waitFor(() => expect(listener.negotiatingCount).toBe(0));
    expect(recorder.ends).toHaveLength(1);
  });

  it('is told and closed when the listener closes', async () => {
    const { listener, recorder } = await start();
    const client = open(listener);
    await vi.waitFor(() => expect(listener.negotiatingCount).toBe(1));
    await listener.close();
    await client.closed;
    expect(errorFields(client.received)).toMatchObject({ C: '57P01' });
    expect((await recorder.end(0)).outcome).toMatchObject({ reason: 'admin_shutdown' });
  });
});

describe('binding', () => {
  it('to a port in use names route and address', async () => {
    const { listener } = await start();
    const port = Number(listener.address.split(':').at(-1));
    await expect(
      start({ address: { kind: 'tcp', host: '127.0.0.1', port } }),
    ).rejects.toMatchObject({
      code: 'PGTLS_BIND_FAILED',
      message: expect.stringMatching(
        `^proxy "orders" cannot listen on 127.0.0.1:${port}: address already in use \\(EADDRINUSE\\)`,
      ),
    });
  });

  it('to a port in use names the address once', async () => {
    const { listener } = await start();
    const port = Number(listener.address.split(':').at(-1));
    const error = await start({ address: { kind: 'tcp', host: '127.0.0.1', port } }).catch(
      (reason: Error) => reason,
    );
    expect(String(error).split(String(port))).toHaveLength(2);
  });

  it('tells the real port, also of IPv6', async () => {
    const { listener } = await start({ address: { kind: 'tcp', host: '::1', port: 0 } });
    expect(listener.address).toMatch(/^\[::1\]:[1-9]\d*$/);
  });

  it('to both wildcards of one port works when IPv6 keeps to itself', async () => {
    // A port that is free for IPv6 may be taken for IPv4, by anybody on this machine.
    await vi.waitFor(
      async () => {
        const { listener } = await start({
          address: { kind: 'tcp', host: '::', port: 0 },
          ipv6Only: true,
        });
        const port = Number(listener.address.split(':').at(-1));
        await start({ address: { kind: 'tcp', host: '0.0.0.0', port } });
      },
      { timeout: 30_000, interval: 1 },
    );
  });

  it('writes an IPv4 client of a dual-stack socket as IPv4', async () => {
    const { listener, recorder } = await start({ address: { kind: 'tcp', host: '::', port: 0 } });
    const port = listener.address.split(':').at(-1);
    const client = new RawClient(`127.0.0.1:${port}`);
    await client.send(STARTUP);
    const { info } = await recorder.end(0);
    expect(info.peer).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(info.localAddress).toBe(`127.0.0.1:${port}`);
  });
});

describe('a unix socket', () => {
  it('is negotiated on like any other, and its clients are named by its path', async () => {
    const path = join(directory, 's');
    const { listener, recorder } = await start({ address: unixAddress(path), policy: REQUIRE });
    expect(listener.address).toBe(`unix:${path}`);
    await open(listener).send(SSL_REQUEST);
    await recorder.end(0);
    expect(recorder.adopted[0]?.handoff).toMatchObject({
      encryption: 'negotiated',
      peer: `unix:${path}`,
      localAddress: `unix:${path}`,
    });
  });

  it('is not asked for its address', async () => {
    const address = unixAddress(join(directory, 's'));
    const access = createAccessList(['10.0.0.0/8'], []);
    const { listener, recorder } = await start({ address, access });
    await open(listener).send(STARTUP);
    expect((await recorder.end(0)).outcome.type).toBe('handed-off');
  });

  it('gets its mode and its group', async () => {
    const path = join(directory, 's');
    const gid = statSync(directory).gid;
    await start({ address: unixAddress(path, 0o660, String(gid)) });
    expect(statSync(path).mode & 0o777).toBe(0o660);
    expect(statSync(path).gid).toBe(gid);
  });

  it('of an unknown group is not bound', async () => {
    const path = join(directory, 's');
    const bind = start({ address: unixAddress(path, null, 'no-such-group') });
    await expect(bind).rejects.toMatchObject({
      code: 'PGTLS_BIND_FAILED',
      message: expect.stringContaining('no-such-group'),
    });
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('that nobody listens on any more is replaced', async () => {
    const path = join(directory, 's');
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    const child = spawn(process.execPath, ['-e', script]);
    await new Promise((resolve) => child.on('exit', resolve));
    expect(statSync(path).isSocket()).toBe(true);
    const { listener, recorder } = await start({ address: unixAddress(path) });
    await open(listener).send(STARTUP);
    await recorder.end(0);
  });

  it('that is alive is left alone', async () => {
    const path = join(directory, 's');
    const { listener, recorder } = await start({ address: unixAddress(path) });
    await expect(start({ address: unixAddress(path) })).rejects.toMatchObject({
      code: 'PGTLS_BIND_FAILED',
      message: expect.stringContaining(path),
    });
    await open(listener).send(STARTUP);
    await vi.waitFor(() => expect(recorder.adopted).toHaveLength(1));
  });

  it('never replaces a file that is no socket', async () => {
    const path = join(directory, 's');
    writeFileSync(path, 'precious');
    await expect(start({ address: unixAddress(path) })).rejects.toMatchObject({
      code: 'PGTLS_BIND_FAILED',
    });
    expect(statSync(path).size).toBe(8);
  });

  it('is removed when its listener closes', async () => {
    const path = join(directory, 's');
    const { listener } = await start({ address: unixAddress(path) });
    await listener.close();
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });
});
