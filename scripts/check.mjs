/**
 * `npm run check`: formatting, lints, types, layers and the rules of this repository; one line each, the last line counts them.
 *
 * `node scripts/check.mjs [words]` runs only the checks whose name contains the words. Set-up is `npm run setup`'s business.
 */
import { BINDING_UNCHANGED } from './lib/binding-check.mjs';
import { TOOL_CHECKS } from './lib/checks.mjs';
import { CRATE_LAYERS, NO_RING, WITHOUT_TLS } from './lib/crate-layers.mjs';
import { LICENCES, NO_INSTALL_SCRIPTS } from './lib/licences.mjs';
import { SOURCE_RULES } from './lib/source-rules.mjs';
import { summaryLine } from './lib/summary.mjs';
import { ONE_VERSION } from './lib/versions.mjs';

const CHECKS = [
  ...TOOL_CHECKS,
  CRATE_LAYERS,
  NO_RING,
  WITHOUT_TLS,
  ...SOURCE_RULES,
  LICENCES,
  NO_INSTALL_SCRIPTS,
  ONE_VERSION,
  BINDING_UNCHANGED,
];
const words = process.argv.slice(2).join(' ');

const counts = { passed: 0, failed: 0, skipped: 0 };
for (const check of CHECKS.filter(({ name }) => name.includes(words))) {
  const problems = check.run();
  counts[problems.length === 0 ? 'passed' : 'failed'] += 1;
  console.log(`${problems.length === 0 ? 'ok    ' : 'FAILED'}  ${check.name}`);
  for (const problem of problems) {
    console.log(problem.replace(/^/gm, '        '));
  }
}
console.log(summaryLine(counts));
process.exitCode = counts.failed === 0 ? 0 : 1;
