/** Small queries: prepared point SELECTs, so that the relay of messages is most of the work. */
import { measureTransactions } from '../lib/transactions.mjs';

/** @type {import('../lib/rounds.mjs').Measure} */
export const SMALL_QUERIES = {
  name: 'small-queries',
  title: 'Small queries (prepared point SELECT)',
  figures: {
    cpuMicros: 'CPU µs/transaction',
    tps: 'transactions/s',
    p50: 'p50 µs',
    p99: 'p99 µs',
    p999: 'p99.9 µs',
  },
  variants: ({ sessions }) =>
    sessions.map((count) => ({
      name: sessionsName(count),
      sessions: count,
      isColour: count === 16,
    })),
  measure: ({ running, place, directory, variant, size }) =>
    measureTransactions({
      running,
      place,
      directory,
      sessions: variant.sessions ?? 1,
      seconds: size.seconds,
    }),
};

/** @param {number} count */
function sessionsName(count) {
  return count === 1 ? '1 session' : `${count} sessions`;
}
