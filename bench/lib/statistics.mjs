/** Medians, ranges and percentiles: pure functions of numbers. */

/** @typedef {{ median: number, low: number, high: number, count: number }} Summary of the rounds of one cell */

/** The middle value; of an even number, the mean of the middle two. NaN when there is none. @param {readonly number[]} values */
export function median(values) {
  const sorted = ascending(values);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The smallest value that at least `share` (0 to 1) of the values don't exceed. @param {readonly number[]} values @param {number} share */
export function percentile(values, share) {
  const sorted = ascending(values);
  const rank = Math.ceil(share * sorted.length);
  return sorted[Math.min(Math.max(rank, 1), sorted.length) - 1] ?? Number.NaN;
}

/** Median and range. @param {readonly number[]} values @returns {Summary} */
export function summarize(values) {
  const sorted = ascending(values);
  return {
    median: median(sorted),
    low: sorted[0] ?? Number.NaN,
    high: sorted.at(-1) ?? Number.NaN,
    count: sorted.length,
  };
}

/** How far the range reaches from the median, as a share of it: 0.04 is ±4 %. @param {Summary} summary */
export function spread({ median: middle, low, high }) {
  return middle === 0 ? 0 : Math.max(high - middle, middle - low) / middle;
}

/** Turns a list by `steps`, so that nobody is first in every round. @template T @param {readonly T[]} list @param {number} steps @returns {T[]} */
export function rotated(list, steps) {
  const start = list.length === 0 ? 0 : steps % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

/** @param {readonly number[]} values */
function ascending(values) {
  return [...values].sort((one, other) => one - other);
}
