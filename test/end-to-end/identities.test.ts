/** Which certificate and which backend a connection gets: by server name, database and user, with node:tls, pg and psql. */
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectPg } from '../support/pg-client.ts';
import { isInstalled, runClient } from '../support/programs.ts';
import { openNegotiatedTls } from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';

let tls: ListenerTls;
let proxy: RunningProxy;

/** `[proxy.backend]` has no TLS, `[proxy.backends.encrypted]` has: `show ssl` tells them apart. */
beforeAll(async () => {
  tls = await ListenerTls.create();
  const { plain, tls: encrypted } = material();
  const host = await tls.issue('host', { commonName: 'a', names: ['a.test', '*.b.test'] });
  const other = await tls.issue('other', { commonName: 'c', names: ['c.test'] });
  const choices = `
[proxy.backends.encrypted]
address = "127.0.0.1:${encrypted.port}"
sslmode = "require"

[[proxy.route]]
user = "trusted"
database = "template*"
backend = "encrypted"

[[proxy.listener.host]]
hostname = ["a.test", "*.b.test"]
ssl_cert_file = ${JSON.stringify(host.certFile)}
ssl_key_file = ${JSON.stringify(host.keyFile)}
backend = "encrypted"

[[proxy.listener.host]]
hostname = "c.test"
ssl_cert_file = ${JSON.stringify(other.certFile)}
ssl_key_file = ${JSON.stringify(other.keyFile)}
`;
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'strict', listener: { no_sni: 'refuse' }, backend: plainBackend(plain.port) },
      { name: 'orders', backend: plainBackend(plain.port) },
    ]) + choices,
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

test.each([
  ['a.test', 'a.test'],
  ['X.b.test', '*.b.test'],
  ['c.test', 'c.test'],
  ['localhost', 'localhost'],
])('a client that asks for %s is shown the certificate for %s', async (servername, name) => {
  const options = { ca: tls.authority.certPem, servername };
  const channel = await openNegotiatedTls(proxy.port('orders'), options);
  onTestFinished(() => channel.destroy());
  const socket = channel.stream as TLSSocket;
  expect(socket.getPeerCertificate().subjectaltname).toContain(`DNS:${name}`);
});

test.each([
  ['a.test', 'postgres', 'on', 'encrypted'],
  ['x.b.test', 'postgres', 'on', 'encrypted'],
  ['c.test', 'postgres', 'off', undefined],
  ['c.test', 'template1', 'on', 'encrypted'],
  ['localhost', 'template1', 'on', 'encrypted'],
  ['localhost', 'postgres', 'off', undefined],
])(
  'pg to %s and database %s gets to the backend with ssl %s',
  async (servername, database, ssl, name) => {
    const client = await connectPg({
      port: proxy.port('orders'),
      database,
      ssl: { ca: tls.authority.certPem, servername },
      application_name: `${servername} ${database}`,
    });
    const { rows } = await client.query('show ssl');
    expect(rows).toEqual([{ ssl }]);
    await client.end();
    const line = await proxy.logged({ event: 'conn.close', sni: servername, database });
    expect(line['backend']).toBe(name);
  },
);

describe.skipIf(!isInstalled('psql'))('psql', () => {
  const ask = (host: string, database: string, port = proxy.port('orders')) =>
    runClient('psql', ['-XAt', '-c', 'show ssl'], {
      PGHOST: host,
      PGHOSTADDR: '127.0.0.1',
      PGPORT: String(port),
      PGUSER: 'trusted',
      PGDATABASE: database,
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: tls.caFile,
    });

  test('verifies the certificate of its host and gets to the backend of its host or database', async () => {
    expect((await ask('a.test', 'postgres')).stdout).toBe('on\n');
    expect((await ask('c.test', 'postgres')).stdout).toBe('off\n');
    expect((await ask('c.test', 'template1')).stdout).toBe('on\n');
  });

  test('is refused without server name where one is demanded, and the log says why', async () => {
    const port = proxy.port('strict');
    expect((await ask('localhost', 'postgres', port)).stdout).toBe('off\n');
    await expect(ask('127.0.0.1', 'postgres', port)).rejects.toThrow(/alert/);
    const line = await proxy.logged({
      event: 'conn.close',
      route: 'strict',
      alert: 'missing_extension',
    });
    expect(line['error']).toContain('no server name (SNI)');
  });
});
