/**
 * Who gets past a listener before a byte of PostgreSQL's protocol is read: load balancers that may speak for others, the
 * allow and deny lists, how fast one address may come, and how many of its connections may wait to say what they want.
 */
import { type AccessList, createAccessList } from './access.ts';
import type { ConnectionRate } from './connection-rate.ts';
import type { NegotiatingClients } from './negotiating-clients.ts';

/** Why a connection was closed before its first packet. */
export type DenialReason =
  | 'access_denied'
  | 'rate_limited'
  | 'too_many_connections'
  | 'untrusted_proxy';

/** Whose PROXY headers are believed. */
export interface TrustedProxies {
  /** An undefined address is that of a Unix-domain socket. */
  trusts(address: string | undefined): boolean;
}

/** What a listener lets through. */
export interface GateOptions {
  readonly access: AccessList;
  /** null = no limit. */
  readonly rate: ConnectionRate | null;
  /** null = no limit. */
  readonly negotiating: NegotiatingClients | null;
  /** Who has to begin with a PROXY header; null = nobody. */
  readonly proxies: TrustedProxies | null;
}

/** The entry that stands for Unix-domain listeners. */
const UNIX = 'unix:';

/** From CIDR blocks, addresses, and `unix:`; throws PGTLS_CONFIG_INVALID. */
export function createTrustedProxies(entries: readonly string[]): TrustedProxies {
  const blocks = entries.filter((entry) => entry !== UNIX);
  const network = blocks.length === 0 ? null : createAccessList(blocks, []);
  const trustsUnix = blocks.length < entries.length;
  return {
    trusts: (address) =>
      address === undefined ? trustsUnix : (network?.permits(address) ?? false),
  };
}

/** Who is at the other end of a connection. */
interface Peer {
  readonly connectionId: number;
  readonly host: string | undefined;
}

/** Why whoever is at the other end of a fresh socket may not go on; null = it may. A Unix-domain peer has no address. */
export function socketDenial(
  gate: GateOptions,
  peer: Peer & { readonly isUnix: boolean },
): DenialReason | null {
  const { proxies } = gate;
  if (proxies === null) {
    return peer.isUnix ? null : clientDenial(gate, peer);
  }
  const isKnown = peer.isUnix || peer.host !== undefined;
  return isKnown && proxies.trusts(peer.host) ? null : 'untrusted_proxy';
}

/**
 * Why the client at this address may not connect; null = it may, and counts as negotiating. An undefined address is
 * unknown, and not allowed where anything is limited.
 */
export function clientDenial(
  { access, rate, negotiating }: Omit<GateOptions, 'proxies'>,
  { connectionId, host }: Peer,
): DenialReason | null {
  if (!access.permits(host)) {
    return 'access_denied';
  }
  if (host === undefined) {
    return null;
  }
  if (rate !== null && !rate.take(host)) {
    return 'rate_limited';
  }
  return negotiating === null || negotiating.enter(connectionId, host)
    ? null
    : 'too_many_connections';
}
