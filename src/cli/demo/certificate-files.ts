/** The demo's certificate authority and server certificate as files; private keys are readable by their owner only. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CertificateAuthority } from './certificates.ts';

/** Where the demo's certificates lie. */
export interface DemoCertificates {
  readonly caFile: string;
  readonly caPem: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** Makes both and writes them into `directory`. */
export async function createDemoCertificates(directory: string): Promise<DemoCertificates> {
  const authority = await CertificateAuthority.create('pgtls demo CA');
  const server = await authority.issue({
    commonName: 'localhost',
    names: ['localhost', '127.0.0.1', '::1'],
  });
  const files = {
    caFile: join(directory, 'ca.crt'),
    certFile: join(directory, 'server.crt'),
    keyFile: join(directory, 'server.key'),
  };
  writeFileSync(files.caFile, authority.certPem);
  writeFileSync(files.certFile, server.certPem);
  writeFileSync(files.keyFile, server.keyPem, { mode: 0o600 });
  return { ...files, caPem: authority.certPem };
}
