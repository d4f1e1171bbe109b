/** The soak of bench/soak.mjs for a few seconds, without the real PostgreSQL that other tests have. */
import { expect, test } from 'vitest';
import { runBench } from '../support/bench.ts';

/** Half a minute on a machine at rest. */
const BENCH_MILLIS = 180_000;

test('nine seconds of churn leaves no descriptor, no session and no byte unaccounted for', {
  timeout: 2 * BENCH_MILLIS,
}, async () => {
  const { code, output } = await runBench(
    'soak.mjs',
    ['--minutes', '0.15', '--no-postgres'],
    BENCH_MILLIS,
  );
  expect(code, output).toBe(0);
  expect(output).toContain('soak passed');
});
