/** docs/faults.md names tests that there are. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const at = (path: string) => new URL(`../../${path}`, import.meta.url);
const text = (path: string) => readFileSync(at(path), 'utf8');

interface Named {
  readonly file: string;
  readonly name: string;
}

/** The last cell of every row: a test file, of end-to-end/ unless it says more, and the name of a test or of a case in it. */
function namedTests(): Named[] {
  const rows = text('docs/faults.md')
    .split('\n')
    .filter((line) => line.startsWith('| '));
  return rows.slice(2).map((row) => {
    const [, file = '', name = ''] = /\| `([\w/-]+)`: (.+?) +\|$/.exec(row) ?? [];
    return { file: `test/${file.includes('/') ? '' : 'end-to-end/'}${file}.test.ts`, name };
  });
}

it('every row of docs/faults.md names a test of a file that there is', () => {
  const tests = namedTests();
  expect(tests.length).toBeGreaterThan(15);
  const missing = tests.filter(
    ({ file, name }) => name === '' || !existsSync(at(file)) || !text(file).includes(`'${name}'`),
  );
  expect(missing).toEqual([]);
});

it('every test of faults is in the table', () => {
  const named = new Set(namedTests().map(({ name }) => name));
  const files = ['backend-faults', 'process-faults', 'log-faults'];
  const sources = files.map((name) => text(`test/end-to-end/${name}.test.ts`)).join('\n');
  const names = [...sources.matchAll(/\btest(?:\.skipIf\(.+\))?\(\s*'(.+)',/g)].map(
    ([, name]) => name,
  );
  expect(names.length).toBeGreaterThan(9);
  expect(names.filter((name = '') => !named.has(name))).toEqual([]);
});
