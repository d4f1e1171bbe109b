/** The TypeScript tests: vitest, counted from its JSON report. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE, ROOT } from './paths.mjs';
import { run } from './run.mjs';

/** @typedef {import('./rust-tests.mjs').Counts} Counts */
/** @typedef {{ status: string, message: string, name: string, assertionResults: Array<{ status: string, fullName: string }> }} FileResult */

const REPORT = join(CACHE, 'vitest.json');

/**
 * Runs vitest with these further arguments; `skippedNames` are the full names of the tests that didn't run. `on` is another Node.js
 * than the one that runs this.
 * @param {readonly string[]} vitestArguments @param {{ node: string, version: string } | null} [on]
 * @returns {Counts & { skippedNames: string[] }}
 */
export function runTypeScriptTests(vitestArguments, on = null) {
  rmSync(REPORT, { force: true });
  const code = run(
    on?.node ?? process.execPath,
    [
      join(ROOT, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${REPORT}`,
      ...vitestArguments,
    ],
    { env: on === null ? {} : { PGTLS_TEST_NODE: on.version } },
  );
  const files = readReport();
  const tests = files.flatMap((file) => file.assertionResults);
  const skipped = tests.filter(({ status }) => status !== 'passed' && status !== 'failed');
  const counts = {
    passed: tests.filter(({ status }) => status === 'passed').length,
    failed:
      tests.filter(({ status }) => status === 'failed').length +
      files.filter(brokeOutsideTests).length,
    skipped: skipped.length,
    skippedNames: skipped.map(({ fullName }) => fullName),
  };
  if (code !== 0 && counts.failed === 0) {
    counts.failed = 1;
  }
  return counts;
}

/** A file that failed without a failed test: it couldn't be loaded, or a hook failed. @param {FileResult} file */
function brokeOutsideTests(file) {
  return (
    file.status === 'failed' && file.assertionResults.every(({ status }) => status !== 'failed')
  );
}

/** @returns {FileResult[]} */
function readReport() {
  try {
    return JSON.parse(readFileSync(REPORT, 'utf8')).testResults;
  } catch {
    return [];
  }
}
