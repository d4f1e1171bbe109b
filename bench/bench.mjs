/**
 * `npm run bench`: pgtls, its floor and its peers in one run of interleaved rounds. Method, and what can't be compared: bench/README.md.
 *
 * `node bench/bench.mjs [--quick] [--only small-queries,bulk,connections,memory,rest,scaling,in-process]
 *   [--contestants direct,floor,pgtls,…] [--legs plain,tls] [--rounds 5] [--seconds 3] [--megabytes 1000] [--no-unpinned]
 *   [--results directory]`
 * Exit code 0 whatever the targets say, 1 when something could not be run.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../scripts/lib/paths.mjs';
import { Cast, entrantsOf } from './lib/cast.mjs';
import { runClient } from './lib/client.mjs';
import { CONTESTANTS } from './lib/contestants.mjs';
import { describeMachine, loadWarning } from './lib/machine.mjs';
import { canPin, lastCore, Place } from './lib/pinning.mjs';
import { Progress } from './lib/progress.mjs';
import { plotsOf, tablesOf, writeReport } from './lib/report.mjs';
import { Results } from './lib/results.mjs';
import { playRounds } from './lib/rounds.mjs';
import { setStage } from './lib/stage.mjs';
import { evaluateTargets } from './lib/targets.mjs';
import { pgbenchVersion } from './lib/transactions.mjs';
import { BULK } from './measures/bulk.mjs';
import { CONNECTIONS } from './measures/connections.mjs';
import { IN_PROCESS_FIGURES, measureInProcess } from './measures/in-process.mjs';
import { MEMORY_FIGURES, measureMemory } from './measures/memory.mjs';
import { measureRest, REST_FIGURES } from './measures/rest.mjs';
import { measureScaling, SCALING_FIGURES } from './measures/scaling.mjs';
import { SMALL_QUERIES } from './measures/small-queries.mjs';

const ROUND_MEASURES = [SMALL_QUERIES, BULK, CONNECTIONS];
const MEASURES = [
  ...ROUND_MEASURES,
  { name: 'memory', title: 'Memory of idle TLS sessions', figures: MEMORY_FIGURES },
  { name: 'rest', title: 'A process at rest', figures: REST_FIGURES },
  { name: 'scaling', title: 'How the cost grows', figures: SCALING_FIGURES },
  { name: 'in-process', title: 'TLS alone, in process', figures: IN_PROCESS_FIGURES },
];

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    contestants: { type: 'string' },
    legs: { type: 'string', default: 'plain,tls' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    megabytes: { type: 'string' },
    'no-unpinned': { type: 'boolean', default: false },
    results: { type: 'string', default: join(ROOT, 'bench/results') },
  },
});

/** @typedef {import('./lib/rounds.mjs').Size} Size */
/** @typedef {import('./lib/rounds.mjs').Book} Book */
/** @typedef {import('./lib/cast.mjs').Entrant} Entrant */
/** @typedef {import('./lib/stage.mjs').Stage} Stage */

/** @param {number} cpus @returns {Size} */
function sizeOf(cpus) {
  const { quick } = options;
  const number = (
    /** @type {string | undefined} */ text,
    /** @type {number} */ full,
    /** @type {number} */ short,
  ) => (text === undefined ? (quick ? short : full) : positive(text));
  return {
    rounds: number(options.rounds, 5, 2),
    seconds: number(options.seconds, 3, 1),
    bytes: number(options.megabytes, 1000, 64) * 1e6,
    sessions: quick ? [1, 16] : [1, 16, 64],
    idleCounts: quick ? [1000] : [1000, 9000],
    settleSeconds: quick ? 4 : 25,
    warmUpConnections: quick ? 50 : 3000,
    restSettleSeconds: quick ? 2 : 20,
    restSeconds: quick ? 2 : 10,
    activeCounts: quick ? [4] : [1, 4, 16, 64, 256],
    workers: quick ? [1, cpus] : Array.from({ length: cpus }, (_, index) => index + 1),
  };
}

/** @param {string} text */
function positive(text) {
  const value = Number(text);
  if (!(value > 0)) {
    fail(`not a positive number: ${text}`);
  }
  return value;
}

/** The chosen ones of a list of names; all without a choice. @param {string | undefined} choice @param {readonly string[]} names */
function chosen(choice, names) {
  const wanted = choice?.split(',') ?? names;
  const unknown = wanted.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    fail(`${unknown} is none of ${names.join(', ')}`);
  }
  return wanted;
}

/** @param {string} message @returns {never} */
function fail(message) {
  console.error(message);
  process.exit(2);
}

/** Who takes part, and what each is; those that can't are said and left out. @param {Book} book */
function chooseEntrants({ results, progress }) {
  const names = CONTESTANTS.map(({ name }) => name);
  const wanted = chosen(options.contestants, names);
  const legs = /** @type {import('./lib/contestants.mjs').Leg[]} */ (
    chosen(options.legs, ['plain', 'tls'])
  );
  const present = CONTESTANTS.filter((contestant) => {
    if (!wanted.includes(contestant.name)) {
      return false;
    }
    const missing = contestant.missing();
    if (missing !== null) {
      const nothing = { measure: 'everything', variant: 'all', pinned: false };
      results.lacks({ ...nothing, contestant: contestant.name }, missing);
      progress.note(`without ${contestant.name}: ${missing}`);
    }
    return missing === null;
  });
  return entrantsOf(present, legs);
}

