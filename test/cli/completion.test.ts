/** The scripts for shells, run by those shells that are installed. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { COMMANDS, HELP, OPTIONS, SHELLS } from '../../src/cli/arguments.ts';
import { completionScript } from '../../src/cli/completion.ts';

const isInstalled = (shell: string) => spawnSync(shell, ['-c', 'true']).error === undefined;

/** What bash offers behind these words, the last of which is being typed. */
function offered(...words: string[]): string[] {
  const line = words.map((word) => `'${word}'`).join(' ');
  const script = `${completionScript('bash')}
COMP_WORDS=(pgtls ${line}); COMP_CWORD=${words.length}; _pgtls; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, status, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return stdout.split('\n').filter((word) => word !== '');
}

describe.runIf(isInstalled('bash'))('in bash', () => {
  it.each([
    [['va'], ['validate']],
    [['completion', ''], [...SHELLS]],
    [['--log-level', 'd'], ['debug']],
    [['validate', 'package.j'], ['package.json']],
    [['-c', 'package.j'], ['package.json']],
    [['doctor', '--conf'], ['--config']],
  ])('behind %j stands %j', (words, expected) => {
    expect(offered(...words)).toEqual(expected);
  });

  it('the first word is any command or option', () => {
    const options = Object.keys(OPTIONS).map((name) => `--${name}`);
    expect(offered('')).toEqual(expect.arrayContaining([...COMMANDS, ...options]));
  });
});

it.each(SHELLS)('the script for %s is one that it understands, where it is installed', (shell) => {
  const script = completionScript(shell);
  expect(script).toContain('pgtls');
  if (isInstalled(shell)) {
    expect(spawnSync(shell, ['-n'], { input: script, encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    });
  }
});

it('--help names every command and option', () => {
  for (const word of [...COMMANDS.slice(1), ...Object.keys(OPTIONS).map((name) => `--${name}`)]) {
    expect(HELP).toContain(word);
  }
});
