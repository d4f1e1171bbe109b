/**
 * How pgtls's cost grows: with its workers and with the sessions that work, wherever the kernel puts them; and with sessions that are
 * open beside 16 that work, on one core.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cast } from '../lib/cast.mjs';
import { Load } from '../lib/load.mjs';
import { Place } from '../lib/pinning.mjs';
import { configText, PgtlsProcess } from '../lib/proxy.mjs';
import { directoryFor } from '../lib/stage.mjs';
import { measureTransactions } from '../lib/transactions.mjs';

const BUSY_SESSIONS = 16;
const WORKERS_SESSIONS = 64;

/** @typedef {import('../lib/cast.mjs').Entrant} Entrant */
/** @typedef {import('../lib/rounds.mjs').Book} Book */

export const SCALING_FIGURES = {
  cpuMicros: 'CPU µs/transaction',
  tps: 'transactions/s',
  p99: 'p99 µs',
};

/** @param {import('../lib/stage.mjs').Stage} stage @param {Place} pinned @param {Entrant} entrant @param {Book} book */
export async function measureScaling(stage, pinned, entrant, book) {
  const { size, progress, failures } = book;
  progress.expect(
    size.rounds * (size.workers.length + size.activeCounts.length + size.idleCounts.length + 1),
  );
  const directory = directoryFor(stage.directory, 'scaling', stage.identity);
  const parts = [
    () => byWorkers(stage, directory, entrant, book),
    () => byActiveSessions(stage, directory, entrant, book),
    () => byIdleSessions(stage, pinned, directory, book),
  ];
  for (const part of parts) {
    try {
      await part();
    } catch (error) {
      failures.push(`scaling: ${error instanceof Error ? error.message : error}`);
    }
  }
}

/** @param {string} variant @param {boolean} pinned */
function cell(variant, pinned) {
  return { measure: 'scaling', variant, contestant: 'pgtls', pinned };
}

/** @param {import('../lib/stage.mjs').Stage} stage @param {string} directory @param {Entrant} entrant @param {Book} book */
async function byWorkers(stage, directory, entrant, { results, size, progress }) {
  const place = new Place(null);
  place.move(stage.pids());
  const cast = new Cast(stage, place);
  try {
    for (let round = 1; round <= size.rounds; round += 1) {
      for (const workers of size.workers) {
        progress.step(`scaling, round ${round}: ${workers} workers`);
        const running = await cast.get(entrant, { workers });
        const load = {
          running,
          place,
          directory,
          sessions: WORKERS_SESSIONS,
          seconds: size.seconds,
        };
        results.add(cell(`${workers} workers`, false), round, await measureTransactions(load));
      }
    }
  } finally {
    await cast.stop();
  }
}

/** @param {import('../lib/stage.mjs').Stage} stage @param {string} directory @param {Entrant} entrant @param {Book} book */
async function byActiveSessions(stage, directory, entrant, { results, size, progress }) {
  const place = new Place(null);
  const cast = new Cast(stage, place);
  try {
    for (let round = 1; round <= size.rounds; round += 1) {
      for (const sessions of size.activeCounts) {
        progress.step(`scaling, round ${round}: ${sessions} sessions at work`);
        const running = await cast.get(entrant);
        const load = { running, place, directory, sessions, seconds: size.seconds };
        results.add(cell(`${sessions} at work`, false), round, await measureTransactions(load));
      }
    }
  } finally {
    await cast.stop();
  }
}

/** One pgtls with two routes: PostgreSQL's, and the fake backend's of pgtls-load. @param {import('../lib/stage.mjs').Stage} stage @param {Place} place @param {string} directory @param {Book} book */
async function byIdleSessions(stage, place, directory, { results, size, progress }) {
  place.move(stage.pids());
  const own = mkdtempSync(join(tmpdir(), 'pgtls-bench-scaling-'));
  const { load, stage: fake } = await Load.start(own);
  /** @type {PgtlsProcess | null} */
  let proxy = null;
  try {
    const routes = [
      { name: 'postgres', backend: `127.0.0.1:${stage.port}` },
      { name: 'idle', backend: fake.backend },
    ];
    const config = configText(fake, routes, { shutdown_timeout: '1s' });
    proxy = await PgtlsProcess.start(own, config, { place });
    await load.do('proxy', { address: proxy.address('idle') });
    const port = Number(proxy.address('postgres').split(':').at(-1));
    const running = { pid: proxy.pid, port, clientTls: true, stop: async () => undefined };
    let open = 0;
    for (const count of [0, ...size.idleCounts]) {
      await load.do('open', { count: count - open, kind: 'idle' });
      open = count;
      for (let round = 1; round <= size.rounds; round += 1) {
        progress.step(`scaling, round ${round}: ${count} idle sessions beside`);
        const busy = { running, place, directory, sessions: BUSY_SESSIONS, seconds: size.seconds };
        results.add(
          cell(`${count} idle beside`, place.isPinned),
          round,
          await measureTransactions(busy),
        );
      }
    }
  } finally {
    await proxy?.kill();
    await load.stop();
    rmSync(own, { recursive: true, force: true });
  }
}
