/** How counted instructions are judged; that they are counted is test/end-to-end/instructions.test.ts's business. */
import { describe, expect, test } from 'vitest';
import { compareInstructions } from '../../bench/lib/instructions.mjs';

const CPU = 'x64 aes';
const NOTED = { [CPU]: { relay: { value: 1000, tolerance: 0.03 } } };

function counted(value: number, cpu = CPU, work = 'relay') {
  return { cpu, work, tolerance: 0.03, counts: [value], value };
}

function lastLine(text: string): string {
  return text.split('\n').at(-1) ?? '';
}

describe('compareInstructions', () => {
  test.each([971, 1000, 1029])('takes %i instead of 1000 as noted, at ±3 %%', (value) => {
    const { text, isChanged } = compareInstructions([counted(value)], NOTED);
    expect(isChanged).toBe(false);
    expect(lastLine(text)).toBe('as noted');
  });

  test.each([969, 1031])('says that %i instead of 1000 is a change', (value) => {
    const { text, isChanged } = compareInstructions([counted(value)], NOTED);
    expect(isChanged).toBe(true);
    expect(lastLine(text)).toMatch(/^changed: relay\. /);
  });

  test('compares nothing on a CPU without figures', () => {
    const { text, isChanged } = compareInstructions([counted(5000, 'arm64 neon')], NOTED);
    expect(isChanged).toBe(false);
    expect(lastLine(text)).toMatch(/^not compared: no figure for this CPU \(relay\)/);
  });

  test('shows a change beside work that has no figure', () => {
    const { isChanged } = compareInstructions(
      [counted(2000), counted(10, CPU, 'handshake')],
      NOTED,
    );
    expect(isChanged).toBe(true);
  });

  test('says how far several runs differ', () => {
    const runs = { ...counted(1000), counts: [1000, 1010, 1005] };
    expect(compareInstructions([runs], NOTED).text).toContain('3, +1.00 %');
  });
});
