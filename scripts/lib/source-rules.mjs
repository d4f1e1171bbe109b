/** Rules about our own sources that no linter checks: who may touch what, file sizes, opening comments. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';
import { filesBelow } from './stamp.mjs';

/** @typedef {import('./checks.mjs').Check} Check */

const MAX_LINES = 400;

/** Sources of ours with their text. @param {RegExp} pattern @returns {Array<{ file: string, text: string }>} */
function sources(pattern) {
  const files = filesBelow(
    ['src', 'crates'],
    (path) => !path.startsWith('crates/pgtls-napi/binding/'),
  );
  return files
    .filter((file) => pattern.test(file))
    .map((file) => ({ file, text: readFileSync(join(ROOT, file), 'utf8') }));
}

const TYPESCRIPT = /^src\/.*\.ts$/;
const RUST = /^crates\/[^/]+\/(src|tests|benches|examples)\/.*\.rs$|^crates\/[^/]+\/build\.rs$/;
const OUR_SOURCES = /^src\/.*\.ts$|^crates\/[^/]+\/src\/.*\.rs$/;

/**
 * A check that a pattern occurs in some files only; comments don't count.
 * @param {{ name: string, files: RegExp, pattern: RegExp, allowed: readonly string[], what: string }} rule @returns {Check}
 */
function onlyIn({ name, files, pattern, allowed, what }) {
  return {
    name,
    run: () =>
      sources(files)
        .filter(({ file, text }) => !allowed.includes(file) && pattern.test(withoutComments(text)))
        .map(({ file }) => `${file} ${what}`),
  };
}

/** Removes block comments and line comments that begin a line or follow a blank. @param {string} text */
function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}

/** @type {readonly Check[]} */
export const SOURCE_RULES = [
  onlyIn({
    name: 'only src/data-plane/data-plane.ts and its loader, binding.ts, import the addon',
    files: TYPESCRIPT,
    pattern: /pgtls-napi\/binding|@pgtls\/|\.node['"`]/,
    allowed: ['src/data-plane/data-plane.ts', 'src/data-plane/binding.ts'],
    what: 'imports the addon',
  }),
  onlyIn({
    name: "only the command line, the addon's loader, for its error, and the library, for the environment, use process",
    files: TYPESCRIPT,
    pattern: /\bprocess\s*\.\s*[a-z]|['"](node:)?process['"]/,
    allowed: [
      'src/cli/main.ts',
      'src/cli/arguments.ts',
      'src/data-plane/data-plane.ts',
      'src/data-plane/binding.ts',
      'src/data-plane/binding-errors.ts',
      'src/data-plane/libc.ts',
      'src/proxy/library/source.ts',
    ],
    what: 'uses process',
  }),
  onlyIn({
    name: "only src/listener/handoff.ts names a socket's _handle",
    files: TYPESCRIPT,
    pattern: /\b_handle\b/,
    allowed: ['src/listener/handoff.ts'],
    what: 'names _handle',
  }),
  onlyIn({
    name: 'unsafe only in crates/pgtls-napi/src/fd.rs and process.rs',
    files: RUST,
    pattern: /\bunsafe\s*(\{|fn\b|impl\b|trait\b|extern\b|\()|\b(allow|expect)\(\s*unsafe_code/,
    allowed: ['crates/pgtls-napi/src/fd.rs', 'crates/pgtls-napi/src/process.rs'],
    what: 'has unsafe code',
  }),
  {
    name: `no source file is longer than ${MAX_LINES} lines`,
    run: () =>
      sources(OUR_SOURCES)
        .map(({ file, text }) => ({ file, lines: text.trimEnd().split('\n').length }))
        .filter(({ lines }) => lines > MAX_LINES)
        .map(({ file, lines }) => `${file} has ${lines} lines`),
  },
  {
    name: 'every source file opens with a comment of what lives in it',
    run: () =>
      sources(OUR_SOURCES)
        .filter(({ file, text }) => !opensWithComment(file, text))
        .map(({ file }) => `${file} doesn't`),
  },
];

/** @param {string} file @param {string} text */
function opensWithComment(file, text) {
  const code = text.replace(/^#!.*\n/, '');
  return code.startsWith(file.endsWith('.rs') ? '//!' : '/**');
}
