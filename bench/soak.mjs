/**
 * Churn against the real program for minutes, and then the books: descriptors, memory, one close for each connection, and every
 * byte of every session that was meant to survive. Method: bench/README.md.
 *
 * `node bench/soak.mjs [--minutes 10] [--players 24] [--seed 1] [--no-postgres] [--program main.js]`
 * Exit code 1, with what is wrong, when the books don't balance.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { PROGRAM } from '../scripts/lib/paths.mjs';
import { Load } from './lib/load.mjs';
import { configText, PgtlsProcess, pause, resetsForWantOfMemory } from './lib/proxy.mjs';
import { SessionsLog } from './lib/sessions-log.mjs';

const PROGRESS_MILLIS = 10_000;
/** V8's sawtooth (see README.md), and what malloc can't give back because something lives above it. */
const KEPT_KILOBYTES = 24 * 1024;
/** What an ErrorResponse of pgtls itself has at most; bytes_out counts the backend's bytes only. */
const LAST_WORDS_BYTES = 300;
const POSTGRES_PLAYERS = 4;
/** Of a worker that was started after the warm-up: its epoll instance and what wakes it. */
const WORKER_DESCRIPTORS = 4;
/** Until every session that lingers (10 s after its backend left) is over. */
const END_MILLIS = 30_000;

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    players: { type: 'string', default: '24' },
    seed: { type: 'string', default: '1' },
    program: { type: 'string', default: PROGRAM },
    'no-postgres': { type: 'boolean', default: false },
  },
});
const seconds = Math.round(Number(options.minutes) * 60);
const players = Number(options.players);

/** @typedef {import('./lib/sessions-log.mjs').Closed} Closed */

/** @type {string[]} */
const wrong = [];

/** @param {boolean} isRight @param {string} message */
function check(isRight, message) {
  console.log(`${isRight ? 'ok    ' : 'WRONG '} ${message}`);
  if (!isRight) {
    wrong.push(message);
  }
}

/** @param {{ native: number, rest: number }} memory */
const anonymous = ({ native, rest }) => native + rest;

/** Waits until the condition holds, at most so long. @param {number} millis @param {() => boolean} condition */
async function eventually(millis, condition) {
  const deadline = Date.now() + millis;
  while (!condition() && Date.now() < deadline) {
    await pause(200);
  }
}

/** @param {{ load: Load, proxy: PgtlsProcess, log: SessionsLog, postgres: import('./lib/postgres-churn.mjs').Tally }} parts */
async function progress({ load, proxy, log, postgres }) {
  const { sockets, others } = proxy.descriptors();
  const totals = await load.do('totals');
  const { native, rest } = proxy.memory();
  const megabytes = ((totals.clientReceived + totals.clientSent) / (1 << 20)).toFixed(0);
  console.log(
    `${new Date().toISOString().slice(11, 19)}  ${totals.connections} connections, ${log.closed} closed, ` +
      `${totals.failures} failures, ${megabytes} MiB, ${sockets} sockets + ${others}, ` +
      `${((native + rest) / 1024).toFixed(1)} MiB anonymous, postgres ${postgres.rounds}`,
  );
}

/** Whether all that one end sent was counted and arrived. @param {Record<string, any>} account @param {Closed | undefined} closed */
function isComplete(account, closed) {
  return (
    closed?.faultSide === null &&
    account.sameBytes &&
    account.clientSent === closed.bytesIn &&
    closed.bytesIn === account.backendReceived &&
    account.backendSent === closed.bytesOut &&
    closed.bytesOut === account.clientReceived
  );
}

/** Whether no more arrived than was sent. @param {Record<string, any>} account @param {Closed | undefined} closed */
function isPossible(account, closed) {
  if (closed === undefined) {
    // Folded, or over before its StartupMessage.
    return true;
  }
  const { bytesIn, bytesOut, isTold } = closed;
  return (
    account.clientSent >= bytesIn &&
    bytesIn >= account.backendReceived &&
    account.backendSent >= bytesOut &&
    bytesOut + (isTold ? LAST_WORDS_BYTES : 0) >= account.clientReceived
  );
}

/** Compares what clients, backend and log say of each session. @param {string} file @param {SessionsLog} log */
function compare(file, log) {
  const accounts = readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const described = accounts.map((account) => {
    const closed = log.sessions.get(`fake ${account.user}`);
    const isRight = account.survives ? isComplete(account, closed) : isPossible(account, closed);
    return { survives: account.survives, isRight, text: JSON.stringify({ ...account, closed }) };
  });
  const survivors = described.filter(({ survives }) => survives).length;
  const different = described.filter(({ isRight }) => !isRight);
  const failures = accounts.filter(({ failure }) => failure !== null);
  check(
    survivors > 0,
    `${survivors} sessions survived, ${accounts.length - survivors} were cut short`,
  );
  check(
    failures.length === 0,
    `${failures.length} sessions failed that should not have${sample(failures.map((one) => JSON.stringify(one)))}`,
  );
  check(
    different.length === 0,
    `${different.length} sessions whose bytes differ between client, log and backend${sample(different.map(({ text }) => text))}`,
  );
}

/** The first few. @param {readonly string[]} texts */
function sample(texts) {
  return texts
    .slice(0, 5)
    .map((text) => `\n         ${text}`)
    .join('');
}

