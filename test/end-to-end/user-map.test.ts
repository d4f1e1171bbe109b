/** user_map_file and ssl_crl_file with real psql and PostgreSQL. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeIdentity } from '../support/certificates.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { isInstalled, runClient } from '../support/programs.ts';
import { RevocableAuthority } from '../support/revocable-authority.ts';
import { RunningProxy } from '../support/running-proxy.ts';

let tls: ListenerTls;
let proxy: RunningProxy;
let files: Record<'good' | 'revoked', { certFile: string; keyFile: string }>;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const clients = await RevocableAuthority.create('clients CA');
  const good = await clients.issue('svc-trusted');
  const revoked = await clients.issue('svc-trusted');
  files = {
    good: writeIdentity(tls.directory, 'good', good),
    revoked: writeIdentity(tls.directory, 'revoked', revoked),
  };
  proxy = await RunningProxy.start(
    tls.config([
      {
        name: 'mapped',
        backend: plainBackend(material().plain.port),
        listener: {
          ssl_ca_file: tls.write('clients.crt', clients.certPem),
          ssl_crl_file: tls.write('crl.pem', await clients.revocationList([revoked])),
          user_map_file: tls.write('ident.map', '# who may be whom\nm /^svc-(.*)$ \\1\n'),
        },
      },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

function psql(user: string, identity: { certFile: string; keyFile: string } | null) {
  return runClient('psql', ['-XAtc', 'select current_user'], {
    PGHOST: 'localhost',
    PGHOSTADDR: '127.0.0.1',
    PGPORT: String(proxy.port()),
    PGUSER: user,
    PGPASSWORD: material().plain.password,
    PGDATABASE: 'postgres',
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: tls.caFile,
    PGSSLCERT: identity?.certFile ?? '/nonexistent',
    PGSSLKEY: identity?.keyFile ?? '/nonexistent',
  });
}

describe.skipIf(!isInstalled('psql'))('psql', () => {
  test('logs in as the user its certificate is mapped to', async () => {
    expect((await psql('trusted', files.good)).stdout).toBe('trusted\n');
    await proxy.logged({ event: 'conn.close', reason: 'client_closed' });
  });

  test('is told 28000 and a hint when it asks for another user', async () => {
    await expect(psql('postgres', files.good)).rejects.toThrow(
      /FATAL: {2}the client certificate does not allow this user\n(?:.|\n)*HINT: {2}The proxy's user_map_file/,
    );
    await proxy.logged({ reason: 'client_certificate_not_mapped', sqlstate: '28000' });
  });

  test('is told that a certificate is needed when it shows none', async () => {
    await expect(psql('trusted', null)).rejects.toThrow(
      /FATAL: {2}connection requires a valid client certificate/,
    );
    await proxy.logged({ reason: 'client_certificate_missing', sqlstate: '28000' });
  });

  test('learns from the alert that its certificate is revoked', async () => {
    await expect(psql('trusted', files.revoked)).rejects.toThrow(/certificate revoked/);
    const line = await proxy.logged({ tls_failure: 'revoked', alert: 'certificate_revoked' });
    expect(line['error']).toContain('CN=svc-trusted');
    expect(line).toMatchObject({ reason: 'client_tls_handshake_failed', alert_direction: 'sent' });
  });
});
