/**
 * The start-up negotiation as one pure function: (state, event, policy) → state and effects.
 *
 * No I/O and no clock lives here. At most seven bytes are kept between two events, since eight
 * decide; longer input leaves again at once, as the prefix of a hand-off.
 */
import { HEADER_BYTES, isDirectTls, type PacketHeader, readPacketHeader } from './packet.ts';
import {
  ADMIN_SHUTDOWN,
  DIRECT_TLS_REFUSED,
  invalidHeader,
  LOGIN_TIMEOUT,
  negotiatedTlsRefused,
  type Refusal,
  repeatedRequest,
  stuffedBytes,
  tlsRequired,
} from './refusal.ts';
import type {
  ClosedReason,
  Encryption,
  NegotiationEffect,
  NegotiationEvent,
  NegotiationPolicy,
  NegotiationState,
  Reply,
  UpgradeRequest,
} from './state.ts';

/** The next state, and what has to be done now, in order. */
export interface Transition {
  readonly state: NegotiationState;
  readonly effects: readonly NegotiationEffect[];
}

type StateOf<T extends NegotiationState['type']> = Extract<NegotiationState, { type: T }>;
type AwaitingPacket = StateOf<'awaiting-initial-bytes' | 'responded-to-client'>;
type AwaitingWrite = StateOf<'ssl-request-detected' | 'gssenc-request-detected'>;

const NO_BYTES = Buffer.alloc(0);

/** One step. An event behind the end, or a `reply-written` nobody waits for, changes nothing. */
export function transition(
  state: NegotiationState,
  event: NegotiationEvent,
  policy: NegotiationPolicy,
): Transition {
  if (state.type === 'finished') {
    return stay(state);
  }
  switch (event.type) {
    case 'bytes':
      return event.bytes.length === 0 ? stay(state) : onBytes(state, event.bytes, policy);
    case 'reply-written':
      return onReplyWritten(state);
    case 'client-ended':
      return close(hasReceivedBytes(state) ? 'client_closed' : 'tcp_probe');
    case 'socket-failed':
      return close(hasReceivedBytes(state) ? 'client_reset' : 'tcp_probe');
    case 'deadline-passed':
      return refuse(LOGIN_TIMEOUT);
    case 'shutdown':
      return refuse(ADMIN_SHUTDOWN);
    default:
      return event satisfies never;
  }
}

/** A connection without a byte is a probe. */
function hasReceivedBytes(state: NegotiationState): boolean {
  return state.type !== 'awaiting-initial-bytes' || state.buffered.length > 0;
}

function onBytes(
  state: AwaitingPacket | AwaitingWrite,
  bytes: Buffer,
  policy: NegotiationPolicy,
): Transition {
  switch (state.type) {
    case 'ssl-request-detected':
      return refuse(stuffedBytes('ssl-request'));
    case 'gssenc-request-detected':
      return refuse(stuffedBytes('gssenc-request'));
    case 'awaiting-initial-bytes':
    case 'responded-to-client':
      return onPacketBytes(state, join(state.buffered, bytes), policy);
    default:
      return state satisfies never;
  }
}

function onPacketBytes(
  state: AwaitingPacket,
  bytes: Buffer,
  policy: NegotiationPolicy,
): Transition {
  if (state.type === 'awaiting-initial-bytes' && isDirectTls(bytes)) {
    return onDirectTls(bytes, policy);
  }
  const header = readPacketHeader(bytes);
  switch (header.kind) {
    case 'incomplete':
      return stay({ ...state, buffered: bytes });
    case 'ssl-request':
    case 'gssenc-request':
      return onUpgradeRequest(state, header, bytes, policy);
    case 'cancel-request':
      return handOff('none', bytes, true);
    case 'startup':
      return isTlsRequired(policy) ? refuse(tlsRequired(policy)) : handOff('none', bytes, false);
    case 'terminate':
      return close('client_closed');
    case 'invalid':
      return refuse(invalidHeader(header));
    default:
      return header satisfies never;
  }
}

function onDirectTls(bytes: Buffer, policy: NegotiationPolicy): Transition {
  return policy.sslmode === 'disable' || policy.sslnegotiation === 'postgres'
    ? refuse(DIRECT_TLS_REFUSED)
    : handOff('direct', bytes, false);
}

function onUpgradeRequest(
  state: AwaitingPacket,
  header: Extract<PacketHeader, { kind: UpgradeRequest }>,
  bytes: Buffer,
  policy: NegotiationPolicy,
): Transition {
  const earlier = state.type === 'responded-to-client' ? state.answered : [];
  if (earlier.includes(header.kind)) {
    return refuse(repeatedRequest(header.kind));
  }
  const isTlsDisabled = policy.sslmode === 'disable';
  if (header.kind === 'ssl-request' && !isTlsDisabled && policy.sslnegotiation === 'direct') {
    return refuse(negotiatedTlsRefused());
  }
  if (bytes.length > HEADER_BYTES) {
    return refuse(stuffedBytes(header.kind));
  }
  const answered = [...earlier, header.kind];
  if (header.kind === 'gssenc-request') {
    return { state: { type: 'gssenc-request-detected', answered }, effects: [write('N')] };
  }
  const reply = isTlsDisabled ? 'N' : 'S';
  return { state: { type: 'ssl-request-detected', reply, answered }, effects: [write(reply)] };
}

function onReplyWritten(state: AwaitingPacket | AwaitingWrite): Transition {
  switch (state.type) {
    case 'ssl-request-detected':
      return state.reply === 'S' ? handOff('negotiated', null, false) : responded(state);
    case 'gssenc-request-detected':
      return responded(state);
    case 'awaiting-initial-bytes':
    case 'responded-to-client':
      return stay(state);
    default:
      return state satisfies never;
  }
}

function isTlsRequired(policy: NegotiationPolicy): boolean {
  return policy.sslmode === 'require' || policy.sslmode === 'verify-ca';
}

function join(buffered: Buffer, bytes: Buffer): Buffer {
  return buffered.length === 0 ? bytes : Buffer.concat([buffered, bytes]);
}

function write(reply: Reply): NegotiationEffect {
  return { type: 'reply', reply };
}

function stay(state: NegotiationState): Transition {
  return { state, effects: [] };
}

function responded(state: AwaitingWrite): Transition {
  return stay({ type: 'responded-to-client', buffered: NO_BYTES, answered: state.answered });
}

function handOff(encryption: Encryption, prefix: Buffer | null, isCancel: boolean): Transition {
  return {
    state: { type: 'finished', outcome: { type: 'handed-off', encryption, isCancel } },
    effects: [{ type: 'hand-off', encryption, prefix }],
  };
}

function refuse({ reason, error }: Refusal): Transition {
  return {
    state: { type: 'finished', outcome: { type: 'refused', reason, error } },
    effects: [{ type: 'refuse', error }],
  };
}

function close(reason: ClosedReason): Transition {
  return {
    state: { type: 'finished', outcome: { type: 'closed', reason } },
    effects: [{ type: 'close' }],
  };
}
