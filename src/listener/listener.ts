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
import type { Adopt, Receive } from './handoff.ts';
import { type BindRequest, type InheritedSocket, ServerSocket } from './server-socket.ts';

/** What one listener is told and may be told anew; everything but the address is the same for all of a route. */
export interface ListenerSettings extends GateOptions {
  readonly routeId: number;
  readonly routeName: string;
  /** A reload changes no more of it than mode and group of a unix socket. */
  readonly address: BindAddress;
  /** Connections beyond so many that still negotiate are closed at once; 0 = unlimited. */
  readonly maxNegotiating: number;
  readonly policy: NegotiationPolicy;
  /** From accept to the first ReadyForQuery; 0 = unlimited. */
  readonly loginTimeoutMillis: number;
}

/** All that makes a listener. */
export interface ListenerOptions extends ListenerSettings {
  /** Leaves the IPv4 port of an IPv6 wildcard to another listener. */
  readonly ipv6Only: boolean;
  readonly backlog: number;
  /** What to listen on instead of binding; null = bind. */
  readonly inherited: InheritedSocket | null;
  /** Shares the port with others that ask for it, too. */
  readonly reusePort: boolean;
  /** Binds what Node cannot, and gives the descriptor. */
  readonly bindSocket: (request: BindRequest) => number;
  /** Lets connections wait until {@link Listener.release}. */
  readonly isHeld: boolean;
  readonly nextConnectionId: () => number;
  readonly adopt: Adopt;
  readonly receive: Receive;
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
  /** The listening socket, with its descriptor and path. */
  readonly socket: ServerSocket;
  /** For connections to come; those that negotiate go on as they began. Throws, last of all, when mode or group cannot be set. */
  reconfigure(settings: ListenerSettings): void;
  /** Serves the connections that were held, and those to come at once. */
  release(): void;
  /** Stops accepting and removes the path; resolves when the last connection that negotiates is done with. */
  stopAccepting(): Promise<void>;
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
    const address = formatBindAddress(options.address);
    const reason = bindReason(cause);
    throw new PgtlsError(
      'PGTLS_BIND_FAILED',
      `proxy "${options.routeName}" cannot listen on ${address}: ${reason}`,
      { cause },
    );
  }
}

/** The kernel's reason in PostgreSQL's words; Node.js's text repeats the address. */
function bindReason(cause: unknown): string {
  const { code = '', syscall } = cause as NodeJS.ErrnoException;
  const reason = syscall === 'listen' ? BIND_REASONS[code] : undefined;
  return reason ?? (cause instanceof Error ? cause.message : String(cause));
}

const BIND_REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'address already in use (EADDRINUSE): is another program, or another pgtls, there?',
  EADDRNOTAVAIL: 'cannot assign requested address (EADDRNOTAVAIL): no interface here has it',
  EACCES: 'permission denied (EACCES)',
};

