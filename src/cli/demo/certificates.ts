/**
 * A certificate authority in memory, made with @peculiar/x509: for the demo, and for the tests.
 *
 * Ownership: nothing is written here; keys leave as PEM strings and the caller gives their files mode 0600.
 */
import { randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import { loadX509 } from './packages.ts';

type X509 = Awaited<ReturnType<typeof loadX509>>;

/** The kind of a key pair. */
export type KeyType = 'ecdsa' | 'rsa';

/** What a leaf certificate says. */
export interface LeafOptions {
  /** The subject's CN; null = an empty subject but for O. */
  readonly commonName: string | null;
  /** DNS names and IP addresses of the subjectAltName extension; empty = no extension. */
  readonly names: readonly string[];
  readonly keyType?: KeyType;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A certificate and its private key (PKCS #8), as PEM. */
export interface Identity {
  readonly certPem: string;
  readonly keyPem: string;
}

const HOUR_MILLIS = 3_600_000;
const DAY_MILLIS = 24 * HOUR_MILLIS;

const ALGORITHMS = {
  ecdsa: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256',
  },
} as const;

/** A self-signed root that issues leaf certificates. */
export class CertificateAuthority {
  /** The root certificate as PEM. */
  readonly certPem: string;
  readonly #x509: X509;
  readonly #subject: string;
  readonly #keys: webcrypto.CryptoKeyPair;

  private constructor(x509: X509, subject: string, keys: webcrypto.CryptoKeyPair, certPem: string) {
    this.#x509 = x509;
    this.#subject = subject;
    this.#keys = keys;
    this.certPem = certPem;
  }

  /** Makes an ECDSA P-256 root named `CN=<commonName>`, valid for a day. */
  static async create(commonName: string): Promise<CertificateAuthority> {
    const x509 = await loadX509();
    const keys = await generateKeys('ecdsa');
    const subject = `CN=${commonName}`;
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: subject,
      ...validity({}),
      signingAlgorithm: ALGORITHMS.ecdsa,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
          true,
        ),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new CertificateAuthority(x509, subject, keys, `${certificate.toString('pem')}\n`);
  }

  /** Issues a leaf certificate for client and server authentication; its chain is leaf then root is not included. */
  async issue(options: LeafOptions): Promise<Identity> {
    const keys = await generateKeys(options.keyType ?? 'ecdsa');
    const certificate = await this.#x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: options.commonName === null ? 'O=pgtls' : `CN=${options.commonName}`,
      issuer: this.#subject,
      ...validity(options),
      signingAlgorithm: ALGORITHMS.ecdsa,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: await this.#extensions(options, keys.publicKey),
    });
    const privateKey = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return {
      certPem: `${certificate.toString('pem')}\n`,
      keyPem: `${this.#x509.PemConverter.encode(privateKey, 'PRIVATE KEY')}\n`,
    };
  }

  async #extensions(options: LeafOptions, publicKey: webcrypto.CryptoKey) {
    const x509 = this.#x509;
    const names = options.names.map(
      (value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const,
    );
    return [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(this.#keys.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ];
  }
}

function generateKeys(keyType: KeyType): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHMS[keyType], true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;
}

function validity(options: Pick<LeafOptions, 'notBefore' | 'notAfter'>): {
  notBefore: Date;
  notAfter: Date;
} {
  return {
    notBefore: options.notBefore ?? new Date(Date.now() - HOUR_MILLIS),
    notAfter: options.notAfter ?? new Date(Date.now() + DAY_MILLIS),
  };
}

/** 16 random bytes, positive and without a leading zero (RFC 5280, 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = 0x40 | ((bytes[0] ?? 0) & 0x3f);
  return bytes.toString('hex');
}
