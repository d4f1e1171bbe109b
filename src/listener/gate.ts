/**
 * Who gets past a listener before a byte of PostgreSQL's protocol is read: load balancers that may speak for others, the
 * allow and deny lists, and how fast one address may come.
 */
import { type AccessList, createAccessList } from './access.ts';
import type { ConnectionRate } from './connection-rate.ts';

/** Why a connection was closed before its first packet. */
export type DenialReason = 'access_denied' | 'rate_limited' | 'untrusted_proxy';

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

/** Why whoever is at the other end of a fresh socket may not go on; null = it may. A Unix-domain peer has no address. */
export function socketDenial(
  { access, rate, proxies }: GateOptions,
  peer: { readonly isUnix: boolean; readonly host: string | undefined },
): DenialReason | null {
  if (proxies === null) {
    return peer.isUnix ? null : clientDenial({ access, rate }, peer.host);
  }
  const isKnown = peer.isUnix || peer.host !== undefined;
  return isKnown && proxies.trusts(peer.host) ? null : 'untrusted_proxy';
}

/** Why the client at this address may not connect; null = it may. An undefined address is unknown, and not allowed where anything is limited. */
export function clientDenial(
  { access, rate }: Pick<GateOptions, 'access' | 'rate'>,
  host: string | undefined,
): DenialReason | null {
  if (!access.permits(host)) {
    return 'access_denied';
  }
  return host !== undefined && rate !== null && !rate.take(host) ? 'rate_limited' : null;
}
