/** What a process has used so far, from /proc: CPU time of all its threads, and how often they went to sleep. */
import { readdirSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/** USER_HZ: what /proc/<pid>/stat counts in, the same on every Linux. */
const TICK_MILLIS = 10;

/**
 * CPU time at one moment. `millis` is the whole process, threads that have ended included, to 10 ms; `threads` are the living
 * ones to the nanosecond. `at` is milliseconds since 1970.
 * @typedef {{ at: number, millis: number, threads: ReadonlyMap<string, number> }} CpuReading
 */

/** Reads it now. @param {number} pid @returns {CpuReading} */
export function readCpu(pid) {
  return {
    at: performance.timeOrigin + performance.now(),
    millis: processMillis(readFileSync(`/proc/${pid}/stat`, 'utf8')),
    threads: threadTimes(pid),
  };
}

/**
 * CPU milliseconds between two readings: the threads' own clocks, unless threads were born and ended in between, which
 * only the coarse clock of the process has counted (stunnel has a thread per session).
 * @param {CpuReading} before @param {CpuReading} after
 */
export function cpuMillisBetween(before, after) {
  const coarse = after.millis - before.millis;
  const survived = [...before.threads.keys()].every((thread) => after.threads.has(thread));
  if (!survived || after.threads.size === 0) {
    return coarse;
  }
  let fine = 0;
  for (const [thread, nanos] of after.threads) {
    fine += (nanos - (before.threads.get(thread) ?? 0)) / 1e6;
  }
  return coarse - fine > 2 * TICK_MILLIS ? coarse : fine;
}

/** CPU milliseconds of a process's first thread, which is Node's JavaScript thread; null where the kernel doesn't tell. @param {number} pid @param {CpuReading} before @param {CpuReading} after */
export function mainThreadMillisBetween(pid, before, after) {
  const [start, end] = [before, after].map(({ threads }) => threads.get(String(pid)));
  return start === undefined || end === undefined ? null : (end - start) / 1e6;
}

/** utime + stime of a line of /proc/<pid>/stat; the command in parentheses may contain anything. @param {string} stat */
export function processMillis(stat) {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MILLIS;
}

/** Nanoseconds on a CPU, by thread; empty where the kernel keeps no schedstat. @param {number} pid */
function threadTimes(pid) {
  /** @type {Map<string, number>} */
  const times = new Map();
  for (const thread of threadsOf(pid)) {
    const [nanos = ''] = readTask(pid, thread, 'schedstat').split(' ', 1);
    if (nanos !== '') {
      times.set(thread, Number(nanos));
    }
  }
  return times;
}

/** How often the threads of a process gave up their CPU by themselves, that is: went to sleep. @param {number} pid */
export function voluntarySwitches(pid) {
  return threadsOf(pid)
    .map((thread) => /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readTask(pid, thread, 'status')))
    .reduce((sum, match) => sum + Number(match?.[1] ?? 0), 0);
}

/** @param {number} pid */
function threadsOf(pid) {
  return readdirSync(`/proc/${pid}/task`);
}

/** Empty when the thread has ended meanwhile. @param {number} pid @param {string} thread @param {string} file */
function readTask(pid, thread, file) {
  try {
    return readFileSync(`/proc/${pid}/task/${thread}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
