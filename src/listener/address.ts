/**
 * How addresses are written, in logs and in a Handoff: `192.0.2.1:5432`, `[2001:db8::1]:5432`,
 * `unix:/path`. An IPv4 client of a dual-stack socket is written as IPv4.
 */
import type { Socket } from 'node:net';
import type { BindAddress } from '../config/schema.ts';

/** Both ends of an accepted socket; `peerHost` is undefined for a unix socket or a vanished peer. */
export interface SocketAddresses {
  readonly peer: string;
  readonly peerHost: string | undefined;
  readonly localAddress: string;
}

const MAPPED_IPV4_PREFIX = '::ffff:';

/** Host and port as one string; only IPv6 addresses have colons, and asking `isIPv6` first costs 10 ms on Node.js 20. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** An address of the configuration, as the configuration writes it. */
export function formatBindAddress(address: BindAddress): string {
  return address.kind === 'unix'
    ? `unix:${address.path}`
    : formatHostPort(address.host, address.port);
}

/** Asks the kernel for both ends. A unix client has no name of its own and gets the socket's. */
export function socketAddresses(socket: Socket, bound: BindAddress): SocketAddresses {
  if (bound.kind === 'unix') {
    const path = formatBindAddress(bound);
    return { peer: path, peerHost: undefined, localAddress: path };
  }
  const peerHost = withoutMapping(socket.remoteAddress);
  const localHost = withoutMapping(socket.localAddress);
  return {
    peer: peerHost === undefined ? 'unknown' : formatHostPort(peerHost, socket.remotePort ?? 0),
    peerHost,
    localAddress: formatHostPort(localHost ?? bound.host, socket.localPort ?? bound.port),
  };
}

/** An IPv4 address out of the IPv6 one it is mapped into; anything else as it is. */
export function withoutMapping(host: string | undefined): string | undefined {
  return host?.startsWith(MAPPED_IPV4_PREFIX) && host.includes('.')
    ? host.slice(MAPPED_IPV4_PREFIX.length)
    : host;
}
