/**
 * Clients from before TLS 1.2 and clients that break the handshake: each gets the alert of the RFC, the log one line with the
 * reason, and a neighbour's session goes on. Negotiated and direct, since the first bytes of direct TLS go another way.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import {
  alertsIn,
  CONTENT,
  clientHello,
  EXTENSION,
  goodExtensions,
  OLD_CIPHERS,
  record,
  supportedVersions,
  uint16,
  VERSION,
  vector,
  withExtension,
} from '../support/client-hello.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { connectionBooks } from '../support/log-books.ts';
import { material } from '../support/material.ts';
import { ask, openNegotiatedTls, openTcp, startSession } from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { until } from '../support/until.ts';
import { SSL_REQUEST, startupMessage } from '../support/wire.ts';

/** Alert numbers of RFC 8446, 6. */
const ALERTS = {
  unexpected_message: 10,
  handshake_failure: 40,
  illegal_parameter: 47,
  decode_error: 50,
  protocol_version: 70,
} as const;

interface Attack {
  readonly name: string;
  readonly bytes: Buffer;
  /** The alert that answers it; null = whichever, or none. */
  readonly alert: keyof typeof ALERTS | null;
  /** Whether it may come as the first bytes of a connection, too. */
  readonly direct?: false;
}

const empty = Buffer.alloc(0);
const old = (version: number) => clientHello({ version, ciphers: OLD_CIPHERS, extensions: null });
const hello = clientHello();

const ATTACKS: readonly Attack[] = [
  {
    name: 'an SSLv3 ClientHello',
    bytes: record(old(VERSION.ssl3), { version: VERSION.ssl3 }),
    alert: 'protocol_version',
  },
  { name: 'a TLS 1.0 ClientHello', bytes: record(old(VERSION.tls10)), alert: 'protocol_version' },
  { name: 'a TLS 1.1 ClientHello', bytes: record(old(VERSION.tls11)), alert: 'protocol_version' },
  {
    name: 'a TLS 1.1 ClientHello with the extensions of today',
    bytes: record(
      clientHello({
        version: VERSION.tls11,
        ciphers: OLD_CIPHERS,
        extensions: withExtension(EXTENSION.supportedVersions, null),
      }),
    ),
    alert: 'protocol_version',
  },
  {
    name: 'supported_versions of TLS 1.1 and 1.0 only',
    bytes: record(
      clientHello({
        extensions: withExtension(
          EXTENSION.supportedVersions,
          supportedVersions([VERSION.tls11, VERSION.tls10]),
        ),
      }),
    ),
    alert: 'protocol_version',
  },
  {
    name: 'supported_versions of a far future',
    bytes: record(
      clientHello({
        extensions: withExtension(EXTENSION.supportedVersions, supportedVersions([0x0505, 0x7a7a])),
      }),
    ),
    alert: 'protocol_version',
  },
  {
    name: 'TLS 1.2 with cipher suites of the past only',
    bytes: record(
      clientHello({
        ciphers: OLD_CIPHERS,
        extensions: withExtension(EXTENSION.supportedVersions, null),
      }),
    ),
    alert: 'handshake_failure',
  },
  {
    name: 'groups that nobody knows',
    bytes: record(
      clientHello({
        extensions: withExtension(EXTENSION.supportedGroups, vector(2, uint16(0x4242))),
      }),
    ),
    alert: 'handshake_failure',
  },
  {
    name: 'compression only',
    bytes: record(clientHello({ compressions: [1] })),
    alert: null,
  },
  {
    name: 'an extension twice',
    bytes: record(
      clientHello({ extensions: [...goodExtensions(), [EXTENSION.extendedMasterSecret, empty]] }),
    ),
    alert: 'illegal_parameter',
  },
  ...(
    [
      'serverName',
      'supportedGroups',
      'signatureAlgorithms',
      'alpn',
      'supportedVersions',
      'keyShare',
    ] as const
  ).map((name) => ({
    name: `a ${name} extension of no bytes`,
    bytes: record(clientHello({ extensions: withExtension(EXTENSION[name], empty) })),
    alert: 'decode_error' as const,
  })),
  {
    name: 'no signature_algorithms',
    bytes: record(clientHello({ extensions: withExtension(EXTENSION.signatureAlgorithms, null) })),
    alert: null,
  },
  {
    name: 'a server name with a NUL',
    bytes: record(
      clientHello({
        extensions: withExtension(
          EXTENSION.serverName,
          vector(2, Buffer.concat([Buffer.from([0]), vector(2, Buffer.from('local\0host'))])),
        ),
      }),
    ),
    alert: 'illegal_parameter',
  },
  {
    name: 'bytes behind the extensions',
    bytes: record(
      Buffer.concat([
        Buffer.from([1]),
        vector(3, Buffer.concat([hello.subarray(4), Buffer.from([0xff])])),
      ]),
    ),
    alert: 'decode_error',
  },
  {
    name: 'a handshake message shorter than what it says',
    bytes: record(Buffer.concat([Buffer.from([1]), vector(3, hello.subarray(4, 40))])),
    alert: 'decode_error',
  },
  {
    name: 'a handshake message of 16 MiB',
    bytes: record(Buffer.concat([Buffer.from([1, 0xff, 0xff, 0xff]), hello.subarray(4)])),
    alert: null,
  },
  {
    name: 'a record of more than 2^14 + 2048 bytes',
    bytes: record(Buffer.alloc(18_433, 1), { length: 18_433 }),
    // RFC 8446, 5.1 asks for record_overflow; rustls sends this one.
    alert: 'decode_error',
  },
  { name: 'a record of no bytes', bytes: record(empty), alert: 'decode_error' },
  {
    name: 'a Finished before the handshake',
    bytes: record(Buffer.concat([Buffer.from([20]), vector(3, Buffer.alloc(12, 3))])),
    alert: 'unexpected_message',
  },
  {
    name: 'application data before the handshake',
    bytes: record(Buffer.alloc(64, 7), { type: CONTENT.applicationData, version: VERSION.tls12 }),
    alert: 'unexpected_message',
    direct: false,
  },
  {
    name: 'a ChangeCipherSpec before the handshake',
    bytes: record(Buffer.from([1]), { type: CONTENT.changeCipherSpec, version: VERSION.tls12 }),
    alert: 'unexpected_message',
    direct: false,
  },
  {
    name: 'a heartbeat before the handshake',
    bytes: record(Buffer.from([1, 0x40, 0]), { type: CONTENT.heartbeat, version: VERSION.tls12 }),
    alert: 'decode_error',
    direct: false,
  },
  { name: 'an SSLv2 ClientHello', bytes: sslv2Hello(), alert: 'decode_error', direct: false },
  {
    name: 'an HTTP request behind the S',
    bytes: Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    alert: 'decode_error',
    direct: false,
  },
];

