/**
 * How much memory a session costs: idle ones at several counts, and 1,000 whose peers don't read. Method: bench/README.md.
 *
 * `node bench/memory.mjs [--counts 1000,9000] [--hostile 1000] [--cases slow-reader,slow-backend,flood] [--slow-bytes bytes]
 *   [--slack 1] [--settle seconds] [--program main.js] [--results file | -]`
 * Exit code 1 when a target, times the slack, is missed.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { PROGRAM, ROOT } from '../scripts/lib/paths.mjs';
import { Load } from './lib/load.mjs';
import { configText, PgtlsProcess, pause } from './lib/proxy.mjs';

/** Targets in KiB. */
const IDLE_NATIVE = 6;
const IDLE_PROCESS = 8;
/** One read of 64 KiB, as records (22 bytes more each), in the outbox; beside what an idle session has. */
const SLOW_PROCESS = 64 + 1 + IDLE_PROCESS;
/** What may stay behind: V8's garbage, and what malloc can't give back because something lives above it. */
const KEPT = 12 * 1024;
const WARM_UP_SESSIONS = 300;
/** More than the sockets' buffers of one session take, with 4 KiB towards the client. */
const SLOW_BYTES = 8 << 20;
const HOSTILE_CASES = ['slow-reader', 'slow-backend', 'flood'];
const FLOOD_BYTES = 1 << 30;

const { values: options } = parseArgs({
  options: {
    counts: { type: 'string', default: '1000,9000' },
    hostile: { type: 'string', default: '1000' },
    cases: { type: 'string', default: HOSTILE_CASES.join(',') },
    'slow-bytes': { type: 'string', default: String(SLOW_BYTES) },
    slack: { type: 'string', default: '1' },
    program: { type: 'string', default: PROGRAM },
    settle: { type: 'string', default: '40' },
    results: { type: 'string' },
  },
});
const program = options.program;
/** How long at most memory is given to settle. */
const settleSeconds = Number(options.settle);
const slowBytes = Number(options['slow-bytes']);
/** How many times the targets is still right. */
const slack = Number(options.slack);

/** @typedef {import('./lib/proxy.mjs').Memory} Memory */
/** @typedef {{ name: string, sessions: number, memory: Memory, perSession: { process: number, native: number } | null, limit: number | null, isMet: boolean }} Row */

/** @type {Row[]} */
const rows = [];

/** What sessions can make grow. Pages of files (code) come and go as the kernel likes. @param {Memory} memory */
function anonymous({ native, rest }) {
  return native + rest;
}

/** @param {string} name @param {number} sessions @param {Memory} memory @param {Memory} rest @param {{ process: number, native?: number } | null} limit */
function note(name, sessions, memory, rest, limit) {
  const growths = {
    process: anonymous(memory) - anonymous(rest),
    native: memory.native - rest.native,
  };
  const growth = (/** @type {'process' | 'native'} */ kind) => growths[kind];
  const perSession =
    sessions === 0
      ? null
      : { process: growth('process') / sessions, native: growth('native') / sessions };
  const isMet =
    limit === null ||
    (perSession === null
      ? growth('process') <= limit.process * slack
      : perSession.process <= limit.process * slack &&
        perSession.native <= (limit.native ?? Number.POSITIVE_INFINITY) * slack);
  rows.push({ name, sessions, memory, perSession, limit: limit?.process ?? null, isMet });
  const kib = (/** @type {number} */ value) => value.toLocaleString('en').padStart(9);
  console.error(
    `${name.padEnd(34)} ${kib(memory.total)} ${kib(memory.native)} ${kib(memory.rest)} ${kib(memory.files)}` +
      (perSession === null
        ? ` ${kib(growth('process'))} over rest`
        : `   process ${perSession.process.toFixed(2)}, native ${perSession.native.toFixed(2)} a session`) +
      (isMet ? '' : '   TARGET MISSED'),
  );
}

