/**
 * What a storm of logins does to sessions that run: the same storm on PostgreSQL's own TLS and on pgtls before it.
 * Method: bench/README.md.
 *
 * `node bench/storm.mjs [--connects 5000] [--at-once 200] [--sessions 100] [--rounds 3] [--handshakes 256]`
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { createTemporaryDirectory, findServerIdentity } from '../dist/cli/demo/server-identity.js';
import { PgtlsProcess, pause } from './lib/proxy.mjs';
import { routeTo, startCluster, writeCertificates } from './lib/tls-postgres.mjs';

const { values: options } = parseArgs({
  options: {
    connects: { type: 'string', default: '5000' },
    'at-once': { type: 'string', default: '200' },
    sessions: { type: 'string', default: '100' },
    rounds: { type: 'string', default: '3' },
    handshakes: { type: 'string', default: '256' },
  },
});
const connects = Number(options.connects);
const atOnce = Number(options['at-once']);
const sessionCount = Number(options.sessions);

/** Between two queries of a session: what runs is not to fill the machine by itself. */
const PAUSE_MILLIS = 20;
/** How long the sessions run alone, before and after. */
const CALM_MILLIS = 1_000;
const STORM = fileURLToPath(new URL('clients/storm.mjs', import.meta.url));

/** @param {number[]} times @param {number} part */
function quantile(times, part) {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * part)] ?? Number.NaN;
}

/** Sessions that query again and again until they are stopped. */
class Sessions {
  /** @type {pg.Client[]} */
  #clients = [];
  #isOver = false;
  /** @type {Promise<unknown>} */
  #running = Promise.resolve();
  /** Milliseconds of each query since the last reset. @type {number[]} */
  times = [];

  /** @param {number} port @param {string} ca */
  async start(port, ca) {
    for (let count = 0; count < sessionCount; count += 1) {
      const client = new pg.Client({
        host: '127.0.0.1',
        port,
        user: 'postgres',
        database: 'postgres',
        ssl: { ca, servername: 'localhost' },
      });
      await client.connect();
      this.#clients.push(client);
    }
    this.#running = Promise.all(this.#clients.map((client) => this.#run(client)));
  }

  /** @param {pg.Client} client */
  async #run(client) {
    while (!this.#isOver) {
      const began = performance.now();
      await client.query('select 1');
      this.times.push(performance.now() - began);
      await pause(PAUSE_MILLIS);
    }
  }

  async stop() {
    this.#isOver = true;
    await this.#running;
    await Promise.all(this.#clients.map((client) => client.end()));
  }
}

/** Runs the storm in a process of its own, and gives what it wrote. @param {number} port @param {string} ca */
async function storm(port, ca) {
  const child = spawn(process.execPath, [STORM, `${port}`, `${connects}`, `${atOnce}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(ca);
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) {
    throw new Error(`the storm ended with ${code}`);
  }
  return /** @type {{ millis: number, failed: number, reasons: string[] }} */ (JSON.parse(output));
}

/** @param {string} name @param {number} port @param {string} ca */
async function round(name, port, ca) {
  const sessions = new Sessions();
  await sessions.start(port, ca);
  await pause(CALM_MILLIS);
  const calm = sessions.times;
  sessions.times = [];
  const { millis, failed, reasons } = await storm(port, ca);
  const stormy = sessions.times;
  await sessions.stop();
  const describe = (/** @type {number[]} */ times) =>
    `median ${quantile(times, 0.5).toFixed(2)} ms, p99 ${quantile(times, 0.99).toFixed(2)} ms`;
  console.log(
    `${name.padEnd(16)} calm: ${describe(calm)}; storm: ${describe(stormy)} (${stormy.length} queries); ` +
      `${connects} logins in ${(millis / 1000).toFixed(2)} s, ${failed} failed${reasons.map((reason) => `: ${reason}`).join('')}`,
  );
}

const identity = findServerIdentity();
const directory = createTemporaryDirectory('pgtls-storm-', identity);
/** @type {Array<() => Promise<unknown>>} */
const cleanUp = [];

async function measure() {
  const files = await writeCertificates(directory, identity);
  const max_connections = String(sessionCount + 2 * atOnce + 20);
  const cluster = await startCluster(directory, identity, files, { max_connections });
  cleanUp.push(() => cluster.stop());
  const limit = `max_concurrent_handshakes = ${Number(options.handshakes)}\n`;
  const proxy = await PgtlsProcess.start(directory, limit + routeTo(files, cluster.port));
  cleanUp.push(() => proxy.stop());
  const port = Number(proxy.address().split(':').at(-1));
  for (let count = 0; count < Number(options.rounds); count += 1) {
    await round('PostgreSQL alone', cluster.port, files.ca);
    await round('pgtls', port, files.ca);
  }
}

try {
  await measure();
} finally {
  for (const end of cleanUp.reverse()) {
    await end();
  }
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}
