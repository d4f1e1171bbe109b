/**
 * The PROXY header in front of a negotiation: takes the bytes until the header is complete, and gives what follows
 * to the negotiation as if it had come first.
 *
 * Everything else that may happen meanwhile is the negotiation's, which has seen no byte yet.
 */
import type { Negotiator } from '../negotiation/negotiator.ts';
import type { NegotiationEvent, NegotiationOutcome } from '../negotiation/state.ts';
import type { DenialReason } from './gate.ts';
import { type ProxiedClient, parseProxyHeader } from './proxy-protocol.ts';

/** How a connection ended before its negotiation could begin. */
export type ProxyHeaderOutcome =
  /** The client may not connect: its address became known with the header. */
  | { readonly type: 'denied'; readonly reason: DenialReason }
  | {
      readonly type: 'header-refused';
      readonly reason: 'proxy_header_missing' | 'proxy_header_malformed';
      readonly problem: string;
    };

/** What the header is told to; the owner of the socket. */
export interface ProxyHeaderPort {
  /** Takes who the client is, null = whoever is at the other end; says why it may not connect. */
  identify(client: ProxiedClient | null): DenialReason | null;
  /** Closes without a word. */
  close(): void;
}

const MISSING =
  'the connection does not begin with a PROXY header: the load balancer must send one (HAProxy: send-proxy-v2)';

/** A negotiation behind a PROXY header; `handle` is the only way in, as with {@link Negotiator}. */
export class ProxiedNegotiation {
  readonly #negotiator: Negotiator;
  readonly #port: ProxyHeaderPort;
  /** What came of the header, at most one header and one read; null once it is complete. */
  #buffered: Buffer | null = Buffer.alloc(0);
  #outcome: ProxyHeaderOutcome | null = null;

  constructor(negotiator: Negotiator, port: ProxyHeaderPort) {
    this.#negotiator = negotiator;
    this.#port = port;
  }

  /** How it ended, or null while it lasts. */
  get outcome(): ProxyHeaderOutcome | NegotiationOutcome | null {
    return this.#outcome ?? this.#negotiator.outcome;
  }

  /** Takes one event. */
  handle(event: NegotiationEvent): void {
    if (this.#buffered === null || event.type !== 'bytes') {
      this.#negotiator.handle(event);
    } else if (this.#outcome === null) {
      this.#read(Buffer.concat([this.#buffered, event.bytes]));
    }
  }

  #read(bytes: Buffer): void {
    const header = parseProxyHeader(bytes);
    switch (header.type) {
      case 'incomplete':
        this.#buffered = bytes;
        break;
      case 'missing':
        this.#end({ type: 'header-refused', reason: 'proxy_header_missing', problem: MISSING });
        break;
      case 'malformed': {
        const problem = `the PROXY header is malformed: ${header.problem}`;
        this.#end({ type: 'header-refused', reason: 'proxy_header_malformed', problem });
        break;
      }
      case 'header':
        this.#identified(header.client, bytes.subarray(header.length));
        break;
      default:
        header satisfies never;
    }
  }

  #identified(client: ProxiedClient | null, rest: Buffer): void {
    this.#buffered = null;
    const reason = this.#port.identify(client);
    if (reason !== null) {
      this.#end({ type: 'denied', reason });
    } else if (rest.length > 0) {
      this.#negotiator.handle({ type: 'bytes', bytes: rest });
    }
  }

  #end(outcome: ProxyHeaderOutcome): void {
    this.#outcome = outcome;
    this.#port.close();
  }
}
