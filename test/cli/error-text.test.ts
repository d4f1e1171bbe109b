/** Errors for people: the same words with colours and without. */
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { writeConfig } from '../config/fixture.ts';
import { FakeProcess } from './fake-host.ts';

async function stderrOf(config: string, isTerminal: boolean): Promise<string> {
  const fake = new FakeProcess({ isTerminal });
  await main(['validate', config], fake.host, fake.modules);
  return fake.stderr;
}

describe('errors of a file at a terminal', () => {
  it('say what they say elsewhere, and how many they are', async () => {
    const file = writeConfig('workers = "x"\nlog_leve = "info"');
    const plain = await stderrOf(file, false);
    const rich = await stderrOf(file, true);
    expect(plain).not.toContain('\x1b');
    expect(rich).toContain(`\x1b[2m${file}:1:1:\x1b[22m\x1b[31m workers:\x1b[39m expected`);
    const lines = stripVTControlCharacters(rich).trimEnd().split('\n');
    expect(lines.slice(0, -1)).toEqual(plain.trimEnd().split('\n'));
    expect(lines.at(-1)).toBe(`✗ ${file} has ${lines.length - 1} errors`);
  });

  it('have no key where the whole file is meant', async () => {
    const text = stripVTControlCharacters(await stderrOf(writeConfig('= 1'), true));
    expect(text).toMatch(/^\S+:1:1: \S[\s\S]*\n✗ \S+ has 1 error\n$/);
  });
});

it('other errors begin with the name of the program', async () => {
  const fake = new FakeProcess({ isTerminal: true });
  expect(await main(['--colour'], fake.host, fake.modules)).toBe(2);
  expect(fake.stderr).toContain('\x1b[31mpgtls\x1b[39m: unknown option "--colour"');
});
