/** What a log of transactions and readings of the proxy's CPU time say together. Pure. */
import { cpuMillisBetween } from './cpu.mjs';
import { percentile } from './statistics.mjs';

/** Left away at both ends: not all sessions run yet, or any more. */
const MARGIN_MILLIS = 150;

/** @typedef {import('./cpu.mjs').CpuReading} CpuReading */
/** @typedef {{ at: number, micros: number }} Transaction when it ended (milliseconds since 1970), and how long it took */

/**
 * What happened between the first and the last reading that lie well within the run, or within it at all.
 * @param {readonly Transaction[]} transactions @param {readonly CpuReading[]} readings @returns {Record<string, number>}
 */
export function figuresOf(transactions, readings) {
  const ends = transactions.map(({ at }) => at);
  const [first, last] = [minimum(ends) + MARGIN_MILLIS, maximum(ends) - MARGIN_MILLIS];
  const inner = readings.filter(({ at }) => at >= first && at <= last);
  // A run so short, or a machine so busy, that the margins leave nothing: then all of it.
  const within =
    inner.length > 1
      ? inner
      : readings.filter(({ at }) => at >= minimum(ends) && at <= maximum(ends));
  const [before, after] = [within[0], within.at(-1)];
  const [from, to] = [before?.at ?? first, after?.at ?? last];
  const counted = transactions.filter(({ at }) => at >= from && at < to);
  if (counted.length === 0) {
    throw new Error('the run was too short: no transaction between two readings');
  }
  const latencies = counted.map(({ micros }) => micros);
  const cpu =
    before === undefined || after === undefined
      ? {}
      : { cpuMicros: (cpuMillisBetween(before, after) * 1000) / counted.length };
  return {
    ...cpu,
    tps: counted.length / ((to - from) / 1000),
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    p999: percentile(latencies, 0.999),
  };
}

/** The lines of a log of pgbench -l: client, number, micros, script, seconds, micros. @param {string} log @returns {Transaction[]} */
export function parseLog(log) {
  return log
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, , micros, , seconds, rest] = line.split(' ').map(Number);
      return { at: (seconds ?? 0) * 1000 + (rest ?? 0) / 1000, micros: micros ?? 0 };
    });
}

/** @param {readonly number[]} values */
function minimum(values) {
  return values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
}

/** @param {readonly number[]} values */
function maximum(values) {
  return values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
}
