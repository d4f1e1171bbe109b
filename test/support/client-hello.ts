/** ClientHellos byte by byte (RFC 8446, 4.1.2), so that tests can send wrong ones; and records of any kind around them. */
import { randomBytes } from 'node:crypto';

/** Protocol versions as records and messages have them. */
export const VERSION = { ssl3: 0x0300, tls10: 0x0301, tls11: 0x0302, tls12: 0x0303, tls13: 0x0304 };

/** Content types of records. */
export const CONTENT = {
  changeCipherSpec: 20,
  alert: 21,
  handshake: 22,
  applicationData: 23,
  heartbeat: 24,
};

/** An extension: its number and its content. */
export type HelloExtension = readonly [type: number, content: Buffer];

/** Extension numbers. */
export const EXTENSION = {
  serverName: 0,
  supportedGroups: 10,
  ecPointFormats: 11,
  signatureAlgorithms: 13,
  alpn: 16,
  extendedMasterSecret: 23,
  supportedVersions: 43,
  keyShare: 51,
} as const;

/** What a ClientHello says. */
export interface HelloOptions {
  /** legacy_version; before TLS 1.3 the newest one offered. */
  readonly version?: number;
  readonly ciphers?: readonly number[];
  /** null = the field is absent, as SSLv3 has it. */
  readonly extensions?: readonly HelloExtension[] | null;
  readonly compressions?: readonly number[];
}

const TLS12_CIPHERS = [0xc02b, 0xc02c, 0xcca9];
const TLS13_CIPHERS = [0x1301, 0x1302, 0x1303];
/** TLS_RSA_WITH_AES_128_CBC_SHA and its like: what SSLv3 to TLS 1.1 had. */
export const OLD_CIPHERS: readonly number[] = [0x002f, 0x0035, 0x000a, 0xc013, 0xc014];

/** A good ClientHello of TLS 1.2 and 1.3 but for what `options` say otherwise; the handshake message without a record. */
export function clientHello(options: HelloOptions = {}): Buffer {
  const { version = VERSION.tls12, ciphers = [...TLS13_CIPHERS, ...TLS12_CIPHERS] } = options;
  const { extensions = goodExtensions(), compressions = [0] } = options;
  const body = Buffer.concat([
    uint16(version),
    randomBytes(32),
    vector(1, Buffer.alloc(0)),
    vector(2, Buffer.concat(ciphers.map(uint16))),
    vector(1, Buffer.from(compressions)),
    ...(extensions === null ? [] : [vector(2, Buffer.concat(extensions.map(encode)))]),
  ]);
  return Buffer.concat([Buffer.from([1]), vector(3, body)]);
}

/** The extensions of a good ClientHello; a key share is left out, which costs a HelloRetryRequest. */
export function goodExtensions(): HelloExtension[] {
  return [
    [
      EXTENSION.serverName,
      vector(2, Buffer.concat([Buffer.from([0]), vector(2, Buffer.from('localhost'))])),
    ],
    [EXTENSION.supportedGroups, vector(2, Buffer.concat([0x001d, 0x0017, 0x0018].map(uint16)))],
    [EXTENSION.ecPointFormats, vector(1, Buffer.from([0]))],
    [
      EXTENSION.signatureAlgorithms,
      vector(2, Buffer.concat([0x0403, 0x0503, 0x0804, 0x0401].map(uint16))),
    ],
    [EXTENSION.alpn, vector(2, vector(1, Buffer.from('postgresql')))],
    [EXTENSION.extendedMasterSecret, Buffer.alloc(0)],
    [EXTENSION.supportedVersions, supportedVersions([VERSION.tls13, VERSION.tls12])],
    [EXTENSION.keyShare, vector(2, Buffer.alloc(0))],
  ];
}

/** {@link goodExtensions} with the content of one replaced, or without it (null). */
export function withExtension(type: number, content: Buffer | null): HelloExtension[] {
  return goodExtensions().flatMap((extension): HelloExtension[] => {
    if (extension[0] !== type) {
      return [extension];
    }
    return content === null ? [] : [[type, content]];
  });
}

/** The content of supported_versions in a ClientHello. */
export function supportedVersions(versions: readonly number[]): Buffer {
  return vector(1, Buffer.concat(versions.map(uint16)));
}

/** A record around `content`; `length` may lie. */
export function record(
  content: Buffer,
  options: { type?: number; version?: number; length?: number } = {},
): Buffer {
  const { type = CONTENT.handshake, version = VERSION.tls10, length = content.length } = options;
  return Buffer.concat([Buffer.from([type]), uint16(version), uint16(length), content]);
}

/** The content behind a length field of `width` bytes. */
export function vector(width: 1 | 2 | 3, content: Buffer): Buffer {
  const length = Buffer.alloc(width);
  length.writeUIntBE(content.length, 0, width);
  return Buffer.concat([length, content]);
}

/** Two bytes. */
export function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

/** The fatal alerts among plaintext records, by number; what isn't a record ends the list. */
export function alertsIn(bytes: Buffer): number[] {
  const alerts: number[] = [];
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
    if (bytes[at] === CONTENT.alert && bytes.readUInt16BE(at + 3) === 2 && bytes[at + 5] === 2) {
      alerts.push(bytes[at + 6] ?? -1);
    }
  }
  return alerts;
}

function encode([type, content]: HelloExtension): Buffer {
  return Buffer.concat([uint16(type), vector(2, content)]);
}
