/** Medians, ranges and what two readings of a process say. */
import { describe, expect, test } from 'vitest';
import { kibibytesAlone } from '../../bench/lib/alone.mjs';
import { cpuMillisBetween, processMillis } from '../../bench/lib/cpu.mjs';
import { Results } from '../../bench/lib/results.mjs';
import { median, percentile, rotated, spread, summarize } from '../../bench/lib/statistics.mjs';
import { figuresOf, parseLog } from '../../bench/lib/transaction-log.mjs';

describe('statistics', () => {
  test('the median of an odd number of values is the middle one, of an even number the mean of two', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 2, 100])).toBe(3);
    expect(median([])).toBeNaN();
  });

  test('a percentile is a value that was measured', () => {
    const values = Array.from({ length: 1000 }, (_, index) => index + 1);
    expect(percentile(values, 0.5)).toBe(500);
    expect(percentile(values, 0.999)).toBe(999);
    expect(percentile([7], 0.999)).toBe(7);
  });

  test('a summary has the range, and the spread is its reach from the median', () => {
    const summary = summarize([104, 100, 96]);
    expect(summary).toEqual({ median: 100, low: 96, high: 104, count: 3 });
    expect(spread(summary)).toBeCloseTo(0.04);
  });

  test('each round begins with another contestant', () => {
    expect(rotated(['a', 'b', 'c'], 0)).toEqual(['a', 'b', 'c']);
    expect(rotated(['a', 'b', 'c'], 4)).toEqual(['b', 'c', 'a']);
    expect(rotated([], 3)).toEqual([]);
  });
});

describe('CPU time', () => {
  const reading = (millis: number, threads: Record<string, number>, at = 0) => ({
    at,
    millis,
    threads: new Map(Object.entries(threads)),
  });

  test('is that of all threads, to the nanosecond', () => {
    const before = reading(10, { '1': 5e6, '2': 6e6 });
    const after = reading(20, { '1': 7.5e6, '2': 6e6, '3': 1e6 });
    expect(cpuMillisBetween(before, after)).toBeCloseTo(3.5);
  });

  test('is that of the process when a thread has ended', () => {
    const before = reading(10, { '1': 5e6, '2': 6e6 });
    expect(cpuMillisBetween(before, reading(60, { '1': 7e6 }))).toBe(50);
  });

  test('is that of the process when threads were born and ended in between', () => {
    const before = reading(10, { '1': 5e6 });
    expect(cpuMillisBetween(before, reading(110, { '1': 6e6 }))).toBe(100);
  });

  test('of a process is read behind a name that may contain anything', () => {
    const stat = '42 (a) b (c)) S 1 42 42 0 -1 4194304 100 0 0 0 12 3 0 0 20 0 1 0 100 1000';
    expect(processMillis(stat)).toBe(150);
  });
});

describe('a log of transactions', () => {
  test('is read as pgbench writes it', () => {
    expect(parseLog('0 1 250 0 1700000000 500000\n3 9 90 0 1700000001 20\n')).toEqual([
      { at: 1_700_000_000_500, micros: 250 },
      { at: 1_700_000_001_000.02, micros: 90 },
    ]);
  });

  test('counts what ended between the first and the last reading well within the run', () => {
    const transactions = Array.from({ length: 1001 }, (_, index) => ({ at: index, micros: 100 }));
    const readings = [0, 200, 400, 800, 1000].map((at) => ({
      at,
      millis: 0,
      threads: new Map([['1', at * 0.5 * 1e6]]),
    }));
    const figures = figuresOf(transactions, readings);
    // From 200 to 800 ms: 600 transactions, 300 ms of CPU time.
    expect(figures['cpuMicros']).toBeCloseTo(500);
    expect(figures['tps']).toBeCloseTo(1000);
    expect(figures['p50']).toBe(100);
  });

  test('without readings, as without a proxy, has rates and latencies only', () => {
    const transactions = Array.from({ length: 1001 }, (_, index) => ({ at: index, micros: index }));
    const figures = figuresOf(transactions, []);
    expect(Object.keys(figures)).toEqual(['tps', 'p50', 'p99', 'p999']);
  });

  test('that is too short is refused rather than guessed from', () => {
    expect(() => figuresOf([{ at: 1, micros: 1 }], [])).toThrow('too short');
  });
});

describe('results', () => {
  const cell = { measure: 'bulk', variant: 'out', contestant: 'pgtls', pinned: true };

  test('have the median of a figure over the rounds, and null for what was not measured', () => {
    const results = new Results();
    for (const [round, value] of [3, 1, 2].entries()) {
      results.add(cell, round, { cpu: value });
    }
    expect(results.median(cell, 'cpu')).toBe(2);
    expect(results.median({ ...cell, pinned: false }, 'cpu')).toBeNull();
    expect(results.median(cell, 'other')).toBeNull();
  });

  test('say once why something is not there', () => {
    const results = new Results();
    results.lacks(cell, 'not installed');
    results.lacks(cell, 'not installed');
    expect(results.absences).toHaveLength(1);
    expect(results.hasGivenUp(cell)).toBe(true);
    expect(results.hasGivenUp({ ...cell, variant: 'in' })).toBe(false);
  });

  test('of a cell whose rounds have different figures keep them all', () => {
    const results = new Results();
    results.add(cell, 1, { one: 1 });
    results.add(cell, 2, { two: 2 });
    expect(Object.keys(results.cells()[0]?.figures ?? {})).toEqual(['one', 'two']);
  });
});

test('memory alone is the resident size of what the run itself shares, and the PSS of all else', () => {
  const smaps = `7f00-7f10 r-xp 00000000 08:01 42                         /opt/node/bin/node
Size:              90000 kB
Rss:               40000 kB
Pss:               10000 kB
7f10-7f20 r-xp 00000000 08:01 43                         /lib/libc.so.6
Rss:                2000 kB
Pss:                 100 kB
7f20-7f30 rw-p 00000000 00:00 0
Rss:                 300 kB
Pss:                 300 kB
Pss_Dirty:           300 kB
`;
  expect(kibibytesAlone(smaps, ['/opt/node/bin/node'])).toBe(40_400);
  expect(kibibytesAlone(smaps, [])).toBe(10_400);
});
