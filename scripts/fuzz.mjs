/**
 * `npm run fuzz`: gives every fuzz target inputs for a while, one target after the other, and counts them.
 *
 * `npm run fuzz -- [--seconds 60] [--target NAME] [--seed S] [--input HEX]`; CONTRIBUTING.md has the targets. The seconds are each
 * target's. `--input` with `--target` repeats one input. Exit code 1 when a target failed; the input and how to repeat it are
 * printed.
 */
import { parseArgs } from 'node:util';
import { runWatched } from './lib/run.mjs';

/** What a target says when it is done: crates/pgtls-testkit/src/fuzz. */
const DONE = /fuzz ([\w.-]+): (\d+) inputs/;
const FAILED = /fuzz target ([\w.-]+) failed/;

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    target: { type: 'string', default: '' },
    seed: { type: 'string', default: '' },
    input: { type: 'string', default: '' },
  },
});
if (!(Number(options.seconds) > 0)) {
  throw new Error('--seconds must be a number above 0');
}
if (options.input !== '' && options.target === '') {
  throw new Error('--input needs --target');
}
// Read by crates/pgtls-testkit/src/fuzz.
process.env.PGTLS_FUZZ_SECONDS = options.seconds;
process.env.PGTLS_FUZZ_TARGET = options.target;
process.env.PGTLS_FUZZ_SEED = options.seed;
process.env.PGTLS_FUZZ_INPUT = options.input;
process.env.RUST_BACKTRACE ??= '0';

/** @type {Map<string, number>} */
const counts = new Map();
/** @type {Set<string>} */
const failed = new Set();

/** @param {string} line */
function note(line) {
  const [, done, inputs] = DONE.exec(line) ?? [];
  if (done !== undefined) {
    counts.set(done, Number(inputs));
  }
  const [, target] = FAILED.exec(line) ?? [];
  if (target !== undefined) {
    failed.add(target);
  }
}

// The whole workspace, so that it is built as for `npm test`.
const command = ['test', '--release', '--workspace', '--lib', '--no-fail-fast', 'fuzz::'];
const code = await runWatched('cargo', [...command, '--', '--test-threads=1'], note);

const total = [...counts.values()].reduce((sum, inputs) => sum + inputs, 0);
if (counts.size > 0) {
  console.log('');
}
for (const [target, inputs] of counts) {
  console.log(`${target.padEnd(24)} ${inputs.toLocaleString('en').padStart(14)}`);
}
console.log(`${counts.size} targets, ${total.toLocaleString('en')} inputs, ${failed.size} failed`);
if (counts.size + failed.size === 0) {
  console.log(`there is no target "${options.target}"`);
  process.exitCode = 1;
} else {
  process.exitCode = code === 0 ? 0 : 1;
}
