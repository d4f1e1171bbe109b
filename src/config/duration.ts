/** Durations as they are written in the file: `"250ms"`, `"45s"`, `"5m"`, `"30min"`, `"24h"`, or whole seconds. Imports nothing. */

/** The longest duration, in milliseconds: what a timer of Node.js and PostgreSQL's own settings can hold. */
export const MAX_DURATION_MILLIS = 2_147_483_647;

/** What an error says was expected. */
export const DURATION_EXPECTATION =
  'a duration such as "250ms", "45s", "5m", "24h", or whole seconds';

const UNIT_MILLIS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['min', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Returns milliseconds, or null when `value` is no duration or is longer than {@link MAX_DURATION_MILLIS}. */
export function parseDuration(value: unknown): number | null {
  if (typeof value === 'number') {
    return Number.isInteger(value) ? bounded(value * 1000) : null;
  }
  const match = typeof value === 'string' ? /^(\d+) ?([a-z]*)$/.exec(value) : null;
  if (match === null) {
    return null;
  }
  const unit = UNIT_MILLIS.get(match[2] || 's');
  return unit === undefined ? null : bounded(Number(match[1]) * unit);
}

/** The shortest exact spelling, for messages. */
export function formatDuration(millis: number): string {
  for (const unit of ['d', 'h', 'min', 's']) {
    const size = UNIT_MILLIS.get(unit) ?? 1;
    if (millis >= size && millis % size === 0) {
      return `${millis / size}${unit}`;
    }
  }
  return millis === 0 ? '0s' : `${millis}ms`;
}

function bounded(millis: number): number | null {
  return Number.isInteger(millis) && millis >= 0 && millis <= MAX_DURATION_MILLIS ? millis : null;
}
