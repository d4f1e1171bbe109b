/** What `pgtls init` writes is right as it stands, and every key that it offers is one. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { nextSteps, STARTER, writeStarter } from '../../src/cli/starter.ts';
import { PLAIN } from '../../src/cli/style.ts';
import { loadConfig } from '../../src/config/parse.ts';
import { PgtlsError } from '../../src/errors.ts';
import { makeDirectory, writeConfig } from '../config/fixture.ts';

it('the starter is a valid configuration once its certificate is there', () => {
  const { config, warnings } = loadConfig(writeConfig(STARTER), {});
  expect(warnings).toEqual([]);
  expect(config.proxies.map(({ name }) => name)).toEqual(['main']);
});

it('every key that is commented out can be uncommented', () => {
  const uncommented = STARTER.replace(/^#(?=[^\s:])/gm, '');
  expect(uncommented).not.toBe(STARTER);
  const directory = makeDirectory();
  for (const name of ['clients-ca.crt', 'clients.crl', 'backend-ca.crt']) {
    writeFileSync(join(directory, name), '');
  }
  expect(() => loadConfig(writeConfig(uncommented, directory), {})).not.toThrow();
});

it('writes the file, replaces none unless it is forced to, and says what comes next', () => {
  const directory = makeDirectory();
  const file = join(directory, 'new.toml');
  writeStarter(file, false);
  expect(readFileSync(file, 'utf8')).toBe(STARTER);
  const mine = writeConfig('# mine', directory);
  expect(() => writeStarter(mine, false)).toThrow(`${mine} exists already; --force replaces it`);
  expect(readFileSync(mine, 'utf8')).toBe('# mine');
  writeStarter(mine, true);
  expect(readFileSync(mine, 'utf8')).toBe(STARTER);
  expect(nextSteps(mine, PLAIN)).toContain(`pgtls validate ${mine}`);
});

it("says why it can't be written", () => {
  const directory = makeDirectory();
  mkdirSync(join(directory, 'taken'));
  expect(() => writeStarter(join(directory, 'taken'), true)).toThrow(PgtlsError);
  expect(() => writeStarter(join(directory, 'not', 'there.toml'), false)).toThrow(
    "can't be written: ENOENT",
  );
});
