/** TLS towards the backend: every sslmode as libpq means it, and what the client and the log learn when it fails. */

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { CertificateAuthority, EXPIRED } from '../support/certificates.ts';
import { ListenerTls, type Table } from '../support/config.ts';
import { FakeBackend, readStartup, welcome } from '../support/fake-backend.ts';
import { material } from '../support/material.ts';
import { ask, openNegotiatedTls, readError, startSession } from '../support/raw-client.ts';
import { proxyForTest, type RunningProxy } from '../support/running-proxy.ts';
import { SSL_REQUEST, startupMessage } from '../support/wire.ts';

const HOW_THE_BACKEND_IS_REACHED =
  'select coalesce(version, $$plaintext$$) from pg_stat_ssl where pid = pg_backend_pid()';

let tls: ListenerTls;
let strangersCaFile: string;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const stranger = await CertificateAuthority.create('somebody else');
  strangersCaFile = tls.write('stranger.crt', stranger.certPem);
});

afterAll(() => tls.remove());

/** A proxy with this backend, and a client inside TLS that has not yet sent its StartupMessage. */
async function connectedTo(backend: Table): Promise<{ proxy: RunningProxy; channel: ByteChannel }> {
  const proxy = await proxyForTest(tls.config([{ name: 'orders', backend }]));
  const channel = await openNegotiatedTls(proxy.port(), tls.clientOptions);
  onTestFinished(() => channel.destroy());
  return { proxy, channel };
}

async function backendProtocol(
  backend: Table,
  user = 'trusted',
): Promise<string | null | undefined> {
  const { channel } = await connectedTo(backend);
  await startSession(channel, { user });
  return (await ask(channel, HOW_THE_BACKEND_IS_REACHED))[0]?.[0];
}

/** The FATAL error that the client reads inside TLS, and the line that the log has. */
async function refusal(backend: Table) {
  const { proxy, channel } = await connectedTo(backend);
  await channel.write(startupMessage({ user: 'trusted', database: 'postgres' }));
  const error = await readError(channel);
  await channel.ended();
  channel.destroy();
  expect(error['S']).toBe('FATAL');
  const line = await proxy.logged({ event: 'conn.close', route: 'orders' });
  expect(line).toMatchObject({
    fault_side: 'backend',
    client_addr: expect.any(String),
    backend_addr: expect.any(String),
  });
  return { error, line };
}

const onTls = (host: string) => `${host}:${material().tls.port}`;
const onPlain = () => `127.0.0.1:${material().plain.port}`;

describe('with a backend that offers TLS', () => {
  test('disable stays in plaintext', async () => {
    expect(await backendProtocol({ address: onTls('127.0.0.1'), sslmode: 'disable' })).toBe(
      'plaintext',
    );
  });

  test.each(['prefer', 'require'])(
    '%s uses TLS without looking at the certificate',
    async (sslmode) => {
      expect(await backendProtocol({ address: onTls('127.0.0.1'), sslmode })).toBe('TLSv1.3');
    },
  );

  test('verify-ca accepts a certificate of the authority whatever its name', async () => {
    const sslrootcert = material().caFile;
    expect(
      await backendProtocol({ address: onTls('127.0.0.1'), sslmode: 'verify-ca', sslrootcert }),
    ).toBe('TLSv1.3');
  });

  test('verify-full accepts a certificate of the authority with the right name', async () => {
    const sslrootcert = material().caFile;
    expect(
      await backendProtocol({ address: onTls('localhost'), sslmode: 'verify-full', sslrootcert }),
    ).toBe('TLSv1.3');
  });

  test('sslnegotiation=direct works', async () => {
    const sslrootcert = material().caFile;
    const backend = {
      address: onTls('localhost'),
      sslmode: 'verify-full',
      sslrootcert,
      sslnegotiation: 'direct',
    };
    expect(await backendProtocol(backend)).toBe('TLSv1.3');
  });

  test('TLS 1.2 can be the newest', async () => {
    const backend = {
      address: onTls('127.0.0.1'),
      sslmode: 'require',
      ssl_max_protocol_version: 'TLSv1.2',
    };
    expect(await backendProtocol(backend)).toBe('TLSv1.2');
  });

  test('a client certificate is shown to the backend', async () => {
    const { caFile, clientCertFile, clientKeyFile } = material();
    const backend = {
      address: onTls('localhost'),
      sslmode: 'verify-full',
      sslrootcert: caFile,
      sslcert: clientCertFile,
      sslkey: clientKeyFile,
    };
    expect(await backendProtocol(backend, 'certified')).toBe('TLSv1.3');
  });

  test.each(['require', 'verify-ca', 'verify-full'])(
    '%s with another root certificate refuses: the client reads it inside TLS, the log names peer, route and alert',
    async (sslmode) => {
      const { error, line } = await refusal({
        address: onTls('localhost'),
        sslmode,
        sslrootcert: strangersCaFile,
      });
      expect(error['C']).toMatch(/^0800[16]$/);
      expect(line).toMatchObject({
        reason: 'backend_tls_handshake_failed',
        sqlstate: error['C'],
        alert: 'unknown_ca',
        alert_direction: 'sent',
        alert_side: 'backend',
      });
    },
  );

  test('verify-full refuses a certificate with another name', async () => {
    const sslrootcert = material().caFile;
    const { error, line } = await refusal({
      address: onTls('127.0.0.1'),
      sslmode: 'verify-full',
      sslrootcert,
    });
    expect(error['C']).toMatch(/^0800[16]$/);
    expect(line).toMatchObject({ reason: 'backend_tls_handshake_failed', alert_direction: 'sent' });
  });
});