/** @param {Load} load @param {number} duration @param {number} seed */
function churn(load, duration, seed) {
  return load.do('soak', { seconds: duration, players, seed });
}

async function main() {
  const directory = mkdtempSync(join(tmpdir(), 'pgtls-soak-'));
  const { load, stage } = await Load.start(directory);
  const churning = options['no-postgres'] ? null : await import('./lib/postgres-churn.mjs');
  const cluster = (await churning?.startPostgres()) ?? null;
  const log = new SessionsLog();
  const resets = resetsForWantOfMemory();
  const postgres = { rounds: 0, failures: /** @type {string[]} */ ([]) };
  const routes = [
    { name: 'fake', backend: stage.backend },
    ...(cluster === null ? [] : [{ name: 'postgres', backend: `127.0.0.1:${cluster.port}` }]),
  ];
  const config = configText(stage, routes, { log_level: 'debug', shutdown_timeout: '5s' });
  const proxy = await PgtlsProcess.start(directory, config, {
    onLine: (line) => log.read(line),
    program: options.program,
  });
  try {
    await load.do('proxy', { address: proxy.address('fake') });
    const pgConfig = {
      host: 'localhost',
      port: Number(/:(\d+)$/.exec(routes.length > 1 ? proxy.address('postgres') : '')?.[1]),
      user: 'postgres',
      database: 'postgres',
      password: cluster?.password ?? '',
      ssl: { ca: readFileSync(stage.caFile, 'utf8') },
    };
    const play = async (/** @type {number} */ duration, /** @type {number} */ seed) => {
      const end = Date.now() + duration * 1000;
      await Promise.all([
        churn(load, duration, seed),
        cluster === null
          ? null
          : churning?.postgresChurn(pgConfig, POSTGRES_PLAYERS, end, postgres),
      ]);
    };
    // Its listeners, and its ends of the pipes to us.
    const { sockets } = proxy.descriptors();
    const areClosed = () => proxy.descriptors().sockets <= sockets;

    console.log(`warming up; then ${seconds} s with ${players} players, seed ${options.seed}`);
    await play(Math.min(10, Math.max(3, seconds / 10)), Number(options.seed) + 1_000_000);
    await eventually(END_MILLIS, areClosed);
    const rest = await proxy.settledMemory(10);
    const start = proxy.descriptors();
    check(
      start.sockets === sockets,
      `sockets: ${sockets} after the start, ${start.sockets} after the warm-up`,
    );

    const timer = setInterval(
      () => progress({ load, proxy, log, postgres }).catch(() => undefined),
      PROGRESS_MILLIS,
    );
    await play(seconds, Number(options.seed)).finally(() => clearInterval(timer));
    await eventually(END_MILLIS, areClosed);
    await progress({ load, proxy, log, postgres });

    const end = proxy.descriptors();
    check(end.sockets === sockets, `sockets: ${sockets} at the start, ${end.sockets} at the end`);
    check(
      end.others <= start.others + WORKER_DESCRIPTORS,
      `other descriptors: ${start.others} at the start, ${end.others} at the end`,
    );
    const memory = await proxy.settledMemory(seconds < 60 ? 10 : 30);
    const grown = anonymous(memory) - anonymous(rest);
    check(
      grown <= KEPT_KILOBYTES,
      `memory: ${anonymous(rest)} KiB anonymous at the start, ${grown} KiB more at the end`,
    );

    const totals = await load.do('totals');
    check(
      totals.backendSessions === 0,
      `${totals.backendSessions} sessions are left at the backend`,
    );
    const code = await proxy.stop();
    check(
      code === 0,
      `exit code ${code}${proxy.stderr === '' ? '' : `, stderr: ${proxy.stderr.slice(0, 2000)}`}`,
    );
    if (cluster === null) {
      check(
        log.accepted === totals.connections,
        `${totals.connections} connections were made, ${log.accepted} accepted`,
      );
    }
    check(
      log.accepted === log.closed && log.unaccounted() === 0,
      `${log.accepted} connections accepted, ${log.closed} closes logged`,
    );
    check(
      log.problems.length === 0,
      `${log.problems.length} lines that must not be${sample(log.problems)}`,
    );
    check(
      postgres.failures.length === 0,
      `${postgres.failures.length} of ${postgres.rounds} rounds with PostgreSQL failed${sample(postgres.failures)}`,
    );
    const record = join(directory, 'record.jsonl');
    await load.do('record', { file: record });
    compare(record, log);
    const more = resetsForWantOfMemory() - resets;
    if (more > 0) {
      console.log(
        `note: the kernel was short of TCP memory and reset ${more} connections by itself`,
      );
    }
    const reasons = [...log.reasons].sort(([, a], [, b]) => b - a);
    console.log(`reasons: ${reasons.map(([reason, count]) => `${reason} ${count}`).join(', ')}`);
  } finally {
    if (!proxy.hasEnded) {
      await proxy.kill();
    }
    await load.stop();
    await cluster?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

await main();
console.log(
  wrong.length === 0
    ? 'soak passed'
    : `soak FAILED:\n${wrong.map((text) => `- ${text}`).join('\n')}`,
);
process.exitCode = wrong.length === 0 ? 0 : 1;
