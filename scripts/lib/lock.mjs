/** One set-up at a time per working copy: a lock file that names its process; a dead process's lock is taken over. */
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CACHE } from './paths.mjs';

const LOCK = join(CACHE, 'setup.lock');
const POLL_MILLIS = 200;

/**
 * Runs `work` while holding the lock, waiting for another holder first.
 * @template T @param {() => T} work @returns {T}
 */
export function withLock(work) {
  mkdirSync(CACHE, { recursive: true });
  acquire();
  const release = () => rmSync(LOCK, { force: true });
  process.once('exit', release);
  try {
    return work();
  } finally {
    release();
    process.off('exit', release);
  }
}

function acquire() {
  for (let waited = false; !tryAcquire(); waited = true) {
    const holder = holderOf(LOCK);
    if (holder !== null && !isAlive(holder)) {
      takeFrom(holder);
      continue;
    }
    if (!waited) {
      console.log(`waiting for another set-up (process ${holder ?? 'unknown'}) to end …`);
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, POLL_MILLIS);
  }
}

/** Created complete under another name, then linked: nobody ever reads an empty lock. */
function tryAcquire() {
  const own = `${LOCK}.${process.pid}`;
  writeFileSync(own, String(process.pid));
  try {
    linkSync(own, LOCK);
    return true;
  } catch {
    return false;
  } finally {
    unlinkSync(own);
  }
}

/** Moves the dead holder's lock away; if another process was quicker, its live lock is put back. @param {number} holder */
function takeFrom(holder) {
  const aside = `${LOCK}.dead.${process.pid}`;
  try {
    renameSync(LOCK, aside);
  } catch {
    return;
  }
  if (holderOf(aside) === holder) {
    unlinkSync(aside);
  } else {
    renameSync(aside, LOCK);
  }
}

/** @param {string} file @returns {number | null} */
function holderOf(file) {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}
