/**
 * The files of an identity: certificate chains, their keys and OCSP responses, as a listener and its hosts have them. May import
 * the other files of config/ only.
 */
import { readFilePaths } from './files.ts';
import type { IdentityFiles } from './schema.ts';
import type { TableReader } from './table-reader.ts';

/** Reads ssl_cert_file, ssl_key_file and ssl_ocsp_file, which are paired by index. */
export function readIdentityFiles(reader: TableReader): IdentityFiles {
  const sslCertFiles = readFilePaths(reader, 'ssl_cert_file', 'certificate');
  const sslKeyFiles = readFilePaths(reader, 'ssl_key_file', 'private-key');
  const sslOcspFiles = readFilePaths(reader, 'ssl_ocsp_file', 'certificate');
  const [certs, keys] = [countOf(reader, 'ssl_cert_file'), countOf(reader, 'ssl_key_file')];
  if (certs > 0 && keys === 0) {
    reader.error('ssl_key_file', 'missing; ssl_cert_file needs its private key');
  } else if (certs === 0 && keys > 0) {
    reader.error('ssl_cert_file', 'missing; ssl_key_file needs its certificate');
  } else if (certs !== keys) {
    reader.error(
      'ssl_key_file',
      `expected ${certs} files, one for each of ssl_cert_file, got ${keys}`,
    );
  }
  const staples = countOf(reader, 'ssl_ocsp_file');
  if (staples > 0 && staples !== certs) {
    reader.error(
      'ssl_ocsp_file',
      `expected ${certs} files, one for each of ssl_cert_file, got ${staples}`,
    );
  }
  return { sslCertFiles, sslKeyFiles, sslOcspFiles };
}

/** How many elements are written, right or wrong. */
function countOf(reader: TableReader, key: string): number {
  const value = reader.raw(key);
  return value === undefined ? 0 : Array.isArray(value) ? value.length : 1;
}
