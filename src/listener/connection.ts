/**
 * One accepted socket from its accept to the hand-off or the close: wires socket, negotiation,
 * deadline and hand-off together, and reports the end exactly once.
 *
 * Owns the socket. Nothing of it outlives the hand-off; after a refusal it lingers, so that the
 * error is read before the kernel resets the connection over bytes that nobody will read.
 */
import type { Socket } from 'node:net';
import { PgtlsError } from '../errors.ts';
import { type ErrorResponse, encodeErrorResponse } from '../negotiation/error-response.ts';
import { type NegotiationPort, Negotiator } from '../negotiation/negotiator.ts';
import type {
  Encryption,
  NegotiationEvent,
  NegotiationOutcome,
  NegotiationPolicy,
  Reply,
} from '../negotiation/state.ts';
import { formatHostPort, type SocketAddresses, withoutMapping } from './address.ts';
import type { DeadlineQueue } from './deadline-queue.ts';
import type { DenialReason } from './gate.ts';
import { type Adopt, handOff, type Receive, receivedAtOnce } from './handoff.ts';
import { ProxiedNegotiation, type ProxyHeaderOutcome } from './proxied-negotiation.ts';
import type { ProxiedClient } from './proxy-protocol.ts';

/** What is known of a connection from its accept on. */
export interface ConnectionInfo {
  readonly connectionId: number;
  readonly routeId: number;
  readonly peer: string;
  readonly localAddress: string;
}

/** How a connection ended on this side; `handed-off` means that the data plane reports its end. */
export type ConnectionOutcome =
  | NegotiationOutcome
  /** Denied by its address, or without the PROXY header it needs. */
  | ProxyHeaderOutcome
  /** The data plane refused it, or the descriptor could not be had. */
  | { readonly type: 'adopt-failed'; readonly reason: 'adopt_failed'; readonly error: PgtlsError }
  /** A defect of pgtls itself; costs this connection only. */
  | {
      readonly type: 'internal-error';
      readonly reason: 'internal_error';
      readonly error: unknown;
    };

/** The end of a connection on this side. */
export interface ConnectionEnd {
  readonly outcome: ConnectionOutcome;
  /** Bytes the client sent until then, as far as they were read. */
  readonly receivedBytes: number;
  readonly durationMillis: number;
}

/** What a connection shares with the others of its listener. */
export interface ConnectionContext {
  readonly policy: NegotiationPolicy;
  readonly adopt: Adopt;
  readonly receive: Receive;
  /**
   * Says whether a client may connect whose address a PROXY header tells (undefined: it has none); null = connections
   * begin without such a header.
   */
  readonly identified:
    | ((info: ConnectionInfo, host: string | undefined) => DenialReason | null)
    | null;
  /** client_login_timeout. */
  readonly loginDeadlines: DeadlineQueue;
  /** How long a refused client may take to read why. */
  readonly lingerDeadlines: DeadlineQueue;
  /** Called once, at the hand-off or the end of the negotiation. */
  readonly finished: (info: ConnectionInfo, end: ConnectionEnd) => void;
  /** Called once, when the socket is closed. */
  readonly closed: (connection: Connection) => void;
}

/** A refused client that keeps sending is cut off after so many bytes. */
const MAX_LINGER_BYTES = 64 * 1024;

const TOO_MANY_CONNECTIONS: ErrorResponse = {
  sqlstate: '53300',
  message: 'sorry, too many clients already',
  hint: null,
};

/** A socket that still belongs to Node. */
export class Connection implements NegotiationPort {
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  readonly #negotiator: Negotiator | ProxiedNegotiation;
  #info: ConnectionInfo;
  readonly #acceptedAtMillis: number = performance.now();
  #receivedBytes = 0;
  #isFinished = false;

