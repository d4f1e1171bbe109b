/**
 * A listening socket of one route: binds, accepts, checks access, and gives every connection to
 * the negotiation. What happens to one connection never reaches another.
 *
 * Owns the server and the connections that still negotiate; `close` ends both.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { BindAddress } from '../config/schema.ts';
import { PgtlsError } from '../errors.ts';
import type { NegotiationPolicy } from '../negotiation/state.ts';
import {
  formatBindAddress,
  formatHostPort,
  type SocketAddresses,
  socketAddresses,
} from './address.ts';
import {
  Connection,
  type ConnectionContext,
  type ConnectionEnd,
  type ConnectionInfo,
} from './connection.ts';
import { DeadlineQueue } from './deadline-queue.ts';
import { clientDenial, type DenialReason, type GateOptions, socketDenial } from './gate.ts';
import type { Adopt } from './handoff.ts';
import { applyPermissions, removeStaleSocket } from './unix-socket.ts';

/** What one listener is told; everything but the address is the same for all of a route. */
export interface ListenerOptions extends GateOptions {
  readonly routeId: number;
  readonly routeName: string;
  readonly address: BindAddress;
  /** Leaves the IPv4 port of an IPv6 wildcard to another listener. */
  readonly ipv6Only: boolean;
  readonly backlog: number;
  /** Connections beyond so many that still negotiate are closed at once; 0 = unlimited. */
  readonly maxNegotiating: number;
  readonly policy: NegotiationPolicy;
  /** From accept to the first ReadyForQuery; 0 = unlimited. */
  readonly loginTimeoutMillis: number;
  readonly nextConnectionId: () => number;
  readonly adopt: Adopt;
  readonly observer: ListenerObserver;
}

/** Who is told what happens; must not throw. */
export interface ListenerObserver {
  accepted(info: ConnectionInfo): void;
  finished(info: ConnectionInfo, end: ConnectionEnd): void;
  /** The server could not accept, for example for want of descriptors; it goes on. */
  acceptFailed(routeId: number, error: Error): void;
}

/** A bound listener. */
export interface Listener {
  /** As bound, with the real port. */
  readonly address: string;
  /** Connections whose socket is still Node's. */
  readonly negotiatingCount: number;
  /** Stops accepting and closes every connection that still negotiates; idempotent. */
  close(): Promise<void>;
}

/** How long a refused client may take to read its error and close. */
const LINGER_MILLIS = 2_000;

/** Binds; throws PGTLS_BIND_FAILED naming the route and the address. */
export async function bindListener(options: ListenerOptions): Promise<Listener> {
  const listener = new BoundListener(options);
  try {
    await listener.listen();
    return listener;
  } catch (cause) {
    await listener.close();
    const reason = cause instanceof Error ? cause.message : String(cause);
    const address = formatBindAddress(options.address);
    throw new PgtlsError(
      'PGTLS_BIND_FAILED',
      `proxy "${options.routeName}" cannot listen on ${address}: ${reason}`,
      { cause },
    );
  }
}

class BoundListener implements Listener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #context: ConnectionContext;
  #closing: Promise<void> | null = null;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#context = {
      policy: options.policy,
      adopt: options.adopt,
      identified: options.proxies === null ? null : (info, host) => this.#identified(info, host),
      loginDeadlines: new DeadlineQueue(options.loginTimeoutMillis),
      lingerDeadlines: new DeadlineQueue(LINGER_MILLIS),
      finished: (info, end) => options.observer.finished(info, end),
      closed: (connection) => this.#connections.delete(connection),
    };
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    if (options.maxNegotiating > 0) {
      this.#server.maxConnections = options.maxNegotiating;
    }
    this.#server.on('drop', () =>
      options.observer.acceptFailed(options.routeId, new Error('too many connections negotiate')),
    );
    this.#server.on('connection', (socket) => {
      try {
        this.#onConnection(socket);
      } catch (error) {
        socket.destroy();
        options.observer.acceptFailed(options.routeId, error as Error);
      }
    });
  }

  get address(): string {
    const bound = this.#server.address();
    return bound === null || typeof bound === 'string'
      ? formatBindAddress(this.#options.address)
      : formatHostPort(bound.address, bound.port);
  }

  get negotiatingCount(): number {
    return this.#connections.size;
  }

  async listen(): Promise<void> {
    const { address, observer, routeId } = this.#options;
    try {
      await this.#bind();
    } catch (error) {
      const isInUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (address.kind === 'tcp' || !isInUse || !(await removeStaleSocket(address.path))) {
        throw error;
      }
      await this.#bind();
    }
    this.#server.on('error', (error) => observer.acceptFailed(routeId, error));
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      // An error here says that the server never listened.
      this.#server.close(() => resolve());
      for (const connection of this.#connections) {
        connection.shutdown();
      }
      this.#context.loginDeadlines.close();
      this.#context.lingerDeadlines.close();
    });
    return this.#closing;
  }

  #bind(): Promise<void> {
    const { address, backlog, ipv6Only } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.once('listening', () => {
        this.#server.removeListener('error', reject);
        resolve();
      });
      if (address.kind === 'tcp') {
        this.#server.listen({ host: address.host, port: address.port, backlog, ipv6Only });
        return;
      }
      this.#server.listen({ path: address.path, backlog });
      if (this.#server.listening) {
        applyPermissions(address.path, address.mode, address.group);
      }
    });
  }

  #onConnection(socket: Socket): void {
    const { routeId, address, observer, nextConnectionId, proxies } = this.#options;
    const addresses = socketAddresses(socket, address);
    const ids = { connectionId: nextConnectionId(), routeId };
    const isUnix = address.kind === 'unix';
    const denial = socketDenial(this.#options, { isUnix, host: addresses.peerHost });
    if (denial !== null) {
      this.#deny(socket, ids, addresses, denial);
      return;
    }
    const connection = new Connection(socket, ids, addresses, this.#context);
    this.#connections.add(connection);
    if (proxies === null) {
      observer.accepted(connection.info);
    }
    connection.start();
  }

  /** A PROXY header told who the client is. */
  #identified(info: ConnectionInfo, host: string | undefined): DenialReason | null {
    const isUnix = host === undefined && this.#options.address.kind === 'unix';
    const denial = isUnix ? null : clientDenial(this.#options, host);
    if (denial === null) {
      this.#options.observer.accepted(info);
    }
    return denial;
  }

  /** Closed before a byte was read. */
  #deny(
    socket: Socket,
    ids: { connectionId: number; routeId: number },
    { peer, localAddress }: SocketAddresses,
    reason: DenialReason,
  ): void {
    socket.on('error', () => {}).destroy();
    this.#options.observer.finished(
      { ...ids, peer, localAddress },
      {
        outcome: { type: 'denied', reason },
        receivedBytes: 0,
        durationMillis: 0,
      },
    );
  }
}
