/**
 * Certificates of every kind, good and bad, below one root: shown by PostgreSQL, by a listener and by clients.
 *
 * Unlike {@link CertificateAuthority} it makes what no authority should issue.
 */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import { EXPIRED, type Identity } from './certificates.ts';

/** The kinds of keys. */
type ZooKey = 'ECDSA P-256' | 'ECDSA P-384' | 'RSA-2048' | 'RSA-4096' | 'Ed25519';

/** What a leaf says; everything left out is as it should be. */
interface Leaf {
  readonly key?: ZooKey;
  readonly commonName?: string;
  /** subjectAltName; empty = no such extension. */
  readonly names?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly usages?: readonly x509.ExtendedKeyUsage[];
}

/** An issuer: its certificate and what it signs with. */
interface Issuer {
  readonly certPem: string;
  readonly subject: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

const DAY_MILLIS = 86_400_000;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' };
const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: 'SHA-256',
};

const ALGORITHMS: Readonly<
  Record<ZooKey, webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | { name: string }>
> = {
  'ECDSA P-256': { name: 'ECDSA', namedCurve: 'P-256' },
  'ECDSA P-384': { name: 'ECDSA', namedCurve: 'P-384' },
  'RSA-2048': { ...RSA, modulusLength: 2048 },
  'RSA-4096': { ...RSA, modulusLength: 4096 },
  Ed25519: { name: 'Ed25519' },
};

/** What lives in the zoo. */
export const SPECIES = [
  'ECDSA P-256',
  'ECDSA P-384',
  'RSA-2048',
  'RSA-4096',
  'Ed25519',
  'without extended key usage',
  'intermediate sent',
  'intermediate missing',
  'within name constraints',
  'outside name constraints',
  'expired',
  'not yet valid',
  'self-signed',
  'of another authority',
  'for the other role',
  'wrong name',
  'IP address',
  'wildcard',
  'common name only',
] as const;

/** A kind of certificate. */
export type Species = (typeof SPECIES)[number];

/** Whom a certificate identifies: `the other role` is a client's where a server is meant. */
export type Role = 'server' | 'client';

/** One root, and one certificate of each species. */
export class CertificateZoo {
  /** The trusted root as PEM. */
  readonly rootPem: string;
  readonly #specimens: ReadonlyMap<Species, Identity>;

  private constructor(rootPem: string, specimens: ReadonlyMap<Species, Identity>) {
    this.rootPem = rootPem;
    this.#specimens = specimens;
  }

  /** Makes all certificates for a role; the good ones name `localhost`. */
  static async create(role: Role): Promise<CertificateZoo> {
    const [root, stranger] = await Promise.all([selfSigned('zoo root'), selfSigned('strangers')]);
    const [inner, permitting, excluding] = await Promise.all([
      intermediate(root, 'zoo inner', null),
      intermediate(root, 'zoo permitting', 'localhost'),
      intermediate(root, 'zoo excluding', 'permitted.example'),
    ]);
    const recipes = recipesOf(role, { root, stranger, inner, permitting, excluding });
    const specimens = await Promise.all(
      SPECIES.map(async (species) => [species, await recipes[species]()] as const),
    );
    return new CertificateZoo(root.certPem, new Map(specimens));
  }

  /** The certificate of a species, what is sent behind it included. */
  specimen(species: Species): Identity {
    const found = this.#specimens.get(species);
    if (found === undefined) {
      throw new Error(`the zoo has no ${species}`);
    }
    return found;
  }
}

type Issuers = Readonly<Record<'root' | 'stranger' | 'inner' | 'permitting' | 'excluding', Issuer>>;

function recipesOf(role: Role, issuers: Issuers): Record<Species, () => Promise<Identity>> {
  const { root, stranger, inner, permitting, excluding } = issuers;
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const usages = [role === 'server' ? serverAuth : clientAuth];
  const other = [role === 'server' ? clientAuth : serverAuth];
  const issue = (issuer: Issuer, leaf: Leaf = {}) => issueLeaf(issuer, { usages, ...leaf });
  const tomorrow = new Date(Date.now() + DAY_MILLIS);
  return {
    'ECDSA P-256': () => issue(root),
    'ECDSA P-384': () => issue(root, { key: 'ECDSA P-384' }),
    'RSA-2048': () => issue(root, { key: 'RSA-2048' }),
    'RSA-4096': () => issue(root, { key: 'RSA-4096' }),
    Ed25519: () => issue(root, { key: 'Ed25519' }),
    'without extended key usage': () => issue(root, { usages: [] }),
    'intermediate sent': async () => withChain(await issue(inner), inner),
    'intermediate missing': () => issue(inner),
    'within name constraints': async () => withChain(await issue(permitting), permitting),
    'outside name constraints': async () => withChain(await issue(excluding), excluding),
    expired: () => issue(root, EXPIRED),
    'not yet valid': () =>
      issue(root, { notBefore: tomorrow, notAfter: new Date(tomorrow.getTime() + DAY_MILLIS) }),
    'self-signed': () => selfSignedLeaf({ usages }),
    'of another authority': () => issue(stranger),
    'for the other role': () => issue(root, { usages: other }),
    'wrong name': () => issue(root, { commonName: 'localhost', names: ['other.example'] }),
    'IP address': () => issue(root, { commonName: 'zoo', names: ['127.0.0.1'] }),
    wildcard: () => issue(root, { commonName: 'zoo', names: ['*.zoo.example', '*.localhost'] }),
    'common name only': () => issue(root, { names: [] }),
  };
}

