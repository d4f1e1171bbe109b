/**
 * `npm run bench:instructions`: counts the instructions of small pieces of work under callgrind, and compares them with those noted in
 * bench/instructions.json. So a regression shows on any machine, however busy it is. Method: bench/README.md.
 *
 * `node bench/instructions.mjs [--update] [--runs 1]`: `--update` notes what was counted instead; with several runs the median counts,
 * and their spread is shown. Exit code 1 when something takes more or fewer instructions than its tolerance allows, 0 otherwise, also
 * where nothing could be compared: the last line begins with "not compared" then, and says why.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ROOT } from '../scripts/lib/paths.mjs';
import { capture } from '../scripts/lib/run.mjs';
import { compareInstructions } from './lib/instructions.mjs';

const NOTED = `${ROOT}/bench/instructions.json`;
const PROGRAM = `${ROOT}/target/release/pgtls-instructions`;
/** The whole workspace's programs, as `npm test` builds them: so neither builds anything anew that the other has built. */
const BUILD = ['build', '--workspace', '--release', '--bins'];
/** Only what is done in here counts. */
const MEASURED = '*pgtls_instructions::measured*';
/** The task of a session, on its worker. Its login is in it as well, so what a run with few units takes is subtracted. */
const SESSION = 'pgtls_core::connection::serve::serve::{{closure}}';

/**
 * What is done, how often in a run, and by how much the count may differ. A handshake has random numbers in it, and code of a C
 * compiler that is not pinned.
 * @type {ReadonlyArray<{ work: string, units: number, tolerance: number, counted?: string, isAboveFew?: boolean }>}
 */
const PIECES = [
  { work: 'relay-100', units: 1000, tolerance: 0.03 },
  { work: 'relay-16384', units: 100, tolerance: 0.03 },
  { work: 'handshake-ecdsa', units: 20, tolerance: 0.05 },
  { work: 'handshake-resumed', units: 20, tolerance: 0.05 },
  { work: 'walk-1mb', units: 20, tolerance: 0.03 },
  { work: 'session-100', units: 1000, tolerance: 0.03, counted: SESSION, isAboveFew: true },
];

const { values: options } = parseArgs({
  options: {
    update: { type: 'boolean', default: false },
    runs: { type: 'string', default: '1' },
  },
});

/** @typedef {import('./lib/instructions.mjs').Noted} Noted */
/** @typedef {import('./lib/instructions.mjs').Counted} Counted */

/** @returns {string | null} why nothing can be counted here */
function missing() {
  if (capture('valgrind', ['--version']).code !== 0) {
    return 'valgrind is not installed';
  }
  console.error('building what is counted, unless it is up to date …');
  const { code, output } = capture('cargo', BUILD);
  if (code === null) {
    return 'cargo is not installed';
  }
  if (code !== 0) {
    throw new Error(`pgtls-instructions can't be built\n${output}`);
  }
  return null;
}

/** Of a run whose count is subtracted. */
const FEW = 100;

/** @param {typeof PIECES[number]} piece @returns {Counted} */
function count({ work, units, tolerance, counted = MEASURED, isAboveFew = false }) {
  const runs = Array.from({ length: Math.max(1, Number(options.runs)) }, () => {
    if (!isAboveFew) {
      return run(counted, work, units);
    }
    const few = run(counted, work, FEW);
    const { cpu, instructions } = run(counted, work, FEW + units);
    return { cpu, instructions: instructions - few.instructions };
  });
  const counts = runs.map(({ instructions }) => instructions / units);
  const value = Math.round(counts.toSorted((a, b) => a - b)[Math.floor(counts.length / 2)] ?? 0);
  return { cpu: runs[0]?.cpu ?? '', work, tolerance, counts, value };
}

/** One run under callgrind: what the program did, and the CPU that it saw there, which is not the real one. @param {string} counted @param {string} work @param {number} units */
function run(counted, work, units) {
  const callgrind = ['--tool=callgrind', '--callgrind-out-file=/dev/null'];
  const { code, stdout, output } = capture('valgrind', [
    ...callgrind,
    `--toggle-collect=${counted}`,
    PROGRAM,
    work,
    String(units),
  ]);
  // None: the function that is counted is not called by that name any more.
  const instructions = Number(/Collected : (\d+)/.exec(output)?.[1] ?? 0);
  if (code !== 0 || instructions === 0) {
    throw new Error(`callgrind failed at ${work}\n${output}`);
  }
  return { instructions, cpu: `${process.arch} ${stdout.trim()}` };
}

/** @returns {Noted} */
function readNoted() {
  return JSON.parse(readFileSync(NOTED, 'utf8'));
}

/** @param {readonly Counted[]} counted */
function update(counted) {
  const noted = readNoted();
  for (const { cpu, work, value, tolerance } of counted) {
    noted[cpu] = { ...noted[cpu], [work]: { value, tolerance } };
  }
  writeFileSync(NOTED, `${JSON.stringify(noted, null, 2)}\n`);
  console.log(`noted in ${NOTED}`);
}

function main() {
  const lack = missing();
  if (lack !== null) {
    console.log(`not compared: ${lack}`);
    return;
  }
  const counted = PIECES.map(count);
  const { text, isChanged } = compareInstructions(counted, readNoted());
  console.log(text);
  if (options.update) {
    update(counted);
  } else if (isChanged) {
    process.exitCode = 1;
  }
}

main();