describe('with a backend that does not offer TLS', () => {
  test('prefer goes on in plaintext', async () => {
    expect(await backendProtocol({ address: onPlain(), sslmode: 'prefer' })).toBe('plaintext');
  });

  test.each(['require', 'verify-ca', 'verify-full'])(
    '%s refuses, and the client reads it inside TLS',
    async (sslmode) => {
      const backend = { address: onPlain(), sslmode, sslrootcert: material().caFile };
      const { error, line } = await refusal(backend);
      expect(error['C']).toMatch(/^0800[16]$/);
      expect(line['reason']).toBe('backend_tls_handshake_failed');
    },
  );
});

describe('with a backend that misbehaves', () => {
  test('bytes stuffed behind its S are refused', async () => {
    const fake = await FakeBackend.listen(async (backend) => {
      expect(await readStartup(backend)).toEqual(SSL_REQUEST);
      await backend.write(Buffer.concat([Buffer.from('S'), welcome()]));
    });
    const { error, line } = await refusal({
      address: `127.0.0.1:${fake.port}`,
      sslmode: 'require',
    });
    expect(error['C']).toMatch(/^08/);
    expect(line['reason']).toMatch(/^backend_/);
  });

  test('an answer that is neither S nor N is refused', async () => {
    const fake = await FakeBackend.listen(async (backend) => {
      await readStartup(backend);
      await backend.write(Buffer.from('X'));
    });
    const { error } = await refusal({ address: `127.0.0.1:${fake.port}`, sslmode: 'require' });
    expect(error['C']).toMatch(/^08/);
  });

  test('no answer at all is given up after connect_timeout', async () => {
    const fake = await FakeBackend.listen(async (backend) => {
      await readStartup(backend);
    });
    const { error } = await refusal({
      address: `127.0.0.1:${fake.port}`,
      sslmode: 'require',
      connect_timeout: '500ms',
    });
    expect(error['C']).toMatch(/^0800[16]$/);
  });

  test('an expired certificate is refused', async () => {
    const port = await startExpiredTlsBackend();
    const { error, line } = await refusal({
      address: `localhost:${port}`,
      sslmode: 'verify-full',
      sslrootcert: tls.caFile,
    });
    expect(error['C']).toMatch(/^0800[16]$/);
    expect(line).toMatchObject({
      reason: 'backend_tls_handshake_failed',
      alert: 'certificate_expired',
    });
  });
});

/** Answers S and shows an expired certificate of the tests' authority. */
async function startExpiredTlsBackend(): Promise<number> {
  const expired = await tls.authority.issue({
    commonName: 'localhost',
    names: ['localhost'],
    ...EXPIRED,
  });
  const tlsServer = createServer({ cert: expired.certPem, key: expired.keyPem });
  tlsServer.on('tlsClientError', () => undefined);
  const fake = await FakeBackend.listen(async (backend) => {
    await readStartup(backend);
    await backend.write(Buffer.from('S'));
    tlsServer.emit('connection', backend.release());
  });
  return fake.port;
}

describe('channel binding (SCRAM-SHA-256-PLUS)', () => {
  test('a client that picks -PLUS while the certificates differ is told so with 28000', async () => {
    const { channel } = await connectedTo({ address: onTls('127.0.0.1'), sslmode: 'require' });
    await channel.write(startupMessage({ user: 'postgres', database: 'postgres' }));
    const request = await channel.message();
    expect(request.body.toString('latin1')).toContain('SCRAM-SHA-256-PLUS');
    await channel.write(
      saslInitialResponse('SCRAM-SHA-256-PLUS', 'p=tls-server-end-point,,n=,r=abcdefgh'),
    );

    const error = await readError(channel);
    expect(error).toMatchObject({ S: 'FATAL', C: '28000' });
    expect(error['H']).toMatch(/channel_binding/);
    await channel.ended();
  });

  test('a client that picks plain SCRAM goes on', async () => {
    const { channel } = await connectedTo({ address: onTls('127.0.0.1'), sslmode: 'require' });
    await channel.write(startupMessage({ user: 'postgres', database: 'postgres' }));
    await channel.message();
    await channel.write(saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abcdefgh'));

    const { type, body } = await channel.message();
    expect(type).toBe('R');
    expect(body.toString('latin1')).toContain('r=abcdefgh');
  });
});

function saslInitialResponse(mechanism: string, data: string): Buffer {
  const body = Buffer.alloc(mechanism.length + 1 + 4 + data.length);
  body.write(`${mechanism}\0`, 0, 'latin1');
  body.writeInt32BE(data.length, mechanism.length + 1);
  body.write(data, mechanism.length + 5, 'latin1');
  const head = Buffer.from([0x70, 0, 0, 0, 0]);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

test('a listening TLS port that is no PostgreSQL is refused, not waited for', async () => {
  const identity = await tls.authority.issue({ commonName: 'localhost', names: ['localhost'] });
  const server = createServer({ cert: identity.certPem, key: identity.keyPem });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });

  const { port } = server.address() as AddressInfo;
  const { error } = await refusal({ address: `127.0.0.1:${port}`, sslmode: 'require' });
  expect(error['C']).toMatch(/^08/);
});
