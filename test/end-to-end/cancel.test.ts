/** CancelRequest: in plaintext as psql's Ctrl-C sends it, inside TLS as newer libpq does, with keys of protocol 3.0 and 3.2. */
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { type ClusterFacts, material } from '../support/material.ts';
import { connectDirectly } from '../support/pg-client.ts';
import {
  ask,
  openDirectTls,
  openNegotiatedTls,
  openTcp,
  type StartedSession,
  startSession,
} from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';
import {
  cancelRequest,
  errorFields,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  query,
  SSL_REQUEST,
} from '../support/wire.ts';

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  const { plain, tls: tlsCluster, caFile } = material();
  const verified = {
    address: `localhost:${tlsCluster.port}`,
    sslmode: 'verify-full',
    sslrootcert: caFile,
  };
  tls = await ListenerTls.create();
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'plain', backend: plainBackend(plain.port) },
      { name: 'tls', backend: verified },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

/** A session that is inside pg_sleep, seen so by the server itself. */
async function sleeping(
  route: string,
  cluster: ClusterFacts,
  version?: number,
): Promise<{ channel: ByteChannel; session: StartedSession }> {
  const channel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  onTestFinished(() => channel.destroy());
  const session = await startSession(channel, {}, version);
  await channel.write(query('select pg_sleep(300)'));
  const observer = await connectDirectly(cluster);
  await until('pg_sleep runs', async () => {
    const text = "select 1 from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
    return (await observer.query(text, [session.processId])).rowCount === 1;
  });
  return { channel, session };
}

async function expectCancelled(channel: ByteChannel): Promise<void> {
  const messages = await channel.messagesUntil('Z');
  const failure = messages.find(({ type }) => type === 'E');
  expect(errorFields(failure?.body ?? Buffer.alloc(0))).toMatchObject({ C: '57014' });
  expect(await ask(channel, 'select 1')).toEqual([['1']]);
}

/** The three ways a CancelRequest can come. */
const WAYS = {
  'in plaintext': (port: number): Promise<ByteChannel> => openTcp(port),
  'inside TLS': (port: number): Promise<ByteChannel> => openNegotiatedTls(port, tls.clientOptions),
  'inside direct TLS': (port: number): Promise<ByteChannel> =>
    openDirectTls(port, tls.clientOptions),
};

describe.each(Object.entries(WAYS))('a CancelRequest %s', (_name, open) => {
  test.each([
    ['3.0', PROTOCOL_3_0, 4],
    ['3.2', PROTOCOL_3_2, 32],
  ])(
    'ends a query of a protocol %s session and is answered by close',
    async (_version, version, keyBytes) => {
      const { channel, session } = await sleeping('plain', material().plain, version);
      expect(session.secretKey).toHaveLength(keyBytes);

      const canceller = await open(proxy.port('plain'));
      await canceller.write(cancelRequest(session.processId, session.secretKey));

      expect((await canceller.ended()).kind).toBe('end');
      await expectCancelled(channel);
    },
  );

  test('reaches a backend that is spoken to over TLS', async () => {
    const { channel, session } = await sleeping('tls', material().tls);

    const canceller = await open(proxy.port('tls'));
    await canceller.write(cancelRequest(session.processId, session.secretKey));

    expect((await canceller.ended()).kind).toBe('end');
    await expectCancelled(channel);
  });
});

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'a CancelRequest that comes with the Finished and the close_notify in one segment works (%s)',
  async (version) => {
    const { channel, session } = await sleeping('plain', material().plain);
    const tcp = await openTcp(proxy.port('plain'));
    await tcp.write(SSL_REQUEST);
    await tcp.read(1);
    const versions = { minVersion: version, maxVersion: version };
    const socket = connectTls({ ...tls.clientOptions, ...versions, socket: tcp.release() });
    socket.end(cancelRequest(session.processId, session.secretKey));
    const canceller = new ByteChannel(socket);

    expect((await canceller.ended()).kind).toBe('end');
    await expectCancelled(channel);
  },
);

test('a CancelRequest that comes byte by byte works', async () => {
  const { channel, session } = await sleeping('plain', material().plain);
  const canceller = await openTcp(proxy.port('plain'));

  for (const byte of cancelRequest(session.processId, session.secretKey)) {
    await canceller.write(Buffer.from([byte]));
  }

  expect((await canceller.ended()).kind).toBe('end');
  await expectCancelled(channel);
});

test('a CancelRequest with a wrong key is closed and disturbs nobody', async () => {
  const { channel, session } = await sleeping('plain', material().plain);
  const wrongKey = Buffer.from(session.secretKey.map((byte) => byte ^ 0xff));

  const stranger = await openTcp(proxy.port('plain'));
  await stranger.write(cancelRequest(session.processId, wrongKey));
  expect((await stranger.ended()).kind).toBe('end');

  const canceller = await openTcp(proxy.port('plain'));
  await canceller.write(cancelRequest(session.processId, session.secretKey));
  await expectCancelled(channel);
});
