/** A PostgreSQL with TLS that trusts everybody on 127.0.0.1, and a certificate that pgtls may show as well. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CertificateAuthority } from '../../dist/cli/demo/certificates.js';
import { locatePostgres } from '../../dist/cli/demo/postgres-binaries.js';
import { PostgresCluster } from '../../dist/cli/demo/postgres-cluster.js';
import { giveTo } from '../../dist/cli/demo/server-identity.js';

/** @typedef {{ ca: string, certFile: string, keyFile: string, serverCertFile: string, serverKeyFile: string }} Files */

/** The same certificate for both legs; PostgreSQL's copy belongs to the account it runs as. @param {string} directory @param {any} identity @returns {Promise<Files>} */
export async function writeCertificates(directory, identity) {
  const authority = await CertificateAuthority.create('pgtls bench CA');
  const server = await authority.issue({ commonName: 'localhost', names: ['localhost'] });
  /** @param {string} name @param {string} text */
  const write = (name, text) => {
    const file = join(directory, name);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  const files = {
    ca: authority.certPem,
    certFile: write('tls.crt', server.certPem),
    keyFile: write('tls.key', server.keyPem),
    serverCertFile: write('server.crt', server.certPem),
    serverKeyFile: write('server.key', server.keyPem),
  };
  giveTo(identity, files.serverCertFile);
  giveTo(identity, files.serverKeyFile);
  return files;
}

/** A running cluster; the caller stops it. @param {string} directory @param {any} identity @param {Files} files @param {Record<string, string>} [settings] */
export async function startCluster(directory, identity, files, settings = {}) {
  const { serverCertFile, serverKeyFile } = files;
  const cluster = await PostgresCluster.create({
    binaries: await locatePostgres(identity, directory),
    identity,
    directory: join(directory, 'cluster'),
    settings: {
      ssl: 'on',
      ssl_cert_file: serverCertFile,
      ssl_key_file: serverKeyFile,
      ...settings,
    },
  });
  const rules = 'hostssl all all 127.0.0.1/32 trust\n';
  writeFileSync(join(cluster.dataDirectory, 'pg_hba.conf'), rules);
  await cluster.start();
  return cluster;
}

/** One route to it, with TLS on both legs. @param {Files} files @param {number} port @param {readonly string[]} [backendLines] */
export function routeTo({ certFile, keyFile }, port, backendLines = []) {
  return [
    '[[proxy]]',
    '[proxy.listener]',
    'bind_address = "127.0.0.1:0"',
    'sslmode = "require"',
    `ssl_cert_file = ${JSON.stringify(certFile)}`,
    `ssl_key_file = ${JSON.stringify(keyFile)}`,
    '[proxy.backend]',
    `address = "127.0.0.1:${port}"`,
    'sslmode = "require"',
    ...backendLines,
    '',
  ].join('\n');
}
