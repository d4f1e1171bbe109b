/**
 * The header of the packets a client may open a connection with, and nothing behind it.
 *
 * Eight bytes, a length and a code, prove which packet it is; the body of a StartupMessage or a
 * CancelRequest is parsed by the data plane. Reading is pure: no byte is copied or kept.
 * Source: PostgreSQL documentation, "Message Formats"; `backend_startup.c`.
 */

/** Bytes of the header every start-up packet begins with: Int32 length, Int32 code. */
export const HEADER_BYTES = 8;

/** The smallest length a start-up packet may claim, its own four length bytes included. */
export const MIN_PACKET_BYTES = 8;

/** The largest length a start-up packet may claim (PostgreSQL's MAX_STARTUP_PACKET_LENGTH). */
export const MAX_PACKET_BYTES = 10_000;

/** First byte of a TLS handshake record: direct TLS (RFC 8446, section 5.1). */
const TLS_HANDSHAKE_RECORD = 0x16;

/** A CancelRequest is 12 bytes and a key of 4 to 256 bytes (protocol 3.2). */
const MIN_CANCEL_BYTES = 16;
const MAX_CANCEL_BYTES = 268;

const CANCEL_REQUEST_CODE = 0x04d2_162e;
const SSL_REQUEST_CODE = 0x04d2_162f;
const GSSENC_REQUEST_CODE = 0x04d2_1630;
const SUPPORTED_MAJOR = 3;

/** Why a header is refused: which of its numbers is out of bounds. */
type InvalidHeaderReason = 'length' | 'request-length' | 'cancel-length' | 'protocol-major';

/** What the first bytes of a packet prove it to be. */
export type PacketHeader =
  | { readonly kind: 'incomplete' }
  /** A Terminate message: a driver that was told to quit before it had begun. */
  | { readonly kind: 'terminate' }
  | { readonly kind: 'ssl-request' }
  | { readonly kind: 'gssenc-request' }
  | { readonly kind: 'cancel-request'; readonly length: number }
  | {
      readonly kind: 'startup';
      readonly length: number;
      readonly major: number;
      readonly minor: number;
    }
  | {
      readonly kind: 'invalid';
      readonly reason: Exclude<InvalidHeaderReason, 'protocol-major'>;
      readonly length: number;
    }
  | {
      readonly kind: 'invalid';
      readonly reason: 'protocol-major';
      readonly major: number;
      readonly minor: number;
    };

/** 'X' and the first three bytes of its length; no packet of the start-up can be that long. */
const TERMINATE_HEADER = 0x58_00_00_00;

const INCOMPLETE: PacketHeader = { kind: 'incomplete' };

/** Whether a connection whose first bytes are these speaks TLS at once, without an SSLRequest. */
export function isDirectTls(bytes: Buffer): boolean {
  return bytes[0] === TLS_HANDSHAKE_RECORD;
}

/** Reads the header at the start of `bytes`; a length out of bounds shows after four of them. */
export function readPacketHeader(bytes: Buffer): PacketHeader {
  if (bytes.length < 4) {
    return INCOMPLETE;
  }
  const length = bytes.readUInt32BE(0);
  if (length === TERMINATE_HEADER) {
    return { kind: 'terminate' };
  }
  if (length < MIN_PACKET_BYTES || length > MAX_PACKET_BYTES) {
    return { kind: 'invalid', reason: 'length', length };
  }
  return bytes.length < HEADER_BYTES ? INCOMPLETE : readCode(length, bytes.readUInt32BE(4));
}

function readCode(length: number, code: number): PacketHeader {
  switch (code) {
    case SSL_REQUEST_CODE:
      return readUpgradeRequest('ssl-request', length);
    case GSSENC_REQUEST_CODE:
      return readUpgradeRequest('gssenc-request', length);
    case CANCEL_REQUEST_CODE:
      return length < MIN_CANCEL_BYTES || length > MAX_CANCEL_BYTES
        ? { kind: 'invalid', reason: 'cancel-length', length }
        : { kind: 'cancel-request', length };
    default:
      return readVersion(length, code);
  }
}

function readUpgradeRequest(kind: 'ssl-request' | 'gssenc-request', length: number): PacketHeader {
  return length === HEADER_BYTES ? { kind } : { kind: 'invalid', reason: 'request-length', length };
}

function readVersion(length: number, code: number): PacketHeader {
  const major = code >>> 16;
  const minor = code & 0xffff;
  return major === SUPPORTED_MAJOR
    ? { kind: 'startup', length, major, minor }
    : { kind: 'invalid', reason: 'protocol-major', major, minor };
}
