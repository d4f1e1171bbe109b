/** The soak of bench/soak.mjs for a few seconds, without the real PostgreSQL that other tests have. */
import { expect, test } from 'vitest';
import { runBench } from '../support/bench.ts';

test('nine seconds of churn leaves no descriptor, no session and no byte unaccounted for', {
  timeout: 180_000,
}, async () => {
  const { code, output } = await runBench('soak.mjs', ['--minutes', '0.15', '--no-postgres']);
  expect(code, output).toBe(0);
  expect(output).toContain('soak passed');
});