/** The two-byte header of SSLv2, as clients of the nineties began with SSLv3 or TLS 1.0. */
function sslv2Hello(): Buffer {
  const body = Buffer.concat([
    Buffer.from([1]),
    uint16(VERSION.tls10),
    ...[3, 0, 16].map(uint16),
    Buffer.from([0, 0, 0x2f]),
    Buffer.alloc(16, 9),
  ]);
  return Buffer.concat([uint16(0x8000 | body.length), body]);
}

const WAYS = ['negotiated', 'direct'] as const;
type Way = (typeof WAYS)[number];

/** Each attack with each way it can go: a route each, so that no two lines of the log are folded. */
const CASES = ATTACKS.flatMap((attack) =>
  WAYS.filter((way) => way === 'negotiated' || attack.direct !== false).map((way) => ({
    ...attack,
    way,
    route: `${attack.name}, ${way}`,
  })),
);

function nameOf({ name, alert }: Attack): string {
  return alert === null ? `${name} is refused` : `${name} is answered with ${alert}`;
}

const OTHER_ROUTES = [
  'neighbour',
  'cut negotiated',
  'cut direct',
  'cut finely',
  'renegotiation',
  's_client',
];

let tls: ListenerTls;
let proxy: RunningProxy;
let neighbour: ByteChannel;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const backend = plainBackend(material().plain.port);
  const names = [...CASES.map(({ route }) => route), ...OTHER_ROUTES];
  proxy = await RunningProxy.start(tls.config(names.map((name) => ({ name, backend }))));
  neighbour = await openNegotiatedTls(proxy.port('neighbour'), tls.clientOptions);
  await startSession(neighbour);
});

afterAll(async () => {
  neighbour?.destroy();
  await proxy?.stop();
  const books = connectionBooks(proxy.logs);
  expect(books).toEqual({ accepted: books.accepted, closed: books.accepted, internal: [] });
  tls?.remove();
});

afterEach(async () => {
  expect(await ask(neighbour, 'select 1')).toEqual([['1']]);
});

async function begin(route: string, way: Way): Promise<ByteChannel> {
  const channel = await openTcp(proxy.port(route));
  if (way === 'negotiated') {
    await channel.write(SSL_REQUEST);
    expect((await channel.read(1)).toString()).toBe('S');
  }
  return channel;
}