/** Runs `measure` beside a fresh proxy and load. @param {(load: Load, proxy: PgtlsProcess) => Promise<void>} measure */
async function withProxy(measure) {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-memory-'));
  const { load, stage } = await Load.start(directory);
  /** @type {PgtlsProcess | null} */
  let proxy = null;
  try {
    const config = configText(stage, [{ name: 'bench', backend: stage.backend }], {
      client_login_timeout: '60s',
      shutdown_timeout: '1s',
    });
    proxy = await PgtlsProcess.start(directory, config, { program });
    await load.do('proxy', { address: proxy.address() });
    await measure(load, proxy);
  } finally {
    await proxy?.stop();
    await load.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Opens and closes some sessions, so that threads and code are there; the memory then is the rest. @param {Load} load @param {PgtlsProcess} proxy */
async function rest(load, proxy) {
  const fresh = proxy.memory();
  note('before the first session', 0, fresh, fresh, null);
  await load.do('open', { count: WARM_UP_SESSIONS, kind: 'idle' });
  await load.do('close');
  const memory = await proxy.settledMemory(settleSeconds);
  note(`at rest, after ${WARM_UP_SESSIONS} sessions`, 0, memory, memory, null);
  return memory;
}

/** @param {readonly number[]} counts */
async function idleSessions(counts) {
  await withProxy(async (load, proxy) => {
    const before = await rest(load, proxy);
    let open = 0;
    for (const count of counts) {
      await load.do('open', { count: count - open, kind: 'idle' });
      open = count;
      const memory = await proxy.settledMemory(settleSeconds);
      note(`${count.toLocaleString('en')} idle`, count, memory, before, {
        process: IDLE_PROCESS,
        native: IDLE_NATIVE,
      });
    }
    await load.do('close');
    const memory = await proxy.settledMemory(settleSeconds);
    note('all closed', 0, memory, before, { process: KEPT });
  });
}

/** Waits until nothing moves between the peers any more. @param {Load} load */
async function standstill(load) {
  let last = '';
  for (;;) {
    const totals = JSON.stringify(await load.do('totals'));
    if (totals === last) {
      return;
    }
    last = totals;
    await pause(2000);
  }
}

/** @param {'slow-reader' | 'slow-backend'} kind @param {number} count */
async function slowSessions(kind, count) {
  await withProxy(async (load, proxy) => {
    const before = await rest(load, proxy);
    await load.do('open', { count, kind, bytes: slowBytes });
    await standstill(load);
    const memory = await proxy.settledMemory(settleSeconds);
    note(`${count.toLocaleString('en')} ${kind}s`, count, memory, before, {
      process: SLOW_PROCESS,
    });
    await load.do('close', { abrupt: true });
    note('all vanished', 0, await proxy.settledMemory(settleSeconds), before, { process: KEPT });
  });
}

/** One client that reads nothing, while its backend has a gibibyte to say. */
async function flood() {
  await withProxy(async (load, proxy) => {
    const before = await rest(load, proxy);
    await load.do('open', { count: 1, kind: 'slow-reader', bytes: FLOOD_BYTES });
    await standstill(load);
    note('1 never-reader, 1 GiB flood', 0, await proxy.settledMemory(settleSeconds), before, {
      process: 1024,
    });
    const { backendSent } = await load.do('totals');
    console.error(
      `the backend got rid of ${(backendSent / 1024).toFixed(0)} KiB, into the sockets' buffers`,
    );
  });
}

const counts = options.counts.split(',').map(Number);
const hostile = Number(options.hostile);
console.error(`PSS in KiB${' '.repeat(27)} process    native   V8 etc.     files`);
await idleSessions(counts);
const cases = hostile > 0 ? options.cases.split(',') : [];
if (cases.includes('slow-reader')) {
  await slowSessions('slow-reader', hostile);
}
if (cases.includes('slow-backend')) {
  await slowSessions('slow-backend', hostile);
}
if (cases.includes('flood')) {
  await flood();
}
const isMet = rows.every((row) => row.isMet);
const text = `${JSON.stringify({ node: process.version, unit: 'KiB', isMet, rows }, null, 1)}\n`;
if (options.results === '-') {
  process.stdout.write(text);
} else {
  const file = options.results ?? `${ROOT}/bench/results/memory.json`;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
process.exitCode = isMet ? 0 : 1;
