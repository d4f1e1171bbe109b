/**
 * The measuring client, in a process of its own so that it can be pinned: connects, says that it is ready, waits for a line on
 * stdin, does its work and says what it did, in one line of JSON each.
 *
 * `node client.mjs '{"port": …, "tls": true, "user": …, "database": …, "do": "copy-out", …}'`
 *
 * | do            | options                         | answer                                                        |
 * |---------------|---------------------------------|---------------------------------------------------------------|
 * | `queries`     | sessions, seconds, log, rows    | {}; `log` has a line per transaction, in the form of pgbench's |
 * | `copy-out`    | bytes                           | bytes, millis                                                 |
 * | `copy-in`     | bytes                           | bytes, millis                                                 |
 * | `connections` | seconds, atOnce, isResumed, warmUp | connections, resumed, millis                                  |
 * | `handshake`   |                                 | protocol, cipher, group, resumes (of one connection)          |
 * | `ssl-requests` | count, atOnce, isHeld          | {}; connections that end behind the `S`, when isHeld with stdin |
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { askForTls, int16, int32, message, query, Session, SYNC, text } from './wire.mjs';

const ROW_BYTES = 1000;
const ROWS_AT_ONCE = 64;

/** @type {Record<string, any>} */
const options = JSON.parse(process.argv[2] ?? '{}');
/** @type {import('./wire.mjs').Target} */
const target = { port: options['port'], tls: options['tls'] };
const login = { user: options['user'], database: options['database'] };

/** @param {Record<string, unknown>} answer */
function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function go() {
  say({ ready: true });
  await once(process.stdin, 'data');
}

/** Milliseconds that some work takes. @param {() => Promise<unknown>} work */
async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** @type {Record<string, () => Promise<Record<string, unknown>>>} */
const WORK = {
  queries,
  'copy-out': copyOut,
  'copy-in': copyIn,
  connections,
  handshake,
  'ssl-requests': sslRequests,
};

async function queries() {
  const sessions = await Promise.all(
    Array.from({ length: options['sessions'] }, () => Session.open(target, login)),
  );
  const log = createWriteStream(options['log']);
  await Promise.all(sessions.map(prepare));
  await go();
  const end = performance.now() + options['seconds'] * 1000;
  await Promise.all(sessions.map((session, index) => pointQueries(session, index, end, log)));
  await new Promise((resolve) => log.end(resolve));
  await Promise.all(sessions.map((session) => session.close()));
  return {};
}

/** @param {Session} session */
async function prepare(session) {
  const isReady = session.until('Z');
  const sql = text('select balance from accounts where aid = $1');
  session.socket.write(Buffer.concat([message('P', text('point'), sql, int16(0)), SYNC]));
  await isReady;
}

/** @param {number} aid */
function execution(aid) {
  const value = Buffer.from(String(aid));
  const bind = message(
    'B',
    text(''),
    text('point'),
    int16(0),
    int16(1),
    int32(value.length),
    value,
    int16(0),
  );
  return Buffer.concat([bind, message('E', text(''), int32(0)), SYNC]);
}

/** @param {Session} session @param {number} index @param {number} end @param {import('node:fs').WriteStream} log */
async function pointQueries(session, index, end, log) {
  for (let number = 0; performance.now() < end; number += 1) {
    const start = performance.now();
    const isReady = session.until('Z');
    session.socket.write(execution(1 + Math.floor(Math.random() * options['rows'])));
    await isReady;
    const now = performance.now();
    const micros = Math.round((performance.timeOrigin + now) * 1000);
    const [seconds, rest] = [Math.floor(micros / 1e6), micros % 1e6];
    log.write(`${index} ${number} ${Math.round((now - start) * 1000)} 0 ${seconds} ${rest}\n`);
  }
}

