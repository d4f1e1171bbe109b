/** Certificates for tests: made with the demo's authority, written into a directory, keys with mode 0600. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  CertificateAuthority,
  type Identity,
  type LeafOptions,
} from '../../src/cli/demo/certificates.ts';

export { CertificateAuthority, type Identity, type LeafOptions };

/** A certificate and key on disk, with their PEM texts. */
export interface IdentityFiles extends Identity {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Writes `<name>.crt` and `<name>.key` (0600) into `directory`. */
export function writeIdentity(directory: string, name: string, identity: Identity): IdentityFiles {
  const certFile = join(directory, `${name}.crt`);
  const keyFile = join(directory, `${name}.key`);
  writeFileSync(certFile, identity.certPem);
  writeFileSync(keyFile, identity.keyPem, { mode: 0o600 });
  return { ...identity, certFile, keyFile };
}

/** What the server certificate of most tests names. */
export const LOCAL_NAMES: readonly string[] = ['localhost', '127.0.0.1', '::1'];

/** Validity of a certificate that has expired. */
export const EXPIRED: Pick<LeafOptions, 'notBefore' | 'notAfter'> = {
  notBefore: new Date(Date.now() - 2 * 86_400_000),
  notAfter: new Date(Date.now() - 86_400_000),
};
