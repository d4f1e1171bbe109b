/** A process that has nothing to do: how long it takes to listen, what it weighs, and whether it really sleeps. */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { voluntarySwitches } from '../lib/cpu.mjs';
import { memoryOf, pause } from '../lib/proxy.mjs';

export const REST_FIGURES = {
  startMillis: 'ms until it listens',
  restMb: 'MB PSS at rest',
  restRssMb: 'MB RSS at rest',
  wakeUpsPerSecond: 'wake-ups/s',
};

/** V8 and libraries settle; PSS and wake-ups count from then on. */
const SETTLE_MILLIS = 2000;

/** @typedef {import('../lib/cast.mjs').Cast} Cast */
/** @typedef {import('../lib/cast.mjs').Entrant} Entrant */
/** @typedef {import('../lib/rounds.mjs').Book} Book */

/** @param {Cast} cast @param {readonly Entrant[]} entrants @param {Book} book */
export async function measureRest(cast, entrants, book) {
  const { size, progress } = book;
  const chosen = entrants.filter(({ leg }) => leg === 'plain');
  progress.expect(chosen.length * size.rounds);
  for (let round = 1; round <= size.rounds; round += 1) {
    for (const entrant of chosen) {
      progress.step(`at rest, round ${round}: ${entrant.label}`);
      await measureOne(cast, entrant, round, book);
    }
  }
}

/** @param {Cast} cast @param {Entrant} entrant @param {number} round @param {Book} book */
async function measureOne(cast, entrant, round, { results, size, failures }) {
  const cell = { measure: 'rest', variant: 'idle', contestant: entrant.label, pinned: false };
  const lack = entrant.contestant.lacks?.('rest', '') ?? null;
  if (lack !== null) {
    results.lacks(cell, lack);
    return;
  }
  try {
    results.add(cell, round, await restOf(cast, entrant, round === 1 ? size.restSeconds : 0));
  } catch (error) {
    failures.push(`rest, ${entrant.label}: ${error instanceof Error ? error.message : error}`);
  }
}

/** @param {Cast} cast @param {Entrant} entrant @param {number} seconds 0 = only the start */
async function restOf(cast, entrant, seconds) {
  const start = performance.now();
  const { pid, stop } = await cast.start(entrant);
  const startMillis = performance.now() - start;
  try {
    if (pid === null || seconds === 0) {
      return { startMillis };
    }
    await pause(SETTLE_MILLIS);
    const before = voluntarySwitches(pid);
    await pause(seconds * 1000);
    const wakeUpsPerSecond = (voluntarySwitches(pid) - before) / seconds;
    const restMb = (memoryOf(pid).total * 1024) / 1e6;
    return { startMillis, wakeUpsPerSecond, restMb, restRssMb: residentBytes(pid) / 1e6 };
  } finally {
    await stop();
  }
}

/** All of its pages, those included that it shares: other Node processes of the run make PSS look smaller. @param {number} pid */
function residentBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
