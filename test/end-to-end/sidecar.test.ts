/** The sidecar of examples/kubernetes as it stands: plaintext over a unix socket and loopback in the pod, verified TLS to the server. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { CertificateAuthority } from '../support/certificates.ts';
import { clusterObjects, manifest, onThisMachine, PodVolumes, podOf } from '../support/examples.ts';
import { material } from '../support/material.ts';
import { ask, openTcp, startSession } from '../support/raw-client.ts';
import { proxyForTest } from '../support/running-proxy.ts';
import { SSL_REQUEST } from '../support/wire.ts';

const execute = promisify(execFile);

test('an application that speaks no TLS reaches the server over verified TLS, once the startupProbe succeeds', async () => {
  const root = mkdtempSync(join(tmpdir(), 'pod-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const deployment = manifest('Deployment', 'orders');
  const objects = new Map(await clusterObjects(await CertificateAuthority.create('example CA')));
  objects.set('ConfigMap/pgtls-backend-ca', { 'ca.crt': readFileSync(material().caFile, 'utf8') });
  const volumes = new PodVolumes(root, deployment, objects);
  const path = join(root, 'run/pgtls/.s.PGSQL.5432');
  const [, ...probe] = podOf(deployment).container.startupProbe?.exec?.command ?? [];
  const probed = () =>
    execute(
      process.execPath,
      probe.map((word) => word.replace('/run/', `${root}/run/`)),
    );
  await expect(probed()).rejects.toThrow();

  const toml = manifest('ConfigMap', 'orders-pgtls').data?.['pgtls.toml'] ?? '';
  const config = volumes.located(onThisMachine(toml, material().tls.port));
  const proxy = await proxyForTest(config, { listeners: 2 });
  await probed();
  expect(statSync(path).mode & 0o777).toBe(0o770);
  for (const to of [{ path }, proxy.port()]) {
    const asking = await openTcp(to);
    await asking.write(SSL_REQUEST);
    expect((await asking.read(1)).toString()).toBe('N');
    await startSession(asking);
    const query = 'select ssl, version from pg_stat_ssl where pid = pg_backend_pid()';
    expect(await ask(asking, query)).toEqual([['t', 'TLSv1.3']]);
    asking.destroy();
  }
});
