/** The committed types of the addon, compared with what a rebuild writes. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BINDING } from './paths.mjs';
import { capture } from './run.mjs';

const TYPES = join(BINDING, 'index.d.ts');

/** @type {import('./checks.mjs').Check} */
export const BINDING_UNCHANGED = {
  name: 'the generated binding is what a rebuild writes, and committed',
  run: () => {
    const before = contents();
    const build = capture('npm', ['run', '--silent', 'build:addon']);
    if (build.code !== 0) {
      return [build.output];
    }
    const rebuilt = contents() === before;
    const tracked = capture('git', ['ls-files', '--error-unmatch', '--', TYPES]);
    const difference = capture('git', ['diff', '--', TYPES]);
    return [
      ...(rebuilt ? [] : ['the rebuild changed index.d.ts: commit it']),
      ...(tracked.code === 0 ? [] : ['index.d.ts is not committed']),
      ...(difference.output === '' ? [] : [difference.output]),
    ];
  },
};

function contents() {
  return existsSync(TYPES) ? readFileSync(TYPES, 'utf8') : '';
}
