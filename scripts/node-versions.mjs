/**
 * `npm run test:node-versions`: the addon, the hand-off and sessions from start to takeover on every Node.js that pgtls supports.
 *
 *     npm run test:node-versions            all but the one that runs this: `npm test` has run more on that
 *     npm run test:node-versions -- 24 26   these
 *
 * Both the tests and pgtls run on it. The last line counts the tests.
 */
import { installNode, NODE_MAJORS } from './lib/node-releases.mjs';
import { capture } from './lib/run.mjs';
import { sum, summaryLine } from './lib/summary.mjs';
import { runTypeScriptTests } from './lib/typescript-tests.mjs';
import { setup } from './setup.mjs';

/** What depends on Node.js: its sockets and descriptors, the addon, signals, child processes, TLS peers. */
const TESTS = [
  'test/data-plane',
  'test/listener',
  'test/end-to-end/node-version.test.ts',
  'test/end-to-end/hand-off.test.ts',
  'test/end-to-end/direct-tls.test.ts',
  'test/end-to-end/unix-sockets.test.ts',
  'test/end-to-end/cancel.test.ts',
  'test/end-to-end/config-reload.test.ts',
  'test/end-to-end/shutdown.test.ts',
  'test/end-to-end/takeover.test.ts',
];

const NONE = { passed: 0, failed: 0, skipped: 0 };
const [own = ''] = process.versions.node.split('.');
const asked = process.argv.slice(2);
const majors = asked.length > 0 ? asked : NODE_MAJORS.filter((major) => major !== own);

const counts = setup() ? majors.map(testOn).reduce(sum, NONE) : { ...NONE, failed: 1 };
console.log(summaryLine(counts));
process.exitCode = counts.failed === 0 ? 0 : 1;

/** @param {string} major @returns {import('./lib/rust-tests.mjs').Counts} */
function testOn(major) {
  try {
    const node = installNode(major);
    const version = capture(node, ['--version']).stdout.trim();
    console.log(`Node.js ${version}`);
    const { skippedNames, ...counted } = runTypeScriptTests(TESTS, { node, version });
    for (const name of skippedNames) {
      console.log(`skipped: ${name}`);
    }
    console.log(`Node.js ${version}: ${summaryLine(counted)}`);
    return counted;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return { ...NONE, failed: 1 };
  }
}
