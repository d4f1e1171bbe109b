/** A process that has nothing to do: how long it takes to listen, what it weighs, and whether it really sleeps. */
import { performance } from 'node:perf_hooks';
import { memoryAlone } from '../lib/alone.mjs';
import { voluntarySwitches } from '../lib/cpu.mjs';
import { pause } from '../lib/proxy.mjs';

export const REST_FIGURES = {
  startMillis: 'ms until it listens',
  restMb: 'MB PSS at rest',
  wakeUpsPerSecond: 'wake-ups/s',
};

/** @typedef {import('../lib/cast.mjs').Cast} Cast */
/** @typedef {import('../lib/cast.mjs').Entrant} Entrant */
/** @typedef {import('../lib/rounds.mjs').Book} Book */
/** @typedef {import('../lib/rounds.mjs').Size} Size */

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
    results.add(cell, round, await restOf(cast, entrant, round === 1 ? size : null));
  } catch (error) {
    failures.push(`rest, ${entrant.label}: ${error instanceof Error ? error.message : error}`);
  }
}

/** @param {Cast} cast @param {Entrant} entrant @param {Size | null} size null = only the start */
async function restOf(cast, entrant, size) {
  const start = performance.now();
  const { pid, stop } = await cast.start(entrant);
  const startMillis = performance.now() - start;
  try {
    if (pid === null || size === null) {
      return { startMillis };
    }
    // About ten seconds after the start V8 collects garbage once more, then it sleeps.
    await pause(size.restSettleSeconds * 1000);
    const before = voluntarySwitches(pid);
    await pause(size.restSeconds * 1000);
    const wakeUpsPerSecond = (voluntarySwitches(pid) - before) / size.restSeconds;
    const restMb = (memoryAlone(pid).total * 1024) / 1e6;
    return { startMillis, wakeUpsPerSecond, restMb };
  } finally {
    await stop();
  }
}
