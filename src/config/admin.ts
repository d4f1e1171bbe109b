/**
 * Reads `[admin]`. May import the other files of config/ only.
 *
 * The admin server is Node's own, so its certificate, key and token are looked into here, not by the addon. What that takes is
 * loaded when there is something to look into.
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isLocalAddress, parseBindAddress } from './address.ts';
import { readFilePath } from './files.ts';
import type { LocatedBind } from './listener.ts';
import type { AdminConfig, BindAddress } from './schema.ts';
import type { TableReader } from './table-reader.ts';

/** The table, and its address with its key, so that the whole file can be searched for duplicates. */
export interface ReadAdmin {
  /** null = there is none, or nothing to bind. */
  readonly admin: AdminConfig | null;
  readonly binds: readonly LocatedBind[];
}

type TcpAddress = Extract<BindAddress, { kind: 'tcp' }>;

/** Shorter ones can be tried out. */
const MIN_TOKEN_LENGTH = 16;
/** What RFC 6750 lets a bearer token be made of. */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;

/** Reads the table of the file if there is one; problems are noted. */
export function readAdmin(top: TableReader): ReadAdmin {
  if (top.raw('admin') === undefined) {
    return { admin: null, binds: [] };
  }
  const reader = top.table('admin');
  reader.checkKeys();
  const bindAddress = readBind(reader);
  const identity = readIdentity(reader);
  const authTokenFile = readFilePath(reader, 'auth_token_file', 'token file');
  const token = authTokenFile === null ? null : contentOf(authTokenFile);
  if (token !== null) {
    noteProblem(reader, 'auth_token_file', tokenProblem(token.toString('latin1')));
  }
  if (bindAddress === null) {
    return { admin: null, binds: [] };
  }
  checkExposure(reader, bindAddress, reader.has('ssl_cert_file'), authTokenFile !== null);
  return {
    admin: { bindAddress, identity, authTokenFile },
    binds: [{ address: bindAddress, path: reader.pathOf('bind_address') }],
  };
}

/** The token in a file's text: all of it but the white space around it. */
export function tokenOf(text: string): string {
  return text.trim();
}

/** What is wrong with the text of a token file, null = nothing. */
export function tokenProblem(text: string): string | null {
  const token = tokenOf(text);
  if (token.length >= MIN_TOKEN_LENGTH && TOKEN.test(token)) {
    return null;
  }
  return `expected one token of at least ${MIN_TOKEN_LENGTH} letters, digits and -._~+/ in the file, such as of "openssl rand -hex 32"`;
}

/** What is wrong with a certificate and its key (PEM), by key of the table, null = nothing. */
export function identityProblem(
  cert: Buffer,
  key: Buffer,
): { key: 'ssl_cert_file' | 'ssl_key_file'; message: string } | null {
  const crypto: typeof import('node:crypto') = createRequire(import.meta.url)('node:crypto');
  let certificate: X509Certificate;
  try {
    certificate = new crypto.X509Certificate(cert);
  } catch {
    return { key: 'ssl_cert_file', message: 'no certificate (PEM) in the file can be read' };
  }
  let privateKey: KeyObject;
  try {
    privateKey = crypto.createPrivateKey(key);
  } catch {
    const isEncrypted = key.includes('ENCRYPTED');
    const message = isEncrypted
      ? 'the private key is encrypted; the admin server takes one that is not'
      : 'no private key (PEM) in the file can be read';
    return { key: 'ssl_key_file', message };
  }
  return certificate.checkPrivateKey(privateKey)
    ? null
    : { key: 'ssl_key_file', message: "the private key is not the certificate's" };
}

function readBind(reader: TableReader): TcpAddress | null {
  const text = reader.string('bind_address');
  if (text === null) {
    if (reader.raw('bind_address') === undefined) {
      reader.error('bind_address', 'missing; expected such as "127.0.0.1:9127"');
    }
    return null;
  }
  const access = { mode: null, group: null };
  const parsed = parseBindAddress(text, reader.context.directory, access);
  if (!parsed.ok) {
    reader.error('bind_address', parsed.message);
    return null;
  }
  if (parsed.value.kind === 'unix') {
    reader.error('bind_address', 'a unix socket is refused here; expected host:port');
    return null;
  }
  return parsed.value;
}

function readIdentity(reader: TableReader): AdminConfig['identity'] {
  const certFile = readFilePath(reader, 'ssl_cert_file', 'certificate');
  const keyFile = readFilePath(reader, 'ssl_key_file', 'private-key');
  if (certFile === null || keyFile === null) {
    if (certFile !== null && !reader.has('ssl_key_file')) {
      reader.error('ssl_key_file', 'missing; ssl_cert_file needs its private key');
    }
    if (keyFile !== null && !reader.has('ssl_cert_file')) {
      reader.error('ssl_cert_file', 'missing; ssl_key_file needs its certificate');
    }
    return null;
  }
  const [cert, key] = [contentOf(certFile), contentOf(keyFile)];
  const problem = cert === null || key === null ? null : identityProblem(cert, key);
  if (problem !== null) {
    reader.error(problem.key, problem.message);
  }
  return { certFile, keyFile };
}

/** Whoever is on the network is not to read who connects, unless something keeps it from them. */
function checkExposure(
  reader: TableReader,
  address: TcpAddress,
  hasTls: boolean,
  hasToken: boolean,
): void {
  if (isLocalAddress(address)) {
    return;
  }
  if (!hasTls && !hasToken) {
    reader.error(
      'bind_address',
      'is not loopback: expected ssl_cert_file and ssl_key_file, or auth_token_file, beside it',
    );
  } else if (!hasTls) {
    const { problems } = reader.context;
    problems.warn(
      reader.pathOf('bind_address'),
      'the token of auth_token_file crosses the network unencrypted; ssl_cert_file and ssl_key_file encrypt it',
    );
  }
}

function noteProblem(reader: TableReader, key: string, message: string | null): void {
  if (message !== null) {
    reader.error(key, message);
  }
}

/** null = it cannot be read, which is noted elsewhere. */
function contentOf(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch {
    return null;
  }
}
