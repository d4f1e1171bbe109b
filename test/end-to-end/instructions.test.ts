/** The guard of bench/instructions.mjs: the data plane's work takes as many instructions as are noted. Needs valgrind. */
import { expect, test } from 'vitest';
import { runBench } from '../support/bench.ts';

/** Half a minute; minutes where the programs aren't built yet. */
const BENCH_MILLIS = 600_000;

test('messages, handshakes and the walk take as many instructions as noted', {
  timeout: BENCH_MILLIS + 30_000,
}, async (context) => {
  const { code, stdout, output } = await runBench('instructions.mjs', [], BENCH_MILLIS);
  expect(code, output).toBe(0);
  const end = stdout.trimEnd().split('\n').at(-1) ?? '';
  if (end.startsWith('not compared')) {
    context.skip(end);
  }
  expect(end).toBe('as noted');
});
