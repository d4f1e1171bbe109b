/**
 * `npm test`: sets up what is missing, then runs every test of both languages; the last line counts them.
 *
 * Further arguments go to vitest: `npm test -- test/end-to-end/cancel.test.ts`.
 */
import { buildForTests } from './lib/published-binding.mjs';
import { buildTestPrograms, runRustTests } from './lib/rust-tests.mjs';
import { sum, summaryLine } from './lib/summary.mjs';
import { runTypeScriptTests } from './lib/typescript-tests.mjs';
import { setup } from './setup.mjs';

if (setup()) {
  const rust = await runRustTests();
  const builds = [await buildTestPrograms(), buildForTests()];
  const programs = { passed: 0, failed: builds.filter((built) => !built).length, skipped: 0 };
  const typescript = runTypeScriptTests(process.argv.slice(2));
  for (const name of typescript.skippedNames) {
    console.log(`skipped: ${name}`);
  }
  console.log(`Rust: ${summaryLine(rust)}`);
  console.log(`TypeScript: ${summaryLine(typescript)}`);
  const total = sum(sum(rust, programs), typescript);
  console.log(summaryLine(total));
  process.exitCode = total.failed === 0 ? 0 : 1;
} else {
  console.log(summaryLine({ passed: 0, failed: 1, skipped: 0 }));
  process.exitCode = 1;
}
