/** The measuring programs of bench/, run to their end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** How a measurement ended: its exit code, and what it wrote. */
export interface BenchRun {
  readonly code: number | null;
  readonly stdout: string;
  /** stdout and stderr, in the order they were written. */
  readonly output: string;
}

/**
 * Runs `bench/<program>`. One that takes longer than `millis` is killed, and its output says so; however the test
 * ends, neither the program nor what it started goes on.
 */
export async function runBench(
  program: string,
  args: readonly string[],
  millis: number,
): Promise<BenchRun> {
  const file = fileURLToPath(new URL(`../../bench/${program}`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  onTestFinished(() => killGroup(child));
  const written = { stdout: '', output: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    written.stdout += chunk.toString();
    written.output += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    written.output += chunk.toString();
  });
  const late = setTimeout(() => {
    written.output += `not within ${millis} ms\n`;
    killGroup(child);
  }, millis);
  const [code] = await once(child, 'close');
  clearTimeout(late);
  return { code, ...written };
}

/** Ends a process that leads a group, and all of the group; nothing when it has ended by itself. */
function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) {
    process.kill(-pid, 'SIGKILL');
  }
}
