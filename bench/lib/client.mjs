/** Starts bench/clients/client.mjs and walks it through its work; the work itself lies between two readings of the proxy. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { cpuMillisBetween, mainThreadMillisBetween, readCpu } from './cpu.mjs';
import { DATABASE, USER } from './stage.mjs';

const CLIENT = fileURLToPath(new URL('../clients/client.mjs', import.meta.url));
const PATIENCE_MILLIS = 120_000;

/** @typedef {import('./contestants.mjs').Running} Running */
/** @typedef {import('./pinning.mjs').Place} Place */

/**
 * Does one piece of work against a contestant. `cpuMillis` is what the proxy took meanwhile, `mainThreadMillis` its first thread alone;
 * null without proxy.
 * @param {Running} running @param {Place} place @param {Record<string, unknown> & { do: string }} work
 * @returns {Promise<{ answer: any, cpuMillis: number | null, mainThreadMillis: number | null }>}
 */
export async function runClient(running, place, work) {
  const options = {
    port: running.port,
    tls: running.clientTls,
    user: USER,
    database: DATABASE,
    ...work,
  };
  const command = place.command(process.execPath, [CLIENT, JSON.stringify(options)]);
  const child = spawn(...command, { stdio: ['pipe', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MILLIS);
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const { pid } = running;
  /** @type {import('./cpu.mjs').CpuReading | null} */
  let before = null;
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const { done } = JSON.parse(line);
      if (done !== undefined) {
        if (pid === null || before === null) {
          return { answer: done, cpuMillis: null, mainThreadMillis: null };
        }
        const after = readCpu(pid);
        const cpuMillis = cpuMillisBetween(before, after);
        const mainThreadMillis = mainThreadMillisBetween(pid, before, after);
        return { answer: done, cpuMillis, mainThreadMillis };
      }
      before = pid === null ? null : readCpu(pid);
      child.stdin.write('go\n');
    }
  } finally {
    clearTimeout(timer);
    child.stdin.end();
  }
  throw new Error(`the client failed at ${work.do}: ${stderr.trim() || 'without a word'}`);
}