  constructor(
    socket: Socket,
    ids: { connectionId: number; routeId: number },
    addresses: SocketAddresses,
    context: ConnectionContext,
  ) {
    const { peer, localAddress } = addresses;
    this.#info = { ...ids, peer, localAddress };
    this.#socket = socket;
    this.#context = context;
    const negotiator = new Negotiator(context.policy, this);
    const { identified } = context;
    this.#negotiator =
      identified === null
        ? negotiator
        : new ProxiedNegotiation(negotiator, {
            identify: (client) => identified(...this.#identify(client, addresses)),
            close: () => this.close(),
          });
    context.loginDeadlines.add(this);
  }

  /** What is known of it by now: the peer is the load balancer until its PROXY header was read. */
  get info(): ConnectionInfo {
    return this.#info;
  }

  /** Begins to read. Most connections end here, handed over with what they had sent by now. */
  start(): void {
    const socket = this.#socket;
    this.#guard(() => this.#lookAtOnce());
    if (socket.destroyed) {
      this.#onClose();
      return;
    }
    socket.on('readable', () => this.#guard(() => this.#onReadable()));
    socket.on('end', () => this.#guard(() => this.#onEnd()));
    socket.on('error', () => this.#guard(() => this.#handle({ type: 'socket-failed' })));
    socket.on('close', () => this.#onClose());
  }

  /** client_login_timeout has passed, or a refused client took too long to go away. */
  expire(): void {
    this.#guard(() => {
      if (this.#isFinished) {
        this.#socket.destroy();
      } else {
        this.#handle({ type: 'deadline-passed' });
      }
    });
  }

  /** The proxy stops: tells the client and closes, without waiting for it to read. */
  shutdown(): void {
    this.#guard(() => {
      this.#handle({ type: 'shutdown' });
      this.#socket.destroy();
    });
  }

  /**
   * Of {@link NegotiationPort}. 'S' is left to the data plane, which sends it before all else: what
   * comes behind it is TLS in any case. 'N' is ours, for plaintext may follow.
   */
  reply(reply: Reply): void {
    if (reply === 'S') {
      this.#handle({ type: 'reply-written' });
      return;
    }
    this.#socket.write(reply, 'latin1', (error) => {
      if (!error) {
        this.#guard(() => this.#handle({ type: 'reply-written' }));
      }
    });
  }

  /** Of {@link NegotiationPort}. */
  handOff(encryption: Encryption, prefix: Buffer | null): void {
    const remainingMillis = this.#context.loginDeadlines.remainingMillis(this);
    try {
      const handoff = { ...this.info, encryption, prefix, remainingMillis };
      handOff(this.#socket, handoff, this.#context.adopt);
    } catch (cause) {
      this.#onAdoptFailed(encryption, cause);
    }
  }

  /** Of {@link NegotiationPort}. */
  refuse(error: ErrorResponse | null): void {
    if (error === null) {
      this.#socket.destroy();
      return;
    }
    this.#socket.end(encodeErrorResponse(error));
    this.#context.lingerDeadlines.add(this);
  }

  /** Of {@link NegotiationPort}. */
  close(): void {
    this.#socket.destroy();
  }

  #lookAtOnce(): void {
    const bytes = receivedAtOnce(this.#socket, this.#context.receive);
    if (bytes === 'failed') {
      this.#handle({ type: 'socket-failed' });
    } else if (bytes !== null) {
      this.#receivedBytes += bytes.length;
      this.#handle({ type: 'bytes', bytes });
    }
  }

  /** Takes the address of the client a load balancer speaks for. */
  #identify(
    client: ProxiedClient | null,
    { peerHost }: SocketAddresses,
  ): [info: ConnectionInfo, host: string | undefined] {
    if (client === null) {
      return [this.#info, peerHost];
    }
    const host = withoutMapping(client.host) ?? client.host;
    this.#info = { ...this.#info, peer: formatHostPort(host, client.port) };
    return [this.#info, host];
  }

  #onReadable(): void {
    const bytes = this.#socket.read() as Buffer | null;
    if (bytes === null) {
      return;
    }
    this.#receivedBytes += bytes.length;
    if (!this.#isFinished) {
      this.#handle({ type: 'bytes', bytes });
    } else if (this.#receivedBytes > MAX_LINGER_BYTES) {
      this.#socket.destroy();
    }
  }

  #onEnd(): void {
    if (this.#isFinished) {
      this.#socket.destroy();
    } else {
      this.#handle({ type: 'client-ended' });
    }
  }

  #onClose(): void {
    this.#context.loginDeadlines.delete(this);
    this.#context.lingerDeadlines.delete(this);
    this.#context.closed(this);
  }

  #handle(event: NegotiationEvent): void {
    if (this.#isFinished) {
      return;
    }
    this.#negotiator.handle(event);
    const outcome = this.#negotiator.outcome;
    if (outcome !== null) {
      this.#finish(outcome);
    }
  }

  #onAdoptFailed(encryption: Encryption, cause: unknown): void {
    const error =
      cause instanceof PgtlsError
        ? cause
        : new PgtlsError(
            'PGTLS_ADOPT_FAILED',
            `the connection could not be handed over: ${String(cause)}`,
            { cause },
          );
    if (error.code === 'PGTLS_TOO_MANY_CONNECTIONS' && encryption !== 'direct') {
      this.#socket.write(encodeErrorResponse(TOO_MANY_CONNECTIONS));
    }
    this.#socket.destroy();
    this.#finish({ type: 'adopt-failed', reason: 'adopt_failed', error });
  }

  #finish(outcome: ConnectionOutcome): void {
    if (this.#isFinished) {
      return;
    }
    this.#isFinished = true;
    this.#context.loginDeadlines.delete(this);
    this.#context.finished(this.info, {
      outcome,
      receivedBytes: this.#receivedBytes,
      durationMillis: performance.now() - this.#acceptedAtMillis,
    });
  }

  /** No exception leaves a handler: a defect costs this connection, never the process. */
  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#socket.destroy();
      this.#finish({ type: 'internal-error', reason: 'internal_error', error });
    }
  }
}
