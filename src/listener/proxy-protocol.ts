/**
 * The header of the PROXY protocol, versions 1 and 2: whom a load balancer speaks for.
 *
 * Pure: reads bytes, keeps none. Imports node only. Source: the protocol's specification by HAProxy
 * (proxy-protocol.txt), sections 2.1 and 2.2.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** The longest header of version 1, its CRLF included. */
export const MAX_V1_BYTES = 107;

/**
 * The longest header of version 2 that is taken. The addresses need at most 232; the rest are TLVs of load
 * balancers, of which 64 KiB would be allowed.
 */
export const MAX_V2_BYTES = 2_048;

/** Who connected to the load balancer; the host is an IP address. */
export interface ProxiedClient {
  readonly host: string;
  readonly port: number;
}

/** What the first bytes of a connection prove. */
export type ProxyHeader =
  /** Nothing is wrong so far, and more bytes are needed. */
  | { readonly type: 'incomplete' }
  /** The bytes begin as no header does. */
  | { readonly type: 'missing' }
  | { readonly type: 'malformed'; readonly problem: string }
  | {
      readonly type: 'header';
      /** What follows belongs to the client. */
      readonly length: number;
      /** null: the load balancer speaks for itself (LOCAL), or cannot tell (UNKNOWN, no IP address). */
      readonly client: ProxiedClient | null;
    };

const V1_PREFIX = Buffer.from('PROXY ', 'latin1');
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** Signature, version and command, family and transport, length of the rest. */
const V2_HEADER_BYTES = 16;
const CRLF = Buffer.from('\r\n', 'latin1');

/** Looks for a header at the beginning of `bytes`; says what is wrong as early as it can be known. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (isPrefix(bytes, V2_SIGNATURE)) {
    return bytes.length < V2_HEADER_BYTES ? { type: 'incomplete' } : parseVersion2(bytes);
  }
  if (!isPrefix(bytes, V1_PREFIX)) {
    return { type: 'missing' };
  }
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf(CRLF);
  if (end === -1) {
    return bytes.length < MAX_V1_BYTES
      ? { type: 'incomplete' }
      : malformed(`version 1 without CRLF in its first ${MAX_V1_BYTES} bytes`);
  }
  return parseVersion1(bytes.toString('latin1', 0, end), end + CRLF.length);
}

/** Whether the two agree as far as both go; bytes that are not there yet agree with everything. */
function isPrefix(bytes: Buffer, expected: Buffer): boolean {
  const length = Math.min(bytes.length, expected.length);
  return bytes.compare(expected, 0, length, 0, length) === 0;
}

function parseVersion1(line: string, length: number): ProxyHeader {
  const [, protocol, source = '', destination = '', ...ports] = line.split(' ');
  if (protocol === 'UNKNOWN') {
    return { type: 'header', length, client: null };
  }
  const isAddress = protocol === 'TCP4' ? isIPv4 : protocol === 'TCP6' ? isUnscopedIPv6 : undefined;
  if (isAddress === undefined) {
    return malformed('version 1 of another protocol than TCP4, TCP6 and UNKNOWN');
  }
  const [port = Number.NaN, other = Number.NaN, ...rest] = ports.map(portOf);
  if (
    !(isAddress(source) && isAddress(destination)) ||
    Number.isNaN(port + other) ||
    rest.length > 0
  ) {
    return malformed(`version 1 without two ${protocol} addresses and two ports`);
  }
  return { type: 'header', length, client: { host: source.toLowerCase(), port } };
}

function isUnscopedIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

function portOf(text: string): number {
  const port = /^(0|[1-9]\d{0,4})$/.test(text) ? Number(text) : Number.NaN;
  return port <= 0xffff ? port : Number.NaN;
}

/** `bytes` hold at least the fixed part. */
function parseVersion2(bytes: Buffer): ProxyHeader {
  const versionAndCommand = bytes.readUInt8(12);
  const familyAndTransport = bytes.readUInt8(13);
  const length = V2_HEADER_BYTES + bytes.readUInt16BE(14);
  const isLocal = versionAndCommand === 0x20;
  if (!isLocal && versionAndCommand !== 0x21) {
    return malformed('version 2 with another version, or a command other than LOCAL and PROXY');
  }
  const addressBytes = V2_ADDRESS_BYTES.get(familyAndTransport);
  if (addressBytes === undefined && !isLocal) {
    return malformed('version 2 of a family or transport that cannot carry PostgreSQL');
  }
  if (length > MAX_V2_BYTES) {
    return malformed(`version 2 of ${length} bytes, more than ${MAX_V2_BYTES}`);
  }
  if (!isLocal && length < V2_HEADER_BYTES + (addressBytes ?? 0)) {
    return malformed('version 2 that is too short for its addresses');
  }
  if (bytes.length < length) {
    return { type: 'incomplete' };
  }
  const client = isLocal ? null : clientOf(bytes, familyAndTransport);
  return { type: 'header', length, client };
}

const TCP4 = 0x11;
const TCP6 = 0x21;

/** Bytes of both addresses, by family and transport: none, TCP over IPv4 and IPv6, Unix-domain streams. */
const V2_ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [TCP4, 12],
  [TCP6, 36],
  [0x31, 216],
]);

function clientOf(bytes: Buffer, familyAndTransport: number): ProxiedClient | null {
  switch (familyAndTransport) {
    case TCP4:
      return { host: ipv4Text(bytes.subarray(16, 20)), port: bytes.readUInt16BE(24) };
    case TCP6:
      return { host: ipv6Text(bytes.subarray(16, 32)), port: bytes.readUInt16BE(48) };
    default:
      return null;
  }
}

function ipv4Text(bytes: Buffer): string {
  return bytes.join('.');
}

/** As RFC 5952 writes it; an IPv4 address mapped into IPv6 with dots. */
function ipv6Text(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  if (hex.startsWith('00000000000000000000ffff')) {
    return `::ffff:${ipv4Text(bytes.subarray(12))}`;
  }
  const groups = Array.from({ length: 8 }, (_, index) =>
    bytes.readUInt16BE(2 * index).toString(16),
  ).join(':');
  const zeros = [...groups.matchAll(/(?<![\da-f])0(:0)+(?![\da-f])/g)];
  const [longest] = zeros.sort(([left], [right]) => right.length - left.length);
  if (longest === undefined) {
    return groups;
  }
  const before = groups.slice(0, longest.index).replace(/:$/, '');
  const after = groups.slice(longest.index + longest[0].length).replace(/^:/, '');
  return `${before}::${after}`;
}

function malformed(problem: string): ProxyHeader {
  return { type: 'malformed', problem };
}
