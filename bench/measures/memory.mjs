/**
 * Memory of idle sessions, pgtls's and everybody's: pgtls-load holds them, with its fake backend behind the proxy. A session's share is
 * (PSS − PSS at rest) / sessions, rest being what is there after the first 300 sessions. bench/memory.mjs looks closer at pgtls.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryAlone } from '../lib/alone.mjs';
import { Load } from '../lib/load.mjs';
import { settledReading } from '../lib/proxy.mjs';

const WARM_UP = 300;

/** @typedef {import('../lib/cast.mjs').Cast} Cast */
/** @typedef {import('../lib/cast.mjs').Entrant} Entrant */
/** @typedef {import('../lib/rounds.mjs').Book} Book */

export const MEMORY_FIGURES = {
  kibPerSession: 'KiB/session',
  restMib: 'MiB at rest',
  leftShare: 'after close / rest',
};

/** @param {Cast} cast @param {readonly Entrant[]} entrants @param {Book} book */
export async function measureMemory(cast, entrants, book) {
  const { results, progress, failures } = book;
  const chosen = entrants.filter(({ leg }) => leg === 'plain');
  progress.expect(chosen.length);
  for (const entrant of chosen) {
    const cell = { measure: 'memory', contestant: entrant.label, pinned: false };
    progress.step(`memory: ${entrant.label}`);
    const lack = entrant.contestant.lacks?.('memory', '') ?? null;
    if (lack !== null) {
      results.lacks({ ...cell, variant: 'idle' }, lack);
      continue;
    }
    try {
      await holdSessions(cast, entrant, book);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      results.lacks({ ...cell, variant: 'idle' }, reason);
      // That a peer can't hold so many sessions is a result.
      if (entrant.contestant.kind === 'pgtls') {
        failures.push(`memory, ${entrant.label}: ${reason}`);
      }
    }
  }
}

/** @param {Cast} cast @param {Entrant} entrant @param {Book} book */
async function holdSessions(cast, entrant, { results, size }) {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-bench-memory-'));
  const { load, stage } = await Load.start(directory);
  /** @type {import('../lib/contestants.mjs').Running | null} */
  let running = null;
  try {
    const { certFile, keyFile, backend } = stage;
    const port = Number(backend.split(':').at(-1));
    running = await cast.start(entrant, { certificate: { certFile, keyFile }, port });
    const pid = running.pid ?? 0;
    const settled = async () =>
      (await settledReading(() => memoryAlone(pid), size.settleSeconds)).total;
    await load.do('proxy', { address: `127.0.0.1:${running.port}` });
    await load.do('open', { count: WARM_UP, kind: 'idle' });
    await load.do('close');
    const rest = await settled();
    const cell = (/** @type {number} */ count) => ({
      measure: 'memory',
      variant: `${count} idle`,
      contestant: entrant.label,
      pinned: false,
    });
    let open = 0;
    for (const count of size.idleCounts) {
      await load.do('open', { count: count - open, kind: 'idle' });
      open = count;
      const kibPerSession = ((await settled()) - rest) / count;
      results.add(cell(count), 1, { kibPerSession, restMib: rest / 1024 });
    }
    await load.do('close');
    results.add(cell(open), 1, { leftShare: (await settled()) / rest });
  } finally {
    await running?.stop();
    await load.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
