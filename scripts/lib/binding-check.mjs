/** The committed loader and types of the addon, compared with what a rebuild writes. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BINDING } from './paths.mjs';
import { capture } from './run.mjs';

const FILES = ['index.js', 'index.d.ts'].map((name) => join(BINDING, name));

/** @type {import('./checks.mjs').Check} */
export const BINDING_UNCHANGED = {
  name: 'the generated binding is what a rebuild writes, and committed',
  run: () => {
    const before = contents();
    const build = capture('npm', ['run', '--silent', 'build:addon']);
    if (build.code !== 0) {
      return [build.output];
    }
    const rebuilt = contents().join('\n') === before.join('\n');
    const tracked = capture('git', ['ls-files', '--error-unmatch', '--', ...FILES]);
    const difference = capture('git', ['diff', '--', ...FILES]);
    return [
      ...(rebuilt ? [] : ['the rebuild changed index.js or index.d.ts: commit them']),
      ...(tracked.code === 0 ? [] : ['index.js and index.d.ts are not committed']),
      ...(difference.output === '' ? [] : [difference.output]),
    ];
  },
};

function contents() {
  return FILES.map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : ''));
}
