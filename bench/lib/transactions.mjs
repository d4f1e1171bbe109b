/** Many small transactions, by pgbench or by our own client, with the proxy's CPU time in a window in which all of them run. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runClient } from './client.mjs';
import { readCpu } from './cpu.mjs';
import { firstLine } from './machine.mjs';
import { ACCOUNTS, DATABASE, USER } from './stage.mjs';
import { figuresOf, parseLog } from './transaction-log.mjs';

const SAMPLE_MILLIS = 50;
const PREFIX = 'transactions';
const SCRIPT = `\\set aid random(1, ${ACCOUNTS})
select balance from accounts where aid = :aid;
`;

/** @typedef {import('./contestants.mjs').Running} Running */
/** @typedef {import('./cpu.mjs').CpuReading} CpuReading */
/** @typedef {{ running: Running, place: import('./pinning.mjs').Place, directory: string, sessions: number, seconds: number }} Load */

/** pgbench's version, null when it isn't installed. */
export function pgbenchVersion() {
  return firstLine('pgbench', ['--version']);
}

/**
 * Plays prepared point SELECTs in so many sessions.
 * @param {Load} load @returns {Promise<Record<string, number>>} cpuMicros (without for direct), tps, p50, p99, p999 (microseconds)
 */
export async function measureTransactions(load) {
  const { running, directory } = load;
  const sampler = new Sampler(running.pid);
  try {
    await (pgbenchVersion() === null ? playOwn(load) : playPgbench(load));
  } finally {
    sampler.stop();
  }
  const transactions = takeLogs(directory);
  return figuresOf(transactions, sampler.readings);
}

/** Reads a process's CPU time over and over. */
class Sampler {
  /** @type {CpuReading[]} */
  readings = [];
  #timer;

  /** @param {number | null} pid */
  constructor(pid) {
    const read = () => {
      if (pid !== null) {
        this.readings.push(readCpu(pid));
      }
    };
    this.#timer = setInterval(read, SAMPLE_MILLIS);
  }

  stop() {
    clearInterval(this.#timer);
  }
}

/** @param {Load} load */
async function playPgbench({ running, place, directory, sessions, seconds }) {
  const script = join(directory, 'point.sql');
  writeFileSync(script, SCRIPT);
  const args = [
    '-n',
    '-M',
    'prepared',
    '-c',
    sessions,
    '-j',
    1,
    '-T',
    Math.max(1, Math.ceil(seconds)),
  ];
  const log = ['-l', '--log-prefix', join(directory, PREFIX), '-f', script];
  const child = spawn(...place.command('pgbench', [...args, ...log].map(String)), {
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      PGHOST: '127.0.0.1',
      PGPORT: String(running.port),
      PGUSER: USER,
      PGDATABASE: DATABASE,
      PGSSLMODE: running.clientTls ? 'require' : 'disable',
      PGGSSENCMODE: 'disable',
    },
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) {
    throw new Error(`pgbench failed: ${stderr.trim()}`);
  }
}

/** @param {Load} load */
async function playOwn({ running, place, directory, sessions, seconds }) {
  const log = join(directory, `${PREFIX}.own`);
  const work = { do: 'queries', sessions, seconds, log, rows: ACCOUNTS };
  await runClient(running, place, work);
}

/** Reads and removes them. @param {string} directory */
function takeLogs(directory) {
  const files = readdirSync(directory).filter((name) => name.startsWith(`${PREFIX}.`));
  return files.flatMap((name) => {
    const file = join(directory, name);
    const transactions = parseLog(readFileSync(file, 'utf8'));
    rmSync(file);
    return transactions;
  });
}
