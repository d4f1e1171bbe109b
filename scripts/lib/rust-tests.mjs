/** The Rust tests: run, and counted from cargo's own result lines. */
import { runWatched } from './run.mjs';

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

const RESULT = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/;

/** The model checker replaces the session's locks, so that its tests are a run of their own. */
const MODEL = ['-p', 'pgtls-tls', '--features', 'loom', '--test', 'session_model'];

/** A build without TLS: its unit tests, and sessions in plaintext. */
const WITHOUT_TLS = ['-p', 'pgtls-core', '--no-default-features', '--no-fail-fast'];

/** Runs every test of the workspace, then the models of the shared session and the build without TLS. @returns {Promise<Counts>} */
export async function runRustTests() {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const selection of [['--workspace', '--no-fail-fast'], MODEL, WITHOUT_TLS]) {
    const failedBefore = counts.failed;
    const args = ['test', '--release', ...selection];
    const code = await runWatched('cargo', args, (line) => addResult(counts, line));
    if (code !== 0 && counts.failed === failedBefore) {
      counts.failed += 1;
    }
  }
  return counts;
}

/** Builds the programs that the end-to-end tests run; the whole workspace, so that features are those of the tests. @returns {Promise<boolean>} */
export async function buildTestPrograms() {
  const args = ['build', '--workspace', '--release', '--bins'];
  return (await runWatched('cargo', args, () => undefined)) === 0;
}

/** @param {Counts} counts @param {string} line */
function addResult(counts, line) {
  const [, passed = '0', failed = '0', ignored = '0'] = RESULT.exec(line) ?? [];
  counts.passed += Number(passed);
  counts.failed += Number(failed);
  counts.skipped += Number(ignored);
}
