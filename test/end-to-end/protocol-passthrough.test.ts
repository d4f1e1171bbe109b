/** What pgtls relays without looking at it: notifications, pipelining, protocol 3.2, replication (CopyBoth). */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { ByteChannel } from '../support/byte-channel.ts';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectDirectly, connectPg } from '../support/pg-client.ts';
import { ask, openNegotiatedTls, startSession } from '../support/raw-client.ts';
import { RunningProxy } from '../support/running-proxy.ts';
import { WAIT_MILLIS, within } from '../support/until.ts';
import {
  dataRow,
  type Message,
  message,
  PROTOCOL_3_2,
  query,
  startupMessage,
} from '../support/wire.ts';

let tls: ListenerTls;
let proxy: RunningProxy;

beforeAll(async () => {
  tls = await ListenerTls.create();
  const { plain, tls: tlsCluster } = material();
  proxy = await RunningProxy.start(
    tls.config([
      { name: 'plain', backend: plainBackend(plain.port) },
      { name: 'tls', backend: { address: `127.0.0.1:${tlsCluster.port}`, sslmode: 'require' } },
    ]),
  );
});

afterAll(async () => {
  await proxy.stop();
  tls.remove();
});

async function opened(route = 'plain'): Promise<ByteChannel> {
  const channel = await openNegotiatedTls(proxy.port(route), tls.clientOptions);
  onTestFinished(() => channel.destroy());
  return channel;
}

test('a notification reaches a session that only listens', async () => {
  const listener = await connectPg({ port: proxy.port('plain'), ssl: tls.clientOptions });
  const notifier = await connectPg({ port: proxy.port('plain'), ssl: tls.clientOptions });
  const notified = new Promise((resolve) => listener.once('notification', resolve));
  await listener.query('listen orders');
  await notifier.query("notify orders, 'shipped'");

  expect(await within(WAIT_MILLIS, 'the notification', notified)).toMatchObject({
    channel: 'orders',
    payload: 'shipped',
  });
});

describe('pipelining', () => {
  test('a thousand extended queries in one write are answered in order', async () => {
    const channel = await opened();
    await startSession(channel);
    const sync = message('S');
    await channel.write(
      Buffer.concat(
        Array.from({ length: 1000 }, (_, n) => Buffer.concat([extendedQuery(`select ${n}`), sync])),
      ),
    );

    const rows: Array<string | null | undefined> = [];
    for (let n = 0; n < 1000; n += 1) {
      const messages = await channel.messagesUntil('Z');
      rows.push(dataRow(messages.find(({ type }) => type === 'D')?.body ?? Buffer.alloc(2))[0]);
    }
    expect(rows).toEqual(Array.from({ length: 1000 }, (_, n) => String(n)));
  });

  test('queries in one batch behind an error are skipped up to the Sync, as by PostgreSQL itself', async () => {
    const channel = await opened();
    await startSession(channel);
    const batch = [
      extendedQuery('select 1'),
      extendedQuery('select 1/0'),
      extendedQuery('select 2'),
      message('S'),
    ];
    await channel.write(Buffer.concat(batch));

    const types = (await channel.messagesUntil('Z')).map(({ type }) => type);
    expect(types.filter((type) => type === 'D')).toHaveLength(1);
    expect(types.filter((type) => type === 'E')).toHaveLength(1);
  });

  test('a query in the same write as the StartupMessage is answered', async () => {
    const channel = await opened();
    const startup = startupMessage({ user: 'trusted', database: 'postgres' });
    await channel.write(Buffer.concat([startup, query('select 7')]));
    await channel.messagesUntil('Z');
    const messages = await channel.messagesUntil('Z');
    expect(messages.filter(({ type }) => type === 'D').map(({ body }) => dataRow(body))).toEqual([
      ['7'],
    ]);
  });
});

