/** Hooks of a program that embeds pgtls, in this process: real clients, real PostgreSQL. */
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { createProxy, type ProxyHooks, refuse } from '../../src/index.ts';
import { captureLog, type LogLine } from '../proxy/fixture.ts';
import { CertificateAuthority, type Identity } from '../support/certificates.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { ask, openNegotiatedTls, readError, startSession } from '../support/raw-client.ts';
import { until } from '../support/until.ts';
import { startupMessage } from '../support/wire.ts';

let tls: ListenerTls;
let client: Identity;
let clientsCaFile: string;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const clients = await CertificateAuthority.create('clients CA');
  clientsCaFile = tls.write('clients.crt', clients.certPem);
  client = await clients.issue({ commonName: 'app', names: [] });
});

afterAll(() => tls.remove());

/** A proxy with `hooks` for the running test. */
async function embed(hooks: ProxyHooks): Promise<{ port: number; log: LogLine[] }> {
  const backend = plainBackend(material().plain.port);
  const listener = { sslmode: 'require', ssl_ca_file: clientsCaFile };
  const text = tls.config([{ name: 'embedded', backend, listener }]);
  const file = tls.write(`hooks-${process.hrtime.bigint()}.toml`, text);
  const { log, logger } = captureLog('info');
  const proxy = createProxy({ file }, { logger, hooks });
  onTestFinished(() => proxy.close());
  const [bound] = await proxy.listen();
  return { port: Number(bound?.address.split(':').at(-1)), log };
}

function connect(port: number) {
  const shown = { cert: client.certPem, key: client.keyPem };
  return openNegotiatedTls(port, { ...tls.clientOptions, ...shown });
}

test('a hook sees the certificate and may take its time', async () => {
  const seen: string[] = [];
  const { port } = await embed({
    onClientCertificate: async ({ certificate }) => {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(new X509Certificate(certificate?.raw ?? '').subject);
    },
    route: ({ user }) => void seen.push(String(user)),
  });
  const channel = await connect(port);
  await startSession(channel);
  expect(await ask(channel, 'select 1')).toEqual([['1']]);
  channel.destroy();
  expect(seen).toEqual(['CN=app', 'trusted']);
});

test('a refused client is told 28000 and the log the reason', async () => {
  const { port, log } = await embed({ onClientCertificate: () => refuse('left the company') });
  const channel = await connect(port);
  await channel.write(startupMessage({ user: 'postgres' }));
  const error = await readError(channel);
  expect(error['C']).toBe('28000');
  expect(JSON.stringify(error)).not.toContain('company');
  await until('the refusal is logged', () =>
    log.some((line) => String(line['error']).includes('left the company')),
  );
  expect(log.find((line) => line['event'] === 'conn.close')).toMatchObject({
    reason: 'hook_refused',
    route: 'embedded',
  });
});