function withChain(leaf: Identity, issuer: Issuer): Identity {
  return { ...leaf, certPem: `${leaf.certPem}${issuer.certPem}` };
}

async function selfSigned(commonName: string): Promise<Issuer> {
  const keys = await generate('ECDSA P-256');
  const subject = `CN=${commonName}`;
  const certPem = await sign({
    subject,
    issuer: subject,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    extensions: authorityExtensions(),
  });
  return { certPem, subject, keys };
}

/** An intermediate; `permitted` is the only DNS name (and what is below it) that it may certify. */
async function intermediate(
  root: Issuer,
  commonName: string,
  permitted: string | null,
): Promise<Issuer> {
  const keys = await generate('ECDSA P-256');
  const subject = `CN=${commonName}`;
  const certPem = await sign({
    subject,
    issuer: root.subject,
    publicKey: keys.publicKey,
    signingKey: root.keys.privateKey,
    extensions: [
      ...authorityExtensions(),
      ...(permitted === null ? [] : [nameConstraints(permitted)]),
    ],
  });
  return { certPem, subject, keys };
}

async function issueLeaf(issuer: Issuer, leaf: Leaf): Promise<Identity> {
  const keys = await generate(leaf.key ?? 'ECDSA P-256');
  return identityOf(keys, await signLeaf(leaf, keys, issuer.subject, issuer.keys.privateKey));
}

async function selfSignedLeaf(leaf: Leaf): Promise<Identity> {
  const keys = await generate('ECDSA P-256');
  return identityOf(keys, await signLeaf(leaf, keys, subjectOf(leaf), keys.privateKey));
}

function signLeaf(
  leaf: Leaf,
  keys: webcrypto.CryptoKeyPair,
  issuer: string,
  signingKey: webcrypto.CryptoKey,
): Promise<string> {
  return sign({
    subject: subjectOf(leaf),
    issuer,
    publicKey: keys.publicKey,
    signingKey,
    extensions: leafExtensions(leaf),
    ...(leaf.notBefore && { notBefore: leaf.notBefore }),
    ...(leaf.notAfter && { notAfter: leaf.notAfter }),
  });
}

function subjectOf({ commonName = 'localhost' }: Leaf): string {
  return `CN=${commonName}`;
}

function leafExtensions({ names = ['localhost'], usages = [] }: Leaf): x509.Extension[] {
  const general = names.map(
    (value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const,
  );
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    ...(usages.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...usages])]),
    ...(general.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(general)]),
  ];
}

function authorityExtensions(): x509.Extension[] {
  const { keyCertSign, cRLSign } = x509.KeyUsageFlags;
  return [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
  ];
}

/** NameConstraints (RFC 5280, 4.2.1.10) with one permitted dNSName. */
function nameConstraints(permitted: string): x509.Extension {
  const name = der(0x82, Buffer.from(permitted, 'latin1'));
  return new x509.Extension('2.5.29.30', true, der(0x30, der(0xa0, der(0x30, name))));
}

/** One DER element of less than 128 bytes. */
function der(tag: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([tag, content.length]), content]);
}

interface Statement {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: webcrypto.CryptoKey;
  readonly signingKey: webcrypto.CryptoKey;
  readonly extensions: readonly x509.Extension[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

async function sign(statement: Statement): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.create({
    notBefore: new Date(Date.now() - DAY_MILLIS),
    notAfter: new Date(Date.now() + DAY_MILLIS),
    ...statement,
    serialNumber: `40${Buffer.from(webcrypto.getRandomValues(new Uint8Array(12))).toString('hex')}`,
    signingAlgorithm: SIGNING,
    extensions: [...statement.extensions],
  });
  return `${certificate.toString('pem')}\n`;
}

async function identityOf(keys: webcrypto.CryptoKeyPair, certPem: string): Promise<Identity> {
  const privateKey = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { certPem, keyPem: `${x509.PemConverter.encode(privateKey, 'PRIVATE KEY')}\n` };
}

function generate(key: ZooKey): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHMS[key], true, [
    'sign',
    'verify',
  ]) as Promise<webcrypto.CryptoKeyPair>;
}
