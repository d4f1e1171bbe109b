/** A listener with a recording observer and data plane, and a raw client for it. */
import { writeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { vi } from 'vitest';
import { bindListener as bindAddress } from '../../src/data-plane/data-plane.ts';
import { createAccessList } from '../../src/listener/access.ts';
import type { ConnectionEnd, ConnectionInfo } from '../../src/listener/connection.ts';
import type { Adopt, Handoff } from '../../src/listener/handoff.ts';
import { bindListener, type Listener, type ListenerOptions } from '../../src/listener/listener.ts';

/** What happened at a listener, in order. */
export class Recorder {
  readonly accepted: ConnectionInfo[] = [];
  readonly ends: (ConnectionEnd & { info: ConnectionInfo })[] = [];
  readonly adopted: { fd: number; handoff: Handoff }[] = [];
  readonly failures: Error[] = [];

  /** Resolves with the n-th end of a connection. */
  async end(index: number): Promise<ConnectionEnd & { info: ConnectionInfo }> {
    return await vi.waitFor(() => present(this.ends[index]), { timeout: 30_000, interval: 5 });
  }
}

/** The value, or an error when there is none. */
function present<T>(value: T | undefined): T {
  if (value === undefined) {
    throw new Error('not there yet');
  }
  return value;
}

/** A listener on 127.0.0.1 unless told otherwise; `adopt` runs after the call was recorded. */
export async function startListener(
  options: Partial<ListenerOptions> = {},
): Promise<{ listener: Listener; recorder: Recorder }> {
  const recorder = new Recorder();
  const adopt: Adopt = (fd, handoff) => {
    recorder.adopted.push({ fd, handoff });
    if (handoff.encryption === 'negotiated') {
      writeSync(fd, 'S');
    }
    options.adopt?.(fd, handoff);
  };
  let lastId = 0;
  const listener = await bindListener({
    routeId: 3,
    routeName: 'orders',
    address: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    ipv6Only: false,
    backlog: 128,
    inherited: null,
    reusePort: false,
    bindSocket: bindAddress,
    isHeld: false,
    maxNegotiating: 0,
    policy: { sslmode: 'prefer', sslnegotiation: 'any' },
    access: createAccessList([], []),
    rate: null,
    negotiating: null,
    proxies: null,
    loginTimeoutMillis: 10_000,
    receive: () => 0,
    nextConnectionId: () => ++lastId,
    observer: {
      accepted: (info) => recorder.accepted.push(info),
      finished: (info, end) => recorder.ends.push({ ...end, info }),
      acceptFailed: (_routeId, error) => recorder.failures.push(error),
    },
    ...options,
    adopt,
  });
  return { listener, recorder };
}

/** A client that keeps everything it receives. */
export class RawClient {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  received: Buffer = Buffer.alloc(0);

  constructor(address: string) {
    this.socket = address.startsWith('unix:')
      ? connect({ path: address.slice('unix:'.length), allowHalfOpen: true })
      : connect({ ...hostAndPort(address), allowHalfOpen: true, noDelay: true });
    this.socket.on('data', (bytes) => {
      this.received = Buffer.concat([this.received, bytes]);
    });
    // A reset is one of the ways a connection is closed here.
    this.socket.on('error', () => {});
    this.socket.on('end', () => this.socket.end());
    this.closed = new Promise((resolve) => this.socket.on('close', () => resolve()));
  }

  /** Sends, and resolves when the kernel has it. */
  async send(bytes: Buffer | string): Promise<void> {
    await new Promise((resolve) => this.socket.write(bytes, resolve));
  }

  /** Resolves when so many bytes have arrived. */
  async receive(count: number): Promise<Buffer> {
    await vi.waitFor(
      () => {
        if (this.received.length < count) {
          throw new Error(`only ${this.received.length} of ${count} bytes arrived`);
        }
      },
      { timeout: 30_000, interval: 2 },
    );
    return this.received;
  }
}

function hostAndPort(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host, port: Number(address.slice(colon + 1)) };
}
