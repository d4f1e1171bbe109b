/**
 * What a connection costs the JavaScript thread until it is handed over, above what Node takes for one that is accepted, read from,
 * written to and closed. A part of the measure `in-process`, though in processes of its own: V8 has to have nothing else to do.
 *
 * CPU time is that of the JavaScript thread alone. Bare Node writes the `S` there; of pgtls's it is the worker that does
 * (docs/adr/0002-hand-off.md), so that write is in the one figure and not in the other.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PROGRAM } from '../../scripts/lib/paths.mjs';
import { runClient } from '../lib/client.mjs';
import { Place } from '../lib/pinning.mjs';
import { configText, nodeOptions } from '../lib/proxy.mjs';
import { directoryFor } from '../lib/stage.mjs';
import { rotated } from '../lib/statistics.mjs';

const SERVER = fileURLToPath(new URL('../against/hand-off.mjs', import.meta.url));
/** Until V8 has compiled what it is going to. */
const WARM_UP = 4_000;
const CONNECTIONS = 1_000;
/** As in the measure of new connections. */
const AT_ONCE = 4;
/** One takes a fraction of a second, and the CPU's mood changes between two: many short ones, for each round of the other measures. */
const TURNS = 4;
const UNPINNED = new Place(null);

/** @typedef {import('../lib/rounds.mjs').Book} Book */
/** @typedef {import('../lib/stage.mjs').Stage} Stage */
/** @typedef {{ pid: number, port: number, stop: () => Promise<void> }} Server */
/**
 * `isHeld`: the client keeps its connections until the CPU time was read, so that their ends don't count.
 * @typedef {{ contestant: string, variants: ReadonlyArray<{ name: string, isHeld: boolean }>, start: () => Promise<Server> }} Side
 */

/** The program's hand-off, and all that a connection costs the thread, its end with report and log line included. */
const HAND_OFF = { name: 'hand-off', isHeld: true };
const WHOLE = { name: 'hand-off, with log, end and report', isHeld: false };

/** @param {Stage} stage @param {Book} book */
export async function measureHandOff(stage, { results, size }) {
  const directory = directoryFor(stage.directory, 'hand-off', stage.identity);
  /** @type {Side[]} */
  const sides = [
    { contestant: 'bare Node', variants: [HAND_OFF, WHOLE], start: () => start('bare') },
    {
      contestant: 'pgtls',
      variants: [HAND_OFF],
      start: () => start(configFile(stage, directory, 'error')),
    },
    {
      contestant: 'pgtls',
      variants: [WHOLE],
      start: () => start(configFile(stage, directory, 'info')),
    },
  ];
  /** @type {Array<Side & { server: Server }>} */
  const running = [];
  try {
    for (const side of sides) {
      const server = await side.start();
      running.push({ ...side, server });
      await microsOfThread(server, WARM_UP, false);
    }
    for (let round = 1; round <= TURNS * size.rounds; round += 1) {
      const micros = await playRound(running, round);
      for (const [name, { bare, pgtls }] of micros) {
        const cell = { measure: 'in-process', variant: name, pinned: false };
        results.add({ ...cell, contestant: 'bare Node' }, round, { threadMicros: bare });
        const figures = { microsAboveBare: pgtls - bare, threadMicros: pgtls };
        results.add({ ...cell, contestant: 'pgtls' }, round, figures);
      }
    }
  } finally {
    await Promise.all(running.map(({ server }) => server.stop()));
  }
}

/** Everybody once, each time another one first. @param {ReadonlyArray<Side & { server: Server }>} running @param {number} round */
async function playRound(running, round) {
  /** @type {Map<string, { bare: number, pgtls: number }>} */
  const micros = new Map();
  for (const { contestant, variants, server } of rotated(running, round - 1)) {
    for (const { name, isHeld } of variants) {
      const found = await microsOfThread(server, CONNECTIONS, isHeld);
      const both = micros.get(name) ?? { bare: 0, pgtls: 0 };
      micros.set(name, { ...both, [contestant === 'pgtls' ? 'pgtls' : 'bare']: found });
    }
  }
  return micros;
}

/** CPU time of the JavaScript thread per connection. @param {Server} server @param {number} count @param {boolean} isHeld */
async function microsOfThread({ pid, port }, count, isHeld) {
  const running = { pid, port, clientTls: false, stop: async () => undefined };
  const work = { do: 'ssl-requests', count, atOnce: AT_ONCE, isHeld };
  const { mainThreadMillis } = await runClient(running, UNPINNED, work);
  if (mainThreadMillis === null) {
    throw new Error('this kernel keeps no CPU time of threads (/proc/<pid>/task/*/schedstat)');
  }
  return (1000 * mainThreadMillis) / count;
}

/** pgtls whose clients never say anything behind the `S`. @param {Stage} stage @param {string} directory @param {string} level */
function configFile({ certificates, port }, directory, level) {
  const file = join(directory, `${level}.toml`);
  const routes = [{ name: 'bench', backend: `127.0.0.1:${port}` }];
  const top = { log_level: level, max_client_conn: 100_000, workers: 1 };
  writeFileSync(file, configText(certificates.ecdsa, routes, top));
  return file;
}

/** With Node's options of the real program, bare Node too. @param {string} what @returns {Promise<Server>} */
async function start(what) {
  const child = spawn(process.execPath, [...nodeOptions(PROGRAM), SERVER, what], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  const lines = createInterface({ input: child.stdout });
  /** @type {Promise<number>} */
  const listens = new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      const { port } = JSON.parse(line);
      if (port !== undefined) {
        resolve(port);
      }
    });
    child.once('close', () => reject(new Error(`bench/against/hand-off.mjs ${what} has ended`)));
  });
  return { pid: child.pid ?? -1, port: await listens, stop };
}