async function copyOut() {
  const session = await Session.open(target, login);
  let bytes = 0;
  const rows = Math.ceil(options['bytes'] / ROW_BYTES);
  await go();
  const millis = await timed(async () => {
    session.socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    await session.query(
      `copy (select repeat('x', ${ROW_BYTES - 6}) from generate_series(1, ${rows})) to stdout`,
    );
  });
  await session.close();
  return { bytes, millis };
}

async function copyIn() {
  const session = await Session.open(target, login);
  const row = message('d', Buffer.from(`${'x'.repeat(ROW_BYTES - 6)}\n`));
  const chunk = Buffer.concat(Array(ROWS_AT_ONCE).fill(row));
  const count = Math.ceil(options['bytes'] / chunk.length);
  await go();
  const millis = await timed(async () => {
    const isAsked = session.until('G');
    // PostgreSQL parses each row and stores none, so that its disk doesn't matter.
    session.socket.write(query('copy sink from stdin where false'));
    await isAsked;
    const isReady = session.until('Z');
    for (let sent = 0; sent < count; sent += 1) {
      if (!session.socket.write(chunk)) {
        await once(session.socket, 'drain');
      }
    }
    session.socket.write(message('c'));
    await isReady;
  });
  await session.close();
  return { bytes: count * chunk.length, millis };
}

async function connections() {
  /** @type {Buffer | undefined} */
  let ticket;
  const keep = (/** @type {Buffer} */ session) => {
    ticket = session;
  };
  const { isResumed } = options;
  const tally = { connections: 0, resumed: 0 };
  const connectOnce = async () => {
    const resumption = isResumed ? { session: ticket, onSession: keep } : {};
    const session = await Session.open(target, login, resumption);
    tally.connections += 1;
    tally.resumed += isReused(session) ? 1 : 0;
    await session.close();
  };
  for (let count = 0; count < options['warmUp'] + 2; count += 1) {
    await connectOnce();
  }
  await go();
  Object.assign(tally, { connections: 0, resumed: 0 });
  const end = performance.now() + options['seconds'] * 1000;
  const player = async () => {
    while (performance.now() < end) {
      await connectOnce();
    }
  };
  const millis = await timed(() => Promise.all(Array.from({ length: options['atOnce'] }, player)));
  return { ...tally, millis };
}

/** What is negotiated, and whether a second connection resumes the first one's session. */
async function handshake() {
  /** @type {Buffer | undefined} */
  let ticket;
  const onSession = (/** @type {Buffer} */ session) => {
    ticket = session;
  };
  const first = await Session.open(target, login, { onSession });
  const socket = /** @type {import('node:tls').TLSSocket} */ (first.socket);
  const found = target.tls
    ? {
        protocol: socket.getProtocol(),
        cipher: socket.getCipher().standardName,
        group: /** @type {any} */ (socket.getEphemeralKeyInfo())?.name,
      }
    : { protocol: null, cipher: null, group: null };
  await first.query('select 1');
  await first.close();
  const second = await Session.open(target, login, { session: ticket });
  const resumes = isReused(second);
  await second.close();
  return { ...found, resumes };
}

/** Asks for TLS and says no more. */
async function sslRequests() {
  let left = options['count'];
  /** @type {import('node:net').Socket[]} */
  const held = [];
  const player = async () => {
    while (left > 0) {
      left -= 1;
      const socket = await askForTls(target.port);
      if (options['isHeld']) {
        held.push(socket);
      } else {
        socket.destroy();
      }
    }
  };
  await go();
  await Promise.all(Array.from({ length: options['atOnce'] }, player));
  return {};
}

/** @param {Session} session */
function isReused({ socket }) {
  return target.tls && /** @type {import('node:tls').TLSSocket} */ (socket).isSessionReused();
}

const work = WORK[options['do']];
if (work === undefined) {
  throw new Error(`no such work: ${options['do']}`);
}
say({ done: await work() });
if (options['isHeld']) {
  await once(process.stdin, 'end');
}
process.exit(0);
