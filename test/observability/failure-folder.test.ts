/** Identical failures fold into a count. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FailureFolder } from '../../src/observability/failure-folder.ts';

describe('a failure folder', () => {
  let written: [string, number][];
  let folder: FailureFolder<string>;

  beforeEach(() => {
    vi.useFakeTimers();
    written = [];
    folder = new FailureFolder((failure, repeated) => written.push([failure, repeated]), 10_000);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('writes the first at once, and the number of those that followed when the window ends', () => {
    folder.add('a', 'all', 'first');
    folder.add('a', 'all', 'second');
    folder.add('a', 'all', 'third');
    expect(written).toEqual([['first', 0]]);
    vi.advanceTimersByTime(12_000);
    expect(written).toEqual([
      ['first', 0],
      ['third', 2],
    ]);
  });

  it('keeps different failures apart', () => {
    folder.add('a', 'all', 'a');
    folder.add('b', 'all', 'b');
    expect(written).toEqual([
      ['a', 0],
      ['b', 0],
    ]);
  });

  it('writes again at once when the window has passed without another', () => {
    folder.add('a', 'all', 'first');
    vi.advanceTimersByTime(12_000);
    folder.add('a', 'all', 'second');
    expect(written).toEqual([
      ['first', 0],
      ['second', 0],
    ]);
  });

  it('costs one line a window while a flood lasts', () => {
    for (let i = 0; i < 600; i += 1) {
      folder.add('a', 'all', 'again');
      vi.advanceTimersByTime(100);
    }
    folder.flush();
    expect(written.length).toBeLessThanOrEqual(8);
    expect(written.reduce((sum, [, repeated]) => sum + repeated, 1)).toBe(600);
  });

  it('folds by the coarse key when too many failures are told apart', () => {
    for (let i = 0; i < 5_000; i += 1) {
      folder.add(`host ${i}`, 'all', 'same');
    }
    expect(written).toHaveLength(1_001);
  });

  it('writes what it holds when flushed, and runs no timer afterwards', () => {
    folder.add('a', 'all', 'first');
    folder.add('a', 'all', 'second');
    folder.flush();
    expect(written).toEqual([
      ['first', 0],
      ['second', 1],
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
