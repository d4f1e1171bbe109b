/** One version everywhere: package.json, its lock file, the Cargo workspace with its lock file, and the tag of a release. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';

/**
 * What names another version than package.json.
 * @param {string | null} tag such as `v1.2.3`, of a release
 * @param {(path: string) => string} [read] the text of a file of the repository
 * @returns {string[]}
 */
export function versionProblems(tag, read = readText) {
  const { version } = JSON.parse(read('package.json'));
  const lock = JSON.parse(read('package-lock.json'));
  const [, workspace = ''] =
    /^\[workspace\.package\]\nversion = "(.*)"$/m.exec(read('Cargo.toml')) ?? [];
  const crates = read('Cargo.lock').matchAll(/^name = "(pgtls-.*)"\nversion = "(.*)"$/gm);
  /** @type {[string, string][]} */
  const named = [
    ['package-lock.json', lock.version],
    ['package-lock.json, packages[""]', lock.packages[''].version],
    ['Cargo.toml', workspace],
    ...[...crates].map(
      ([, name = '', found = '']) =>
        /** @type {[string, string]} */ ([`Cargo.lock, ${name}`, found]),
    ),
    ...(tag === null
      ? []
      : [/** @type {[string, string]} */ ([`the tag ${tag}`, tag.replace(/^v/, '')])]),
  ];
  return named
    .filter(([, found]) => found !== version)
    .map(([where, found]) => `${where} is version ${found}, package.json ${version}`);
}

/** @param {string} path */
function readText(path) {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** @type {import('./checks.mjs').Check} */
export const ONE_VERSION = {
  name: 'versions: package.json, Cargo.toml and both lock files have the same',
  run: () => versionProblems(null),
};
