/**
 * TLS alone, in this process, without sockets: records and handshakes of node:tls by the `benchmark` package, of OpenSSL by its own
 * `openssl speed`, and of pgtls by the bench addon where it was built (bench/lib/bench-addon.mjs).
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import * as stream from 'node:stream';
import { createSecureContext, connect as secure, TLSSocket } from 'node:tls';
import { loadBenchAddon } from '../lib/bench-addon.mjs';
import { Lacking } from '../lib/lacking.mjs';
import { measureHandOff } from './hand-off.mjs';

const RECORD_BYTES = [64, 1024, 16_384];
/** Of one operation that is timed, so that what the package does between two doesn't count. */
const BATCH_BYTES = 1 << 20;
const HANDSHAKES = 10;
const WRITERS = [1, 2, 3];
/** One for all clients: making it anew costs more than the handshake. */
const CLIENT = createSecureContext();
const SHARED_WRITES = 100_000;
const HANDOFFS = 640;

export const IN_PROCESS_FIGURES = {
  gigabytesPerSecond: 'GB/s',
  handshakesPerSecond: 'handshakes/s',
  nanosPerOperation: 'ns/operation',
  microsAboveBare: 'µs above bare Node',
  threadMicros: 'µs of the JavaScript thread',
};

/** @typedef {import('../lib/rounds.mjs').Book} Book */
/** @typedef {import('../lib/stage.mjs').Stage} Stage */
/** @typedef {(operation: () => unknown) => Promise<number>} Rate operations per second */

