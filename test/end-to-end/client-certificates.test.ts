/** Client certificates: demanded with sslmode=verify-ca, verified when shown with an ssl_ca_file. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { CertificateAuthority, EXPIRED, type Identity } from '../support/certificates.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { ask, openNegotiatedTls, openTcp, readError, startSession } from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { startupMessage } from '../support/wire.ts';

let tls: ListenerTls;
let proxy: RunningProxy;
let identities: Record<'good' | 'expired' | 'foreign', Identity>;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const clients = await CertificateAuthority.create('clients CA');
  const strangers = await CertificateAuthority.create('strangers CA');
  const caFile = tls.write('clients.crt', clients.certPem);
  identities = {
    good: await clients.issue({ commonName: 'app', names: [] }),
    expired: await clients.issue({ commonName: 'app', names: [], ...EXPIRED }),
    foreign: await strangers.issue({ commonName: 'app', names: [] }),
  };
  const backend = plainBackend(material().plain.port);
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'demanded', backend, listener: { sslmode: 'verify-ca', ssl_ca_file: caFile } },
      { name: 'asked', backend, listener: { sslmode: 'require', ssl_ca_file: caFile } },
      { name: 'alias', backend, listener: { sslmode: null, mtls: true, client_ca: caFile } },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

async function queryWith(route: string, identity: Identity | null): Promise<unknown> {
  const shown = identity === null ? {} : { cert: identity.certPem, key: identity.keyPem };
  const channel: ByteChannel = await openNegotiatedTls(proxy.port(route), {
    ...tls.clientOptions,
    ...shown,
  });
  try {
    await startSession(channel);
    return await ask(channel, 'select 1');
  } finally {
    channel.destroy();
  }
}

test.each(['demanded', 'asked', 'alias'])(
  'a good certificate is accepted and its subject logged (%s)',
  async (route) => {
    expect(await queryWith(route, identities.good)).toEqual([['1']]);
    const line = await proxy.logged({ event: 'conn.close', route, reason: 'client_closed' });
    expect(line['client_cert_subject']).toContain('app');
    expect(line['client_cert_sha256']).toMatch(/^[0-9a-f]{64}$/);
  },
);

test('no certificate is fine where one is only asked for', async () => {
  expect(await queryWith('asked', null)).toEqual([['1']]);
});

describe.each(['demanded', 'alias'])('where one is demanded (%s)', (route) => {
  test('no certificate is refused with the alert certificate_required', async () => {
    await expect(queryWith(route, null)).rejects.toThrow();
    await proxy.logged({
      event: 'conn.close',
      route,
      reason: 'client_tls_handshake_failed',
      alert: 'certificate_required',
    });
  });

  test('a plaintext startup is refused with 28000', async () => {
    const channel: ByteChannel = await openTcp(proxy.port(route));
    await channel.write(startupMessage({ user: 'trusted' }));
    expect(await readError(channel)).toMatchObject({ S: 'FATAL', C: '28000' });
    await channel.ended();
  });
});

describe.each(['demanded', 'asked'])('where one is looked at (%s)', (route) => {
  test.each([
    ['expired', 'certificate_expired'],
    ['foreign', 'unknown_ca'],
  ] as const)('an %s certificate is refused with the alert %s', async (kind, alert) => {
    await expect(queryWith(route, identities[kind])).rejects.toThrow();
    await proxy.logged({
      event: 'conn.close',
      route,
      reason: 'client_tls_handshake_failed',
      alert,
    });
  });
});