/** What each negotiates with our client, to see that like is compared with like. @param {Cast} cast @param {readonly Entrant[]} entrants @param {Book} book */
async function handshakesOf(cast, entrants, { progress, failures }) {
  /** @type {Record<string, unknown>} */
  const found = {};
  for (const entrant of entrants) {
    try {
      const running = await cast.get(entrant);
      const { answer } = await runClient(running, cast.place, { do: 'handshake' });
      found[entrant.label] = answer;
    } catch (error) {
      failures.push(`${entrant.label}: ${error instanceof Error ? error.message : error}`);
    }
  }
  const kinds = new Set(
    Object.values(found)
      .map((answer) => /** @type {any} */ (answer))
      .filter(({ protocol }) => protocol !== null)
      .map(({ protocol, cipher, group }) => `${protocol} ${cipher} ${group}`),
  );
  progress.note(
    `TLS with the clients: ${[...kinds].join(' and ')}${kinds.size > 1 ? ' (NOT ALIKE)' : ''}`,
  );
  return found;
}

/** The rounds, pinned and then as colour unpinned; the answer is what everybody negotiates. @param {Stage} stage @param {readonly Entrant[]} entrants @param {readonly string[]} names @param {Place} pinned @param {Book} book */
async function measureRounds(stage, entrants, names, pinned, book) {
  const measures = ROUND_MEASURES.filter(({ name }) => names.includes(name));
  const { rounds } = book.size;
  const passes = [{ place: pinned, count: rounds, isColourOnly: false }];
  if (pinned.isPinned && !options.quick && !options['no-unpinned']) {
    passes.push({ place: new Place(null), count: Math.ceil(rounds / 2), isColourOnly: true });
  }
  /** @type {Record<string, unknown>} */
  let handshakes = {};
  for (const pass of measures.length === 0 ? [] : passes) {
    const { place } = pass;
    const cast = new Cast(stage, place);
    try {
      if (pinned.isPinned) {
        place.move(stage.pids());
      }
      if (place === pinned) {
        handshakes = await handshakesOf(cast, entrants, book);
      }
      await playRounds(cast, entrants, measures, pass, book);
    } finally {
      await cast.stop();
    }
  }
  return handshakes;
}

/** What is measured once. @param {Stage} stage @param {readonly Entrant[]} entrants @param {readonly string[]} names @param {Place} pinned @param {Book} book */
async function measureOnce(stage, entrants, names, pinned, book) {
  const cast = new Cast(stage, new Place(null));
  const ours = entrants.find(({ label }) => label === 'pgtls');
  /** @type {Record<string, () => Promise<void>>} */
  const parts = {
    memory: () => measureMemory(cast, entrants, book),
    rest: () => measureRest(cast, entrants, book),
    scaling: async () => {
      if (ours !== undefined) {
        await measureScaling(stage, pinned, ours, book);
      }
    },
    'in-process': () => measureInProcess(stage, book),
  };
  for (const [name, part] of Object.entries(parts)) {
    if (names.includes(name)) {
      await part();
    }
  }
}

/** The median that decides: pinned where the measure is pinned at all. @param {Results} results @returns {import('./lib/targets.mjs').Median} */
function medianOf(results) {
  const isPinned = (/** @type {string} */ measure) =>
    ROUND_MEASURES.some(({ name }) => name === measure);
  return (measure, variant, contestant, figure, isUnpinned = false) =>
    results.median(
      { measure, variant, contestant, pinned: isPinned(measure) && !isUnpinned },
      figure,
    );
}

async function main() {
  const machine = describeMachine();
  const names = chosen(
    options.only,
    MEASURES.map(({ name }) => name),
  );
  /** @type {Book} */
  const book = {
    results: new Results(),
    size: sizeOf(machine.cpus),
    progress: new Progress(),
    failures: [],
  };
  const { results, progress, failures } = book;
  const warning = loadWarning(machine.loadBefore[0] ?? 0, machine.cpus);
  if (warning !== null) {
    progress.note(warning);
  }
  const entrants = chooseEntrants(book);
  const stage = await setStage();
  let handshakes = {};
  try {
    const pinned = new Place(canPin() ? lastCore() : null);
    if (!pinned.isPinned) {
      progress.note('without taskset (util-linux) nothing is pinned, and the targets say nothing');
    }
    handshakes = await measureRounds(stage, entrants, names, pinned, book);
    await measureOnce(stage, entrants, names, pinned, book);
  } finally {
    await stage.stop();
  }
  const versions = Object.fromEntries(
    entrants.map(({ contestant }) => [contestant.name, contestant.version()]),
  );
  const client = pgbenchVersion() ?? 'bench/clients/client.mjs (pgbench is not installed)';
  const told = {
    ...machine,
    postgres: stage.version,
    versions,
    smallQueriesClient: client,
    handshakes,
    warning,
  };
  const verdicts = evaluateTargets(medianOf(results));
  const measured = MEASURES.filter(({ name }) => names.includes(name));
  const line = `${machine.cpu}, ${machine.cpus} CPUs, Linux ${machine.kernel}, Node ${machine.node}, PostgreSQL ${stage.version}`;
  const head = `${line}\n${machine.date}; small queries by ${client}; load before ${machine.loadBefore.map((load) => load.toFixed(1)).join(' ')}`;
  const tables = [head, warning ?? '', tablesOf(results, measured, verdicts)]
    .filter(Boolean)
    .join('\n\n');
  const json = {
    machine: told,
    size: book.size,
    cells: results.cells(),
    samples: results.samples,
    absences: results.absences,
    verdicts,
    failures,
  };
  writeReport(
    options.results,
    json,
    tables,
    plotsOf(results, measured, `${machine.cpu}, ${machine.date.slice(0, 10)}`),
  );
  progress.note('');
  console.log(tables);
  console.log(`\nwritten to ${options.results}`);
  if (failures.length > 0) {
    console.error(`could not be run:\n${[...new Set(failures)].join('\n')}`);
    process.exitCode = 1;
  }
}

await main();
