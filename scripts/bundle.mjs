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
});
await bundle.close();
chmodSync(PROGRAM, 0o755);
