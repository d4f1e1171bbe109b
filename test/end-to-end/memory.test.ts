/** bench/memory.mjs in small, with bounds so generous that only a leak or a buffer without a bound breaks them. */
import { expect, test } from 'vitest';
import { runBench } from '../support/bench.ts';

interface Row {
  readonly name: string;
  readonly isMet: boolean;
}

/** How many times its targets a session may take. */
const SLACK = '1.5';
/** More than fits into the sockets' buffers of a session whose client reads nothing, and into the proxy's own bound. */
const SLOW_BYTES = 1 << 20;
/** Half a minute on a machine at rest. */
const BENCH_MILLIS = 240_000;

test('a thousand idle sessions and a thousand slow readers stay within their buffers and give them back', {
  timeout: 2 * BENCH_MILLIS,
}, async () => {
  const args = ['--counts', '1000', '--hostile', '1000', '--cases', 'slow-reader'];
  const { code, stdout, output } = await runBench(
    'memory.mjs',
    [
      ...args,
      ...['--slow-bytes', String(SLOW_BYTES), '--slack', SLACK, '--settle', '5', '--results', '-'],
    ],
    BENCH_MILLIS,
  );
  expect(code, output).toBe(0);
  const { rows } = JSON.parse(stdout) as { rows: readonly Row[] };
  expect(rows.filter(({ isMet }) => !isMet)).toEqual([]);
  expect(rows.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['1,000 idle', 'all closed', '1,000 slow-readers', 'all vanished']),
  );
});