/** @param {Stage} stage @param {Book} book */
export async function measureInProcess(stage, book) {
  const { progress, failures } = book;
  progress.expect(4);
  const parts = {
    'openssl speed': () => opensslSpeed(book),
    'node:tls': () => nodeTls(stage, book),
    pgtls: () => rustls(book),
    'hand-off': () => measureHandOff(stage, book),
  };
  for (const [name, part] of Object.entries(parts)) {
    progress.step(`in process: ${name}`);
    try {
      await part();
    } catch (error) {
      failures.push(`in process, ${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
}

/** @param {string} variant @param {string} contestant */
function cell(variant, contestant) {
  return { measure: 'in-process', variant, contestant, pinned: false };
}

/** @param {Book} book */
function opensslSpeed({ results, size }) {
  const seconds = String(Math.max(1, Math.round(size.seconds / 2)));
  const speed = (/** @type {string[]} */ ...args) =>
    execFileSync('openssl', ['speed', '-mr', '-seconds', seconds, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  try {
    for (const bytes of RECORD_BYTES) {
      const text = speed('-bytes', String(bytes), '-evp', 'aes-256-gcm');
      const perSecond = Number(/^\+F:\d+:[^:]+:([\d.]+)/m.exec(text)?.[1]);
      const figures = { gigabytesPerSecond: perSecond / 1e9 };
      results.add(cell(`AES-256-GCM, ${bytes} bytes`, 'openssl speed'), 1, figures);
    }
    const text = speed('ecdsap256', 'rsa2048');
    const signs = {
      'ECDSA P-256 sign': /^\+F4:.*:256:([\d.]+)/m,
      'RSA-2048 sign': /^\+F2:.*:2048:([\d.]+)/m,
    };
    for (const [variant, pattern] of Object.entries(signs)) {
      const perSecond = Number(pattern.exec(text)?.[1]);
      results.add(cell(variant, 'openssl speed'), 1, { nanosPerOperation: 1e9 / perSecond });
    }
  } catch (error) {
    if (/** @type {any} */ (error).code !== 'ENOENT') {
      throw error;
    }
    results.lacks(cell('AES-256-GCM', 'openssl speed'), 'openssl is not installed');
  }
}

/** @param {Stage} stage @param {Book} book */
async function nodeTls(stage, { results, size }) {
  const rate = await rateBy(size.seconds);
  if (rate === null || stream.duplexPair === undefined) {
    const what =
      rate === null ? 'the package "benchmark" is not installed' : 'this Node.js is too old';
    results.lacks(cell('records', 'node-tls'), what);
    return;
  }
  for (const keyType of /** @type {const} */ (['ecdsa', 'rsa'])) {
    const context = contextOf(stage.certificates[keyType]);
    const perSecond = await rate(async () => {
      for (let count = 0; count < HANDSHAKES; count += 1) {
        await shake(context);
      }
    });
    const figures = { handshakesPerSecond: perSecond * HANDSHAKES };
    results.add(cell(`handshake, ${keyType}`, 'node-tls'), 1, figures);
  }
  for (const bytes of RECORD_BYTES) {
    const pair = await shake(contextOf(stage.certificates.ecdsa), true);
    const perSecond = await rate(() => transfer(pair, bytes));
    const gigabytesPerSecond = (perSecond * BATCH_BYTES) / 1e9;
    results.add(cell(`encrypt and decrypt, writes of ${bytes} bytes`, 'node-tls'), 1, {
      gigabytesPerSecond,
    });
    pair.client.destroy();
    pair.server.destroy();
  }
}

/** @param {Book} book */
async function rustls({ results, size, progress }) {
  const rate = await rateBy(size.seconds);
  if (rate === null) {
    results.lacks(cell('records', 'pgtls'), 'the package "benchmark" is not installed');
    return;
  }
  progress.note('building the bench addon, unless it is up to date …');
  const addon = addonOrLack(results);
  if (addon === null) {
    return;
  }
  for (const bytes of RECORD_BYTES) {
    await measureRecords(addon, rate, bytes, results);
  }
  for (const kind of /** @type {const} */ (['ecdsa', 'rsa', 'resumed'])) {
    const perSecond = await rate(() => addon.handshakes(kind, HANDSHAKES));
    const figures = { handshakesPerSecond: perSecond * HANDSHAKES };
    results.add(cell(`handshake, ${kind}`, 'pgtls'), 1, figures);
  }
  for (const writers of WRITERS) {
    const perSecond = await rate(() => addon.sharedWrites(writers, SHARED_WRITES));
    const figures = { nanosPerOperation: 1e9 / perSecond / SHARED_WRITES };
    results.add(cell(`shared session, ${writers} writers`, 'pgtls'), 1, figures);
  }
  const perSecond = await rate(() => addon.handoffs(HANDOFFS));
  const figures = { nanosPerOperation: 1e9 / perSecond / HANDOFFS };
  results.add(cell('adopt, as far as the worker', 'pgtls'), 1, figures);
}

/** The addon; null when it can't be had here, which is noted. @param {import('../lib/results.mjs').Results} results */
function addonOrLack(results) {
  try {
    return loadBenchAddon();
  } catch (error) {
    if (error instanceof Lacking) {
      results.lacks(cell('records', 'pgtls'), error.message);
      return null;
    }
    throw error;
  }
}

/**
 * Decrypting keeps its own time: the package's would have the peer's encrypting in it.
 * @param {import('../lib/bench-addon.mjs').BenchAddon} addon @param {Rate} rate @param {number} bytes @param {import('../lib/results.mjs').Results} results
 */
async function measureRecords(addon, rate, bytes, results) {
  const count = BATCH_BYTES / bytes;
  const encrypt = await rate(() => addon.encryptRecords(bytes, count));
  const spent = { nanos: 0, batches: 0 };
  await rate(() => {
    spent.nanos += addon.decryptRecords(bytes, count);
    spent.batches += 1;
  });
  const decrypt = (1e9 * spent.batches) / spent.nanos;
  const rates = {
    [`encrypt, ${bytes} bytes`]: encrypt,
    [`decrypt, ${bytes} bytes`]: decrypt,
    [`encrypt and decrypt, writes of ${bytes} bytes`]: 1 / (1 / encrypt + 1 / decrypt),
  };
  for (const [variant, perSecond] of Object.entries(rates)) {
    const gigabytesPerSecond = (perSecond * BATCH_BYTES) / 1e9;
    results.add(cell(variant, 'pgtls'), 1, { gigabytesPerSecond });
  }
}

/** A stop-watch of the package; null when it isn't installed. @param {number} seconds @returns {Promise<Rate | null>} */
async function rateBy(seconds) {
  /** @type {any} */
  let Benchmark;
  try {
    Benchmark = (await import('benchmark')).default;
  } catch (error) {
    if (/** @type {any} */ (error).code === 'ERR_MODULE_NOT_FOUND') {
      return null;
    }
    throw error;
  }
  return (operation) =>
    new Promise((resolve, reject) => {
      const fn = (/** @type {{ resolve: () => void }} */ deferred) => {
        Promise.resolve(operation()).then(() => deferred.resolve(), reject);
      };
      new Benchmark({
        defer: true,
        async: true,
        maxTime: seconds,
        fn,
        onComplete: (/** @type {any} */ { target }) => resolve(target.hz),
        onError: (/** @type {any} */ { target }) => reject(target.error),
      }).run();
    });
}

/** @param {import('../lib/stage.mjs').Certificate} certificate */
function contextOf({ certFile, keyFile }) {
  return createSecureContext({ cert: readFileSync(certFile), key: readFileSync(keyFile) });
}

/** Client and server in memory after their handshake; both are destroyed unless they are kept. @param {import('node:tls').SecureContext} secureContext @param {boolean} [isKept] */
async function shake(secureContext, isKept = false) {
  const [near, far] = stream.duplexPair();
  const server = new TLSSocket(far, { isServer: true, secureContext });
  const client = secure({ socket: near, secureContext: CLIENT, rejectUnauthorized: false });
  await Promise.all([once(client, 'secureConnect'), once(server, 'secure')]);
  if (!isKept) {
    client.destroy();
    server.destroy();
  }
  return { client, server };
}

/** Writes a batch in records of this size, and waits until all of it was read. @param {{ client: TLSSocket, server: TLSSocket }} pair @param {number} bytes */
async function transfer({ client, server }, bytes) {
  const record = Buffer.alloc(bytes, 7);
  let left = BATCH_BYTES;
  const isRead = new Promise((resolve) => {
    const onData = (/** @type {Buffer} */ chunk) => {
      left -= chunk.length;
      if (left === 0) {
        server.off('data', onData);
        resolve(undefined);
      }
    };
    server.on('data', onData);
  });
  for (let sent = 0; sent < BATCH_BYTES; sent += bytes) {
    if (!client.write(record)) {
      await once(client, 'drain');
    }
  }
  await isRead;
}
