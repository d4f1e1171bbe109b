/** Start-up packets and their golden vectors, for the tests of this folder and of the listener. */
import { readFileSync } from 'node:fs';

/** One golden packet of test/vectors/startup.json, which the Rust tests read as well. */
export interface StartupVector {
  readonly name: string;
  readonly hex: string;
  /** What the first eight bytes of a connection prove: all that the negotiation looks at. */
  readonly header: string;
  /** What parsing the whole packet gives. */
  readonly expect: {
    readonly kind: string;
    readonly reason?: string;
    readonly major?: number;
    readonly minor?: number;
  };
}

/** Every golden packet. */
export const VECTORS: readonly StartupVector[] = JSON.parse(
  readFileSync(new URL('../vectors/startup.json', import.meta.url), 'utf8'),
);

/** The bytes of the golden packet of that name. */
export function packet(name: string): Buffer {
  const vector = VECTORS.find((candidate) => candidate.name === name);
  if (vector === undefined) {
    throw new Error(`no vector is named ${name}`);
  }
  return Buffer.from(vector.hex, 'hex');
}

export const SSL_REQUEST: Buffer = packet('SSLRequest');
export const GSSENC_REQUEST: Buffer = packet('GSSENCRequest');
export const STARTUP: Buffer = packet('StartupMessage 3.0 with user and database');
export const CANCEL_REQUEST: Buffer = packet('CancelRequest with the 4-byte key of protocol 3.0');
export const CLIENT_HELLO: Buffer = packet('the start of a ClientHello, direct TLS');

/** The fields of an encoded ErrorResponse by their letter; throws when the framing is wrong. */
export function errorFields(bytes: Buffer): Record<string, string> {
  if (bytes[0] !== 0x45 || bytes.readUInt32BE(1) !== bytes.length - 1 || bytes.at(-1) !== 0) {
    throw new Error(`not an ErrorResponse: ${bytes.toString('hex')}`);
  }
  const fields = bytes.subarray(5, -2).toString().split('\0');
  return Object.fromEntries(fields.map((field) => [field.slice(0, 1), field.slice(1)]));
}