describe.each(WAYS)('%s TLS', (way) => {
  test.for(CASES.filter((one) => one.way === way).map((one) => [nameOf(one), one] as const))(
    '%s',
    async ([, { bytes, alert, route }]) => {
      const channel = await begin(route, way);
      await channel.write(bytes);
      const { bytes: answer } = await channel.rest();
      channel.destroy();
      const alerts = alertsIn(answer);
      expect(alerts).toEqual(alert === null ? expect.any(Array) : [ALERTS[alert]]);
      const line = await proxy.logged({ event: 'conn.close', route });
      expect(line).toMatchObject({
        reason: 'client_tls_handshake_failed',
        phase: 'client_handshake',
        fault_side: 'client',
        error: expect.any(String),
      });
      // The log tells of the alert that was on the wire, and of none when there was none.
      const sent = Object.entries(ALERTS).find(([, number]) => number === alerts[0])?.[0];
      const told = { alert: sent, alert_direction: 'sent', alert_side: 'client' };
      expect(line).toMatchObject(alerts.length === 0 ? {} : told);
      expect('alert' in line).toBe(alerts.length > 0);
      const lines = proxy.logs.filter(
        (one) => one['event'] === 'conn.close' && one['route'] === route,
      );
      expect(lines).toHaveLength(1);
    },
  );

  test('a client that leaves in the middle of its ClientHello is closed and logged', async () => {
    const channel = await begin(`cut ${way}`, way);
    const { localPort } = channel.stream as unknown as { localPort: number };
    await channel.write(record(hello).subarray(0, 90));
    await channel.finishWriting();
    await channel.rest();
    channel.destroy();
    const line = await proxy.logged({ event: 'conn.close', client_addr: `127.0.0.1:${localPort}` });
    expect(line).toMatchObject({ route: `cut ${way}`, phase: 'client_handshake' });
  });
});

describe('renegotiation (TLS 1.2)', () => {
  test('is refused to node:tls', async () => {
    const channel = await openNegotiatedTls(proxy.port('renegotiation'), {
      ...tls.clientOptions,
      maxVersion: 'TLSv1.2',
    });
    await startSession(channel);
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
    channel.stream.renegotiate({}, () => undefined);
    const { end } = await channel.rest();
    expect(end.kind === 'error' ? String(end.error) : 'in order').toContain('no renegotiation');
    channel.destroy();
    const line = await proxy.logged({ event: 'conn.close', route: 'renegotiation' });
    // OpenSSL puts up with no refusal: it ends the session by itself.
    expect(line).toMatchObject({ alert: 'handshake_failure', alert_direction: 'received' });
  });

  test.skipIf(spawnSync('openssl', ['version']).status !== 0)(
    "is refused to openssl s_client's R",
    async () => {
      const child = spawn(
        'openssl',
        [
          ...['s_client', '-connect', `127.0.0.1:${proxy.port('s_client')}`, '-tls1_2'],
          ...['-starttls', 'postgres', '-CAfile', tls.caFile],
        ],
        { stdio: ['pipe', 'pipe', 'pipe'] },
      );
      const closed = once(child, 'close');
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk: Buffer) => {
          output += chunk.toString('latin1');
        });
      }
      child.stdin.on('error', () => undefined);
      const explained = { explain: () => output };
      await until(
        's_client is connected',
        () => output.includes('Verify return code: 0'),
        explained,
      );
      child.stdin.write('R\n');
      await until(
        's_client hears of the refusal',
        () => output.includes('no renegotiation'),
        explained,
      );
      child.stdin.end();
      child.kill();
      await closed;
      const line = await proxy.logged({ event: 'conn.close', route: 's_client' });
      expect(line).toMatchObject({ alert: 'handshake_failure', alert_direction: 'received' });
    },
  );
});

test('a ClientHello in records of one byte each is understood', async () => {
  const channel = await begin('cut finely', 'negotiated');
  await channel.write(Buffer.concat([...hello].map((byte) => record(Buffer.from([byte])))));
  const first = await channel.read(1);
  expect(first[0]).toBe(CONTENT.handshake);
  channel.destroy();
});

test('a StartupMessage in place of a ClientHello behind the S is no TLS', async () => {
  const channel = await begin('neighbour', 'negotiated');
  await channel.write(startupMessage({ user: 'mallory' }));
  const { bytes } = await channel.rest();
  expect(bytes.includes(Buffer.from('mallory'))).toBe(false);
  channel.destroy();
  await proxy.logged({
    event: 'conn.close',
    route: 'neighbour',
    reason: 'client_tls_handshake_failed',
  });
});
