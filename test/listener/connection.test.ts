/** Who answers a request for encryption, and what real sockets rarely do: an answer that the kernel does not take at once. */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { Connection, type ConnectionEnd } from '../../src/listener/connection.ts';
import { DeadlineQueue } from '../../src/listener/deadline-queue.ts';
import type { Handoff } from '../../src/listener/handoff.ts';
import { GSSENC_REQUEST, SSL_REQUEST } from '../negotiation/packets.ts';

/** A socket whose writes end when `finishWrite` is called. */
class SlowSocket extends Duplex {
  readonly _handle = { fd: 9 };
  finishWrite: (error?: Error) => void = () => {};

  constructor() {
    super({ allowHalfOpen: true });
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: string, done: (error?: Error | null) => void): void {
    this.finishWrite = done;
  }
}

function negotiate() {
  const socket = new SlowSocket();
  const handoffs: Handoff[] = [];
  const ends: ConnectionEnd[] = [];
  const closed = vi.fn();
  const connection = new Connection(
    socket as unknown as Socket,
    { connectionId: 1, routeId: 0 },
    { peer: '192.0.2.1:1', peerHost: '192.0.2.1', localAddress: '192.0.2.2:6432' },
    {
      policy: { sslmode: 'require', sslnegotiation: 'any' },
      adopt: (_fd, handoff) => handoffs.push(handoff),
      receive: () => 0,
      identified: null,
      loginDeadlines: new DeadlineQueue(0),
      lingerDeadlines: new DeadlineQueue(0),
      finished: (_info, end) => ends.push(end),
      closed,
    },
  );
  connection.start();
  return { socket, connection, handoffs, ends, closed };
}

/** Sends, and lets the readable event happen. */
async function arrive(socket: SlowSocket, bytes: Buffer): Promise<void> {
  socket.push(bytes);
  await new Promise((resolve) => setImmediate(resolve));
}

describe("an 'N' that is not written at once", () => {
  it('puts what comes behind it off until it is', async () => {
    const { socket, handoffs, ends } = negotiate();
    await arrive(socket, GSSENC_REQUEST);
    socket.finishWrite();
    await arrive(socket, SSL_REQUEST);
    expect(ends).toHaveLength(1);
    expect(handoffs).toMatchObject([{ encryption: 'negotiated', prefix: null }]);
  });

  it('is not waited for when bytes arrive before it', async () => {
    const { socket, handoffs, ends } = negotiate();
    await arrive(socket, GSSENC_REQUEST);
    await arrive(socket, SSL_REQUEST);
    expect(ends).toMatchObject([{ outcome: { reason: 'stuffed_bytes' } }]);
    socket.finishWrite();
    expect(handoffs).toEqual([]);
  });

  it('never leads to a hand-off when it fails', async () => {
    const { socket, handoffs, ends, closed } = negotiate();
    await arrive(socket, GSSENC_REQUEST);
    socket.finishWrite(new Error('EPIPE'));
    await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce());
    expect(handoffs).toEqual([]);
    expect(ends).toMatchObject([{ outcome: { type: 'closed', reason: 'client_reset' } }]);
  });

  it('is given up at the deadline', async () => {
    const { socket, connection, ends } = negotiate();
    await arrive(socket, GSSENC_REQUEST);
    connection.expire();
    expect(ends).toMatchObject([{ outcome: { reason: 'login_timeout' } }]);
    connection.expire();
    expect(socket.destroyed).toBe(true);
  });
});

describe("an 'S'", () => {
  it('is left to the data plane: nothing is written before the hand-off', async () => {
    const { socket, handoffs, ends } = negotiate();
    const written = vi.spyOn(socket, '_write');
    await arrive(socket, SSL_REQUEST);
    expect(ends).toHaveLength(1);
    expect(handoffs).toMatchObject([{ encryption: 'negotiated', prefix: null }]);
    expect(written).not.toHaveBeenCalled();
    expect(socket.destroyed).toBe(true);
  });
});
