/** A tiny run of bench/storm.mjs: nobody fails in a storm of logins, and the figures are printed. They mean nothing. */
import { expect, test } from 'vitest';
import { runBench } from '../support/bench.ts';

test('a storm of logins costs neither a session that runs nor one of its own logins', {
  timeout: 180_000,
}, async () => {
  const small = ['--connects', '200', '--at-once', '50', '--sessions', '10', '--rounds', '1'];
  const { code, stdout, output } = await runBench('storm.mjs', small, 150_000);
  expect(code, output).toBe(0);
  const lines = stdout.trim().split('\n');
  expect(lines).toEqual([
    expect.stringMatching(/^PostgreSQL alone .*p99 [\d.]+ ms .*200 logins in [\d.]+ s, 0 failed$/),
    expect.stringMatching(/^pgtls .*p99 [\d.]+ ms .*200 logins in [\d.]+ s, 0 failed$/),
  ]);
});
