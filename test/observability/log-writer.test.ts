/** What becomes of lines that are not taken at once. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LogWriter, MAX_UNWRITTEN_BYTES } from '../../src/observability/log-writer.ts';
import { createLogger } from '../../src/observability/logger.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A descriptor that takes `room` more bytes, and fails instead of saying 0 when it is `broken`. */
class FakeDescriptor {
  written = '';
  tries = 0;
  room = Number.POSITIVE_INFINITY;
  isBroken = false;

  readonly writeAtOnce = (line: string | Buffer): number => {
    this.tries += 1;
    const bytes = Buffer.from(line);
    const part = bytes.subarray(0, Math.min(this.room, bytes.length));
    if (part.length === 0 && this.isBroken) {
      throw new Error('ENOSPC');
    }
    this.written += part.toString();
    this.room -= part.length;
    return part.length;
  };

  get lines(): string[] {
    return this.written.split('\n').slice(0, -1);
  }
}

function start(room = Number.POSITIVE_INFINITY) {
  const descriptor = new FakeDescriptor();
  descriptor.room = room;
  const writer = new LogWriter(descriptor.writeAtOnce);
  const told: number[] = [];
  writer.onDropped = (count) => {
    told.push(count);
    writer.write(`lost ${count}\n`);
  };
  return { descriptor, writer, told };
}

/** Longer than any time between two tries. */
const A_WHILE = 1_000;

describe('a log writer', () => {
  it('writes a line before it returns', () => {
    const { descriptor, writer } = start();
    writer.write('one\n');
    expect(descriptor.written).toBe('one\n');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('keeps what is not taken, in order and to the byte, until it is', () => {
    const { descriptor, writer, told } = start(6);
    for (const line of ['ä1\n', 'ö22\n', 'ü333\n']) {
      writer.write(line);
    }
    expect(descriptor.written).toBe('ä1\nö');
    descriptor.room = 3;
    vi.advanceTimersByTime(A_WHILE);
    expect(descriptor.written).toBe('ä1\nö22\n');
    descriptor.room = Number.POSITIVE_INFINITY;
    vi.advanceTimersByTime(A_WHILE);
    expect(descriptor.lines).toEqual(['ä1', 'ö22', 'ü333']);
    expect([writer.dropped, told]).toEqual([0, []]);
  });

  it('tries less and less often while nothing is taken, and never more than once at a time', () => {
    const { descriptor, writer } = start(0);
    for (let count = 0; count < 100; count += 1) {
      writer.write('line\n');
    }
    expect([descriptor.tries, vi.getTimerCount()]).toEqual([1, 1]);
    vi.advanceTimersByTime(60_000);
    expect(descriptor.tries).toBeLessThan(140);
    expect(vi.getTimerCount()).toBe(1);
  });

  it('loses what goes beyond the bound, counts it, and says so where it is missing', () => {
    const { descriptor, writer, told } = start(0);
    const line = `${'x'.repeat(1023)}\n`;
    const kept = MAX_UNWRITTEN_BYTES / line.length;
    for (let count = 0; count < kept + 7; count += 1) {
      writer.write(line);
    }
    expect(writer.dropped).toBe(7);
    // Room for a few is not the end of the gap: another would follow at once.
    descriptor.room = 10 * line.length;
    vi.advanceTimersByTime(A_WHILE);
    writer.write('short\n');
    expect([writer.dropped, told]).toEqual([8, []]);
    descriptor.room = Number.POSITIVE_INFINITY;
    vi.advanceTimersByTime(A_WHILE);
    writer.write('after\n');
    expect(told).toEqual([8]);
    expect(descriptor.lines.slice(kept - 1)).toEqual([line.trim(), 'lost 8', 'after']);
  });

  it('survives errors, and goes on when they are over', () => {
    const { descriptor, writer } = start(0);
    descriptor.isBroken = true;
    writer.write('one\n');
    vi.advanceTimersByTime(60_000);
    descriptor.isBroken = false;
    descriptor.room = Number.POSITIVE_INFINITY;
    vi.advanceTimersByTime(A_WHILE);
    writer.write('two\n');
    expect(descriptor.lines).toEqual(['one', 'two']);
  });

  it('is flushed when nothing waits any more, or when time is up', async () => {
    const { descriptor, writer } = start();
    await writer.flushed(1_000);
    descriptor.room = 0;
    writer.write('one\n');
    const late = vi.fn();
    const flushed = writer.flushed(100).then(late);
    await vi.advanceTimersByTimeAsync(99);
    expect(late).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    await flushed;
    descriptor.room = Number.POSITIVE_INFINITY;
    const done = writer.flushed(60_000);
    await vi.advanceTimersByTimeAsync(A_WHILE);
    await done;
    expect(descriptor.lines).toEqual(['one']);
  });
});

it.each(['json', 'pretty'] as const)(
  'a %s logger tells in a warning how many lines were lost',
  async (format) => {
    vi.useRealTimers();
    const descriptor = new FakeDescriptor();
    const logger = createLogger({
      level: 'info',
      format,
      destination: new LogWriter(descriptor.writeAtOnce),
    });
    descriptor.room = 0;
    const filler = 'x'.repeat(MAX_UNWRITTEN_BYTES / 2 - 1_000);
    for (let count = 1; count <= 5; count += 1) {
      logger.info({}, `${count} ${filler}`);
    }
    await vi.waitFor(() => expect(descriptor.tries).toBeGreaterThan(2));
    descriptor.room = Number.POSITIVE_INFINITY;
    await vi.waitFor(() => expect(descriptor.written).toContain('log.dropped'));
    expect(descriptor.written).toMatch(/"?count"?: ?3/);
  },
);
