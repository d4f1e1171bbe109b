/** A tiny run of bench/bench.mjs: every contestant that is installed starts, and a report is written. Its figures mean nothing. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runBench } from '../support/bench.ts';

test('a tiny benchmark runs every contestant and writes tables, plots and figures', {
  timeout: 180_000,
}, async () => {
  const results = mkdtempSync(join(tmpdir(), 'pgtls-bench-test-'));
  try {
    const { code, stdout, output } = await runBench(
      'bench.mjs',
      ['--quick', '--only', 'bulk', '--rounds', '1', '--megabytes', '2', '--results', results],
      150_000,
    );
    expect(code, output).toBe(0);
    expect(stdout).toContain('## Targets');
    const { cells, failures } = JSON.parse(readFileSync(join(results, 'bench.json'), 'utf8'));
    const contestants = cells.map(({ contestant }: { contestant: string }) => contestant);
    expect(failures).toEqual([]);
    expect(contestants).toEqual(
      expect.arrayContaining(['direct', 'floor', 'pgtls', 'pgtls+tls', 'node-tls', 'node-tls+tls']),
    );
    const files = readdirSync(results);
    expect(files).toContain('bench.md');
    expect(files.filter((name) => name.endsWith('.svg')).length > 0).toBe(
      output.includes('without taskset') === false,
    );
  } finally {
    rmSync(results, { recursive: true, force: true });
  }
});
