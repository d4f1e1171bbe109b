/** The measuring programs of bench/, run to their end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** How a measurement ended: its exit code, and what it wrote. */
export interface BenchRun {
  readonly code: number | null;
  readonly stdout: string;
  /** stdout and stderr, in the order they were written. */
  readonly output: string;
}

/** Runs `bench/<program>`. */
export async function runBench(program: string, args: readonly string[]): Promise<BenchRun> {
  const file = fileURLToPath(new URL(`../../bench/${program}`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const written = { stdout: '', output: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    written.stdout += chunk.toString();
    written.output += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    written.output += chunk.toString();
  });
  const [code] = await once(child, 'close');
  return { code, ...written };
}
