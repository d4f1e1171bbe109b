/**
 * Bundles src/ into dist/ (ADR 0018): Node.js reads a handful of files at the start of pgtls instead of fifty.
 *
 * Packages stay what they are, imported from node_modules. Types are tsc's work, which follows in `npm run build:ts`.
 */
import { chmodSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { rolldown } from 'rolldown';
import { PROGRAM, ROOT } from './lib/paths.mjs';

/** What is imported from outside, by its path in src/ and dist/: the library, the command, and what bench/ shares with the demo. */
const ENTRIES = [
  'index',
  'cli/main',
  'cli/demo/certificates',
  'cli/demo/free-port',
  'cli/demo/postgres-binaries',
  'cli/demo/postgres-cluster',
  'cli/demo/server-identity',
];

/**
 * The head of the command: a shell's program that becomes Node.js with its options, and nothing but a string and a comment to Node.js.
 * `#!/usr/bin/env -S node …` would be shorter, but BusyBox's env knows no `-S`.
 */
const HEAD = `#!/bin/sh
':' //; exec node --max-semi-space-size=1 "$0" "$@"`;

const bundle = await rolldown({
  input: Object.fromEntries(ENTRIES.map((name) => [name, join(ROOT, 'src', `${name}.ts`)])),
  platform: 'node',
  external: (id) => !id.startsWith('.') && !isAbsolute(id),
});
await bundle.write({
  dir: join(ROOT, 'dist'),
  cleanDir: true,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name].js',
  sourcemap: true,
  // Not `banner`, which is parsed and printed anew.
  postBanner: ({ name }) => (name === 'cli/main' ? HEAD : ''),
});
await bundle.close();
chmodSync(PROGRAM, 0o755);