/** Parse, Bind and Execute of the unnamed statement, without parameters. */
function extendedQuery(text: string): Buffer {
  const parse = message('P', Buffer.from(`\0${text}\0\0\0`));
  const bind = message('B', Buffer.alloc(8));
  const execute = message('E', Buffer.alloc(5));
  return Buffer.concat([parse, bind, execute]);
}

describe('protocol 3.2', () => {
  test('a session has a cancel key of 32 bytes', async () => {
    const channel = await opened();
    const { secretKey } = await startSession(channel, {}, PROTOCOL_3_2);
    expect(secretKey).toHaveLength(32);
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
  });

  test('a newer minor version and unknown options are negotiated by PostgreSQL, not by pgtls', async () => {
    const channel = await opened();
    const { messages } = await startSession(channel, { '_pq_.unknown': '1' }, 0x0003_270f);
    const negotiated = messages.find(({ type }) => type === 'v');
    expect(negotiated?.body.readInt32BE(0)).toBe(PROTOCOL_3_2);
    expect(negotiated?.body.toString()).toContain('_pq_.unknown');
  });
});

describe.each(['plain', 'tls'])('logical replication through route %s', (route) => {
  const cluster = () => (route === 'plain' ? material().plain : material().tls);

  test('changes stream to the client, its status updates to the server, and both sides end the copy', async () => {
    const direct = await connectDirectly(cluster());
    await direct.query(
      'create table replicated (n int); create publication everything for table replicated',
    );
    onTestFinished(async () => {
      const cleaner = await connectDirectly(cluster());
      await cleaner.query('drop publication everything; drop table replicated');
    });
    const channel = await opened(route);
    await startSession(channel, { replication: 'database' });
    await ask(channel, 'CREATE_REPLICATION_SLOT through_pgtls TEMPORARY LOGICAL pgoutput');

    await channel.write(
      query(
        "START_REPLICATION SLOT through_pgtls LOGICAL 0/0 (proto_version '1', publication_names 'everything')",
      ),
    );
    expect((await channel.message()).type).toBe('W');
    await direct.query('insert into replicated select generate_series(1, 1000)');
    const inserts = await readInserts(channel, 1000);
    await channel.write(Buffer.concat([statusUpdate(), message('c')]));
    const rest = await channel.messagesUntil('Z');

    expect(inserts).toBe(1000);
    expect(rest.map(({ type }) => type)).toContain('c');
    expect(await ask(channel, 'select 1')).toEqual([['1']]);
  });
});

test.each(['plain', 'tls'])('a base backup streams in full through route %s', async (route) => {
  const channel = await opened(route);
  await startSession(channel, { replication: 'true' });
  await channel.write(query("BASE_BACKUP ( LABEL 'through pgtls', CHECKPOINT 'fast', WAL true )"));
  const messages = await channel.messagesUntil('Z');
  const archive = messages.filter(({ type }) => type === 'd').map(({ body }) => body);
  const types = new Set(messages.map(({ type }) => type));

  expect([...types]).toEqual(expect.arrayContaining(['T', 'D', 'H', 'd', 'c']));
  expect(Buffer.concat(archive).length).toBeGreaterThan(20_000_000);
  expect(Buffer.concat(archive).includes('PG_VERSION')).toBe(true);
});

/** Reads CopyData until so many pgoutput Insert messages (`I` behind XLogData's header) have come. */
async function readInserts(channel: ByteChannel, wanted: number): Promise<number> {
  let inserts = 0;
  while (inserts < wanted) {
    const next: Message = await channel.message();
    expect(next.type).toBe('d');
    const isXLogData = next.body.toString('latin1', 0, 1) === 'w';
    inserts += isXLogData && next.body.toString('latin1', 25, 26) === 'I' ? 1 : 0;
  }
  return inserts;
}

/** Standby status update: nothing confirmed. */
function statusUpdate(): Buffer {
  const body = Buffer.alloc(34);
  body.write('r', 0, 'latin1');
  return message('d', body);
}
