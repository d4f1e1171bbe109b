/** Writing to descriptors that would wait, without waiting. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { sendAtOnce } from '../../src/data-plane/data-plane.ts';

const LINE = Buffer.alloc(1000, 'x');

/** A pipe whose descriptors wait. */
function pipe(): { reader: number; writer: number } {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-send-'));
  const path = join(directory, 'pipe');
  execFileSync('mkfifo', [path]);
  // Both ways, so that opening it does not wait for another.
  const [reader, writer] = [openSync(path, 'r+'), openSync(path, 'r+')];
  onTestFinished(() => {
    closeSync(reader);
    closeSync(writer);
    rmSync(directory, { recursive: true });
  });
  return { reader, writer };
}

describe('sendAtOnce', () => {
  it('writes to a blocking pipe for as long as it has room, and again when it has', () => {
    const { reader, writer } = pipe();
    let written = 0;
    for (let taken = 1; taken > 0; written += taken) {
      taken = sendAtOnce(writer, LINE);
    }
    expect(written).toBeGreaterThanOrEqual(4_096);
    expect(sendAtOnce(writer, LINE)).toBe(0);
    expect(readSync(reader, Buffer.alloc(written))).toBe(written);
    expect(sendAtOnce(writer, LINE)).toBe(LINE.length);
  });

  it('says that a descriptor is of no use', () => {
    const readOnly = openSync('/dev/null', 'r');
    onTestFinished(() => closeSync(readOnly));
    expect(sendAtOnce(readOnly, LINE)).toBe(-1);
    expect(sendAtOnce(-1, LINE)).toBe(-1);
  });
});
