/** The manual pages: complete, and without a warning of the programs that show them, where those are installed. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { COMMAND_NAMES, COMMANDS, OPTIONS } from '../../src/cli/commands.ts';
import { KEYS } from '../../src/config/keys.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGES = ['man/pgtls.1', 'man/pgtls.toml.5'];

function run(program: string, ...args: string[]) {
  const environment = { ...process.env, MANWIDTH: '200', LC_ALL: 'C.UTF-8' };
  const { error, status, stdout, stderr } = spawnSync(program, args, {
    cwd: ROOT,
    encoding: 'utf8',
    env: environment,
  });
  return { isInstalled: error === undefined, status, stdout, stderr };
}

/** The page's text as it is read, without roff. */
function plain(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8')
    .replaceAll(/\\f[BIR]/g, '')
    .replaceAll('\\-', '-')
    .replaceAll('\\(dq', '"')
    .replaceAll('\\(aq', "'");
}

describe.each(PAGES)('%s', (page) => {
  it.runIf(run('groff', '--version').isInstalled)('is set by groff without a warning', () => {
    expect(run('groff', '-man', '-ww', '-Tutf8', '-z', page)).toMatchObject({
      status: 0,
      stdout: '',
      stderr: '',
    });
  });

  it.runIf(run('mandoc', '-h').isInstalled)('has nothing that mandoc would have otherwise', () => {
    expect(run('mandoc', '-T', 'lint', page).stdout).toBe('');
  });

  it.runIf(run('man', '--version').isInstalled)('is shown by man', () => {
    const { status, stdout, stderr } = run('man', '--warnings', '-l', page);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('DESCRIPTION');
  });
});

it('pgtls.1 has every command, option and example', () => {
  const text = plain('man/pgtls.1');
  const examples = COMMAND_NAMES.flatMap((name) => COMMANDS[name].examples.map(({ line }) => line));
  const options = Object.keys(OPTIONS).map((name) => `--${name}`);
  for (const word of [...COMMAND_NAMES, ...options]) {
    expect(text).toContain(word);
  }
  for (const line of examples) {
    expect(text.replaceAll('\\(ha', '^').replaceAll('\\(ti', '~')).toContain(line);
  }
});

it('pgtls.toml.5 has every key of every table', () => {
  const text = plain('man/pgtls.toml.5');
  for (const [key, { values }] of Object.values(KEYS).flatMap(Object.entries)) {
    expect(text).toContain(`\n${key} = ${values}\n`);
  }
});
