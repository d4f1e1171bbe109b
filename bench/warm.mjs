/**
 * What warm_connections make of a login: PostgreSQL with TLS alone, behind pgtls, and behind pgtls with warm connections, in turn.
 * Method: bench/README.md.
 *
 * `node bench/warm.mjs [--logins 300] [--warm 8] [--pause 0] [--distance 0]`: milliseconds between two logins, and on the way to
 * PostgreSQL and back each, for clients and pgtls alike
 */
import { readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { createTemporaryDirectory, findServerIdentity } from '../dist/cli/demo/server-identity.js';
import { PgtlsProcess, pause } from './lib/proxy.mjs';
import { routeTo, startCluster, writeCertificates } from './lib/tls-postgres.mjs';

/** A tick of the CPU times in /proc. */
const TICK_MILLIS = 10;

const { values: options } = parseArgs({
  options: {
    logins: { type: 'string', default: '300' },
    warm: { type: 'string', default: '8' },
    pause: { type: 'string', default: '0' },
    distance: { type: 'string', default: '0' },
  },
});
const logins = Number(options.logins);

/** User and system time of a process, its ended children included when asked for. @param {number} pid @param {boolean} children */
function cpuMillis(pid, children) {
  const [, behind = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
  const fields = behind.split(' ').map(Number);
  const [own = 0, system = 0, childrens = 0, childrensSystem = 0] = fields.slice(11, 15);
  return (own + system + (children ? childrens + childrensSystem : 0)) * TICK_MILLIS;
}

/** @param {number[]} sorted @param {number} part */
const quantile = (sorted, part) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN;

/** Milliseconds from the first packet to ReadyForQuery. @param {number} port @param {string} ca */
async function login(port, ca) {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    ssl: { ca, servername: 'localhost' },
  });
  const began = performance.now();
  await client.connect();
  const took = performance.now() - began;
  await client.end();
  return took;
}

const identity = findServerIdentity();
const directory = createTemporaryDirectory('pgtls-warm-', identity);
/** @type {Array<() => Promise<unknown>>} */
const cleanUp = [];
async function measure() {
  const files = await writeCertificates(directory, identity);
  const cluster = await startCluster(directory, identity, files);
  cleanUp.push(() => cluster.stop());
  const postmaster = Number(
    readFileSync(join(cluster.dataDirectory, 'postmaster.pid'), 'utf8').split('\n', 1)[0],
  );
  const distance = Number(options.distance);
  const postgresPort = distance === 0 ? cluster.port : await distant(cluster.port, distance);
  const targets = [{ name: 'PostgreSQL alone', port: postgresPort, pid: 0 }];
  for (const warm of [0, Number(options.warm)]) {
    const lines = [`warm_connections = ${warm}`];
    const proxy = await PgtlsProcess.start(directory, routeTo(files, postgresPort, lines));
    cleanUp.push(() => proxy.stop());
    const port = Number(proxy.address().split(':').at(-1));
    targets.push({ name: warm === 0 ? 'pgtls' : `pgtls, ${warm} warm`, port, pid: proxy.pid });
  }
  const series = targets.map((target) => new Series(target, postmaster, files.ca));
  await Promise.all(series.map((one) => one.warmUp()));
  // In turns of ten, so that whatever else the machine does hits all alike.
  for (let round = 0; round < logins / 10; round += 1) {
    for (const one of series) {
      await one.play(10);
    }
  }
  for (const one of series) {
    console.log(one.summary);
  }
}

/** A port that leads to `port`, and holds everything up for so long on the way, there and back. @param {number} port @param {number} millis */
async function distant(port, millis) {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      from?.on('data', (bytes) => setTimeout(() => to?.write(bytes), millis));
      from?.on('end', () => setTimeout(() => to?.end(), millis));
      from?.on('error', () => to?.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(null)));
  cleanUp.push(async () => server.close());
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : Number.NaN;
}

/** The logins at one address, and what they cost. */
class Series {
  /** @type {number[]} */
  #times = [];
  #postgresMillis = 0;
  #pgtlsMillis = 0;
  #target;
  #postmaster;
  #ca;

  /** @param {{ name: string, port: number, pid: number }} target @param {number} postmaster @param {string} ca */
  constructor(target, postmaster, ca) {
    this.#target = target;
    this.#postmaster = postmaster;
    this.#ca = ca;
  }

  async warmUp() {
    for (let count = 0; count < 20; count += 1) {
      await login(this.#target.port, this.#ca);
    }
  }

  /** @param {number} count */
  async play(count) {
    const { port, pid } = this.#target;
    const postgresBefore = cpuMillis(this.#postmaster, true);
    const pgtlsBefore = pid === 0 ? 0 : cpuMillis(pid, false);
    for (let left = count; left > 0; left -= 1) {
      this.#times.push(await login(port, this.#ca));
      await pause(Number(options.pause));
    }
    await pause(50);
    this.#postgresMillis += cpuMillis(this.#postmaster, true) - postgresBefore;
    this.#pgtlsMillis += pid === 0 ? 0 : cpuMillis(pid, false) - pgtlsBefore;
  }

  get summary() {
    const sorted = this.#times.toSorted((a, b) => a - b);
    const each = (/** @type {number} */ millis) => (millis / sorted.length).toFixed(2);
    const latency = `median ${quantile(sorted, 0.5).toFixed(2)} ms, p95 ${quantile(sorted, 0.95).toFixed(2)} ms`;
    const cpu = `CPU a login: PostgreSQL ${each(this.#postgresMillis)} ms, pgtls ${each(this.#pgtlsMillis)} ms`;
    return `${this.#target.name.padEnd(18)} ${latency}; ${cpu}`;
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
