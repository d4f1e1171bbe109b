/** PostgreSQL's own client programs, where the machine has them. */
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** The major version of an installed program; 0 when it isn't installed. */
export function majorVersion(program: string): number {
  try {
    const text = execFileSync(program, ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number(/ (\d+)/.exec(text)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Whether a program can be run here. */
export function isInstalled(program: string): boolean {
  return majorVersion(program) > 0;
}

/** Runs a program with these environment variables; throws with its output when it fails. */
export async function runClient(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ stdout: string; stderr: string }> {
  return execute(program, args, {
    env: { ...process.env, ...environment },
    maxBuffer: 1 << 26,
    timeout: 120_000,
  });
}
