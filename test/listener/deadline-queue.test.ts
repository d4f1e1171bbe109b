/** Many deadlines on one timer. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DeadlineQueue } from '../../src/listener/deadline-queue.ts';

describe('a deadline queue', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('expires each entry once, never early and at most 100 ms late', () => {
    const queue = new DeadlineQueue(1_000);
    const expiredAt: number[] = [];
    const begin = performance.now();
    for (const delay of [0, 7, 33, 900]) {
      const entry = { expire: () => expiredAt.push(performance.now() - begin - delay) };
      setTimeout(() => queue.add(entry), delay);
    }
    vi.advanceTimersByTime(5_000);
    expect(expiredAt).toHaveLength(4);
    for (const late of expiredAt) {
      expect(late).toBeGreaterThanOrEqual(1_000);
      expect(late).toBeLessThanOrEqual(1_100);
    }
  });

  it('forgets a deleted entry', () => {
    const queue = new DeadlineQueue(1_000);
    const expire = vi.fn();
    const entry = { expire };
    queue.add(entry);
    queue.delete(entry);
    vi.advanceTimersByTime(5_000);
    expect(expire).not.toHaveBeenCalled();
  });

  it('tells what remains, at least one millisecond, and 0 for what has no deadline', () => {
    const queue = new DeadlineQueue(1_000);
    const entry = { expire: () => {} };
    expect(queue.remainingMillis(entry)).toBe(0);
    queue.add(entry);
    vi.advanceTimersByTime(400);
    expect(queue.remainingMillis(entry)).toBe(600);
  });

  it('runs no timer while it is empty', () => {
    const queue = new DeadlineQueue(1_000);
    const entry = { expire: () => {} };
    expect(vi.getTimerCount()).toBe(0);
    queue.add(entry);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(5_000);
    expect(vi.getTimerCount()).toBe(0);
    queue.add(entry);
    queue.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('of timeout 0 never expires anything', () => {
    const queue = new DeadlineQueue(0);
    const entry = { expire: vi.fn() };
    queue.add(entry);
    vi.advanceTimersByTime(1e9);
    expect(entry.expire).not.toHaveBeenCalled();
  });
});
