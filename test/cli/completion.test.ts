/** The scripts for shells, run by those shells that are installed. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { COMMAND_NAMES, OPTIONS, SHELLS } from '../../src/cli/commands.ts';
import { completionScript } from '../../src/cli/completion.ts';
import { makeDirectory } from '../config/fixture.ts';

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
    [['doctor', 'package.j'], ['package.json']],
    [['validate', '--fo'], []],
    [['init', '--fo'], ['--force']],
    [['help', 'val'], ['validate']],
    [['-c', 'a.toml', '--log-f'], ['--log-format']],
    [['--log-level', '=', 'd'], ['debug']],
    [
      ['--log-format', '='],
      ['json', 'pretty'],
    ],
  ])('behind %j stands %j', (words, expected) => {
    expect(offered(...words)).toEqual(expected);
  });

  it('a file may have spaces in its name', () => {
    const directory = makeDirectory();
    writeFileSync(join(directory, 'my file.toml'), '');
    expect(offered('validate', `${directory}/m`)).toEqual([`${directory}/my file.toml`]);
  });

  it('the first word is any command or option', () => {
    const options = Object.keys(OPTIONS).map((name) => `--${name}`);
    expect(offered('')).toEqual(expect.arrayContaining([...COMMAND_NAMES, ...options]));
  });
});

it.each(SHELLS)('the script for %s is one that it understands, where it is installed', (shell) => {
  const script = completionScript(shell);
  expect(script).toContain('pgtls');
  if (isInstalled(shell)) {
    // From a file: fish reads no script from standard input.
    const file = join(makeDirectory(), 'completion');
    writeFileSync(file, script);
    expect(spawnSync(shell, ['-n', file], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    });
  }
});

describe.runIf(isInstalled('fish'))('in fish', () => {
  const offeredByFish = (line: string) => {
    const file = join(makeDirectory(), 'completion.fish');
    writeFileSync(file, completionScript('fish'));
    const script = `source ${file}; complete -C '${line}'`;
    const { stdout } = spawnSync('fish', ['--no-config', '-c', script], { encoding: 'utf8' });
    return stdout
      .split('\n')
      .map((row) => row.split('\t')[0])
      .filter((word) => word !== '');
  };

  it.each([
    ['pgtls va', ['validate']],
    ['pgtls completion z', ['zsh']],
    ['pgtls -c a.toml --log-level d', ['debug']],
    ['pgtls help comp', ['completion']],
    ['pgtls init --fo', ['--force']],
  ])('behind %j stands %j', (line, expected) => {
    expect(offeredByFish(line)).toEqual(expected);
  });
});
