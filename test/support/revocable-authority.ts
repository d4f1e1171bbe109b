/** An authority that remembers what it issued and revokes it: for tests of certificate revocation lists. */
import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { Identity } from './certificates.ts';

/** A certificate, its key, and the number it can be revoked by. */
export interface RevocableIdentity extends Identity {
  readonly serialNumber: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MILLIS = 86_400_000;

/** A self-signed root. */
export class RevocableAuthority {
  readonly certPem: string;
  readonly #name: string;
  readonly #keys: webcrypto.CryptoKeyPair;

  private constructor(name: string, keys: webcrypto.CryptoKeyPair, certPem: string) {
    this.#name = name;
    this.#keys = keys;
    this.certPem = certPem;
  }

  static async create(commonName: string): Promise<RevocableAuthority> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: `CN=${commonName}`,
      ...validity(),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
          true,
        ),
      ],
    });
    return new RevocableAuthority(`CN=${commonName}`, keys, `${certificate.toString('pem')}\n`);
  }

  /** A client certificate. */
  async issue(commonName: string): Promise<RevocableIdentity> {
    const keys = await generateKeys();
    const serial = serialNumber();
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial,
      subject: `CN=${commonName}`,
      issuer: this.#name,
      ...validity(),
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
    });
    const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    return {
      certPem: `${certificate.toString('pem')}\n`,
      keyPem: `${x509.PemConverter.encode(key, 'PRIVATE KEY')}\n`,
      serialNumber: serial,
    };
  }

  /** A list that revokes these, in PEM. */
  async revocationList(revoked: readonly RevocableIdentity[]): Promise<string> {
    const list = await x509.X509CrlGenerator.create({
      issuer: this.#name,
      thisUpdate: new Date(Date.now() - 60_000),
      nextUpdate: new Date(Date.now() + DAY_MILLIS),
      signingAlgorithm: ALGORITHM,
      signingKey: this.#keys.privateKey,
      entries: revoked.map(({ serialNumber: serial }) => ({
        serialNumber: serial,
        revocationDate: new Date(Date.now() - 60_000),
      })),
      extensions: [await x509.AuthorityKeyIdentifierExtension.create(this.#keys.publicKey)],
    });
    return `${x509.PemConverter.encode(list.rawData, 'X509 CRL')}\n`;
  }
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;
}

function validity(): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: new Date(Date.now() - DAY_MILLIS),
    notAfter: new Date(Date.now() + DAY_MILLIS),
  };
}

/** Positive and without a leading zero. */
function serialNumber(): string {
  return `4${randomBytes(16).toString('hex').slice(1)}`;
}
