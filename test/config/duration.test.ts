import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, MAX_DURATION_MILLIS, parseDuration } from '../../src/config/duration.ts';

describe('parseDuration', () => {
  it.each([
    ['250ms', 250],
    ['45s', 45_000],
    ['5m', 300_000],
    ['30min', 1_800_000],
    ['24h', 86_400_000],
    ['1d', 86_400_000],
    ['5 s', 5000],
    ['45', 45_000],
    [45, 45_000],
    [0, 0],
    ['0s', 0],
  ])('reads %j as %i milliseconds', (written, millis) => {
    expect(parseDuration(written)).toBe(millis);
  });

  it.each([
    '',
    's',
    '-1s',
    '1.5s',
    '1h30m',
    '5 minutes',
    '5S',
    '25d',
    '1constructor',
    -1,
    1.5,
    Number.POSITIVE_INFINITY,
    true,
    null,
    [],
  ])('refuses %j', (written) => {
    expect(parseDuration(written)).toBeNull();
  });

  it('reads back every duration that formatDuration writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_DURATION_MILLIS }), (millis) => {
        expect(parseDuration(formatDuration(millis))).toBe(millis);
      }),
    );
  });
});