class BoundListener implements Listener {
  readonly socket: ServerSocket;
  #options: ListenerOptions;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #context: ConnectionContext;
  /** Connections whose PROXY header is awaited. */
  readonly #unidentified = new Set<number>();
  /** Of all contexts, until the end. */
  readonly #queues = new Set<DeadlineQueue>();
  #held: Socket[] | null;
  #closing: Promise<void> | null = null;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#context = {
      policy: options.policy,
      adopt: options.adopt,
      receive: options.receive,
      identified: this.#identifier(options),
      loginDeadlines: new DeadlineQueue(options.loginTimeoutMillis),
      lingerDeadlines: new DeadlineQueue(LINGER_MILLIS),
      finished: (info, end) => this.#finished(info, end),
      closed: (connection) => this.#connections.delete(connection),
    };
    this.#queues.add(this.#context.loginDeadlines).add(this.#context.lingerDeadlines);
    this.#held = options.isHeld ? [] : null;
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    this.#server.maxConnections = options.maxNegotiating || Number.MAX_SAFE_INTEGER;
    this.socket = new ServerSocket(this.#server, options);
    this.#server.on('drop', () =>
      options.observer.acceptFailed(
        this.#options.routeId,
        new Error('too many connections negotiate'),
      ),
    );
    this.#server.on('connection', (socket) => this.#take(socket));
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
    await this.socket.listen();
    const { observer } = this.#options;
    this.#server.on('error', (error) => observer.acceptFailed(this.#options.routeId, error));
  }

  reconfigure(settings: ListenerSettings): void {
    const { policy, maxNegotiating, loginTimeoutMillis } = settings;
    if (loginTimeoutMillis !== this.#options.loginTimeoutMillis) {
      const loginDeadlines = new DeadlineQueue(loginTimeoutMillis);
      this.#queues.add(loginDeadlines);
      this.#context = { ...this.#context, loginDeadlines };
    }
    this.#context = { ...this.#context, policy, identified: this.#identifier(settings) };
    this.#server.maxConnections = maxNegotiating || Number.MAX_SAFE_INTEGER;
    this.#options = { ...this.#options, ...settings };
    this.socket.applyPermissions(settings.address);
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const socket of held) {
      this.#take(socket);
    }
  }

  stopAccepting(): Promise<void> {
    this.socket.removePath();
    return new Promise((resolve) => {
      // An error here says that it did not listen any more.
      this.#server.close(() => resolve());
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #close(): Promise<void> {
    const closed = this.stopAccepting();
    for (const connection of this.#connections) {
      connection.shutdown();
    }
    for (const socket of this.#held ?? []) {
      socket.on('error', () => {}).destroy();
    }
    for (const queue of this.#queues) {
      queue.close();
    }
    return closed;
  }

  #take(socket: Socket): void {
    try {
      if (this.#held === null) {
        this.#onConnection(socket);
      } else {
        this.#held.push(socket);
      }
    } catch (error) {
      socket.destroy();
      this.#options.observer.acceptFailed(this.#options.routeId, error as Error);
    }
  }

  #onConnection(socket: Socket): void {
    const { routeId, address, observer, nextConnectionId, proxies } = this.#options;
    const addresses = socketAddresses(socket, address);
    const ids = { connectionId: nextConnectionId(), routeId };
    const isUnix = address.kind === 'unix';
    if (!isUnix && addresses.peerHost === undefined) {
      this.#leave(socket, ids, addresses);
      return;
    }
    const host = addresses.peerHost;
    const denial = socketDenial(this.#options, { ...ids, isUnix, host });
    if (denial !== null) {
      this.#deny(socket, ids, addresses, denial);
      return;
    }
    const connection = new Connection(socket, ids, addresses, this.#context);
    this.#connections.add(connection);
    if (proxies === null) {
      observer.accepted(connection.info);
    } else {
      this.#unidentified.add(ids.connectionId);
    }
    connection.start();
  }

  #identifier({ proxies }: GateOptions): ConnectionContext['identified'] {
    return proxies === null ? null : (info, host) => this.#identified(info, host);
  }

  /** One that ended while its PROXY header was awaited was accepted all the same; denials tell that themselves. */
  #finished(info: ConnectionInfo, end: ConnectionEnd): void {
    const { observer, negotiating } = this.#options;
    const { type } = end.outcome;
    negotiating?.leave(info.connectionId);
    if (this.#unidentified.delete(info.connectionId) && type !== 'header-refused') {
      observer.accepted(info);
    }
    observer.finished(info, end);
  }

  /** A PROXY header told who the client is. */
  #identified(info: ConnectionInfo, host: string | undefined): DenialReason | null {
    const { connectionId } = info;
    const isUnix = host === undefined && this.#options.address.kind === 'unix';
    const denial = isUnix ? null : clientDenial(this.#options, { connectionId, host });
    this.#unidentified.delete(connectionId);
    if (denial === null) {
      this.#options.observer.accepted(info);
    }
    return denial;
  }

  /** Its peer has reset it before we could look: a TCP check, and nobody to judge. */
  #leave(
    socket: Socket,
    ids: { connectionId: number; routeId: number },
    { peer, localAddress }: SocketAddresses,
  ): void {
    socket.on('error', () => {}).destroy();
    const { observer } = this.#options;
    const info = { ...ids, peer, localAddress };
    const outcome = { type: 'closed', reason: 'tcp_probe' } as const;
    observer.accepted(info);
    observer.finished(info, { outcome, receivedBytes: 0, durationMillis: 0 });
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
