/**
 * States, events, effects and outcomes of the start-up negotiation, as closed unions.
 *
 * What cannot be represented: direct TLS behind an answered request (only the state without an
 * answer looks for it), a reply other than 'N' to a GSSENCRequest, a hand-off while a reply is still
 * on its way, and anything happening after the end, since a finished state carries only its outcome.
 */
import type { ErrorResponse } from './error-response.ts';

/** What a listener allows its clients; made from its sslmode and sslnegotiation. */
export interface NegotiationPolicy {
  readonly sslmode: 'disable' | 'prefer' | 'require' | 'verify-ca';
  readonly sslnegotiation: 'postgres' | 'direct' | 'any';
}

/** The two requests for encryption a client may send ahead of its StartupMessage, each once. */
export type UpgradeRequest = 'ssl-request' | 'gssenc-request';

/** One byte answering an UpgradeRequest: 'S' TLS comes next, 'N' no. */
export type Reply = 'S' | 'N';

/** How the client's bytes are protected at the hand-off; 'none' is plaintext. */
export type Encryption = 'negotiated' | 'direct' | 'none';

/** Where the negotiation of one connection stands. */
export type NegotiationState =
  /** Nothing was answered yet; `buffered` holds fewer bytes than a header. */
  | { readonly type: 'awaiting-initial-bytes'; readonly buffered: Buffer }
  /** The reply to an SSLRequest is being written; no byte may arrive before it is. */
  | {
      readonly type: 'ssl-request-detected';
      readonly reply: Reply;
      readonly answered: readonly UpgradeRequest[];
    }
  /** The 'N' to a GSSENCRequest is being written; no byte may arrive before it is. */
  | { readonly type: 'gssenc-request-detected'; readonly answered: readonly UpgradeRequest[] }
  /** 'N' was written; the next packet is awaited, `buffered` holds fewer bytes than its header. */
  | {
      readonly type: 'responded-to-client';
      readonly buffered: Buffer;
      readonly answered: readonly UpgradeRequest[];
    }
  | { readonly type: 'finished'; readonly outcome: NegotiationOutcome };

/** What can happen to a connection that still negotiates. */
export type NegotiationEvent =
  | { readonly type: 'bytes'; readonly bytes: Buffer }
  /** The reply asked for by the last effect has left for the kernel. */
  | { readonly type: 'reply-written' }
  /** The client closed its sending side. */
  | { readonly type: 'client-ended' }
  /** The socket failed, for example by a reset. */
  | { readonly type: 'socket-failed' }
  /** client_login_timeout has passed since the accept. */
  | { readonly type: 'deadline-passed' }
  /** The proxy stops. */
  | { readonly type: 'shutdown' };

/** Why the proxy ended a negotiation; snake_case, the `reason` of the log line. */
export type RefusalReason =
  | 'stuffed_bytes'
  | 'repeated_request'
  | 'invalid_length'
  | 'unsupported_protocol'
  | 'tls_required'
  | 'negotiated_tls_refused'
  | 'direct_tls_refused'
  | 'login_timeout'
  | 'admin_shutdown';

/** Why a negotiation ended without the proxy's doing; `tcp_probe` is a connection without a byte. */
export type ClosedReason = 'tcp_probe' | 'client_closed' | 'client_reset';

/** How a negotiation ended. */
export type NegotiationOutcome =
  | { readonly type: 'handed-off'; readonly encryption: Encryption; readonly isCancel: boolean }
  | {
      readonly type: 'refused';
      readonly reason: RefusalReason;
      /** What the client is told; null where it could not read it. */
      readonly error: ErrorResponse | null;
    }
  | { readonly type: 'closed'; readonly reason: ClosedReason };

/** What the owner of the socket has to do next. */
export type NegotiationEffect =
  /** Write this byte, then report `reply-written`. */
  | { readonly type: 'reply'; readonly reply: Reply }
  /** Give the connection to the data plane; `prefix` was read and is not consumed. */
  | {
      readonly type: 'hand-off';
      readonly encryption: Encryption;
      readonly prefix: Buffer | null;
    }
  /** Send the error, if any, and close. */
  | { readonly type: 'refuse'; readonly error: ErrorResponse | null }
  /** Close without a word. */
  | { readonly type: 'close' };

/** The state every connection starts in. */
export const INITIAL_STATE: NegotiationState = {
  type: 'awaiting-initial-bytes',
  buffered: Buffer.alloc(0),
};
