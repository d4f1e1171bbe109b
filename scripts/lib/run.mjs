/** Child processes for the scripts: run, capture, and say what failed. */
import { spawn, spawnSync } from 'node:child_process';
import { ROOT } from './paths.mjs';

/**
 * A captured command: its exit code (null: it couldn't be started or a signal ended it), its stdout, and stdout and stderr
 * together.
 * @typedef {{ code: number | null, stdout: string, output: string }} Captured
 */

/**
 * Runs a command in the repository's root with its output passed through; the answer is its exit code.
 * @param {string} command @param {readonly string[]} args @param {{ quiet?: boolean, env?: Record<string, string> }} [options]
 * @returns {number}
 */
export function run(command, args, options = {}) {
  const { quiet = false, env = {} } = options;
  const result = spawnSync(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
    maxBuffer: 1 << 28,
  });
  const code = result.status ?? 1;
  if (quiet && code !== 0) {
    process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  }
  return code;
}

/**
 * Runs a command in the repository's root and keeps its output.
 * @param {string} command @param {readonly string[]} args @param {Record<string, string>} [env] beside this process's own
 * @returns {Captured}
 */
export function capture(command, args, env = {}) {
  const result = spawnSync(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return {
    code: result.status,
    stdout: result.stdout ?? '',
    output: `${result.stdout ?? ''}${result.stderr ?? ''}${result.error ?? ''}`,
  };
}

/**
 * Runs a command, passes its output through and gives every line of it to `onLine`; the answer is its exit code.
 * @param {string} command @param {readonly string[]} args @param {(line: string) => void} onLine
 * @returns {Promise<number>}
 */
export function runWatched(command, args, onLine) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  let rest = '';
  child.stdout.on('data', (chunk) => {
    process.stdout.write(chunk);
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(onLine);
  });
  return new Promise((resolve) => {
    child.once('error', () => resolve(1));
    child.once('close', (code) => {
      if (rest !== '') {
        onLine(rest);
      }
      resolve(code ?? 1);
    });
  });
}
