/**
 * Writes man/pgtls.1 and man/pgtls.toml.5 of the program's own tables. `--check` compares instead, and ends with 1 when they
 * are not what would be written.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { manPages } from './lib/man-pages.mjs';
import { ROOT } from './lib/paths.mjs';

const pages = manPages(await tables());
if (process.argv.includes('--check')) {
  const stale = Object.entries(pages).filter(([path, text]) => contents(path) !== text);
  for (const [path] of stale) {
    console.error(`${path} is not what the tables say: run node scripts/man.mjs, and commit it`);
  }
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  mkdirSync(join(ROOT, 'man'), { recursive: true });
  for (const [path, text] of Object.entries(pages)) {
    writeFileSync(join(ROOT, path), text);
  }
}

/** @param {string} path */
function contents(path) {
  const file = join(ROOT, path);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** The tables are TypeScript, so they are bundled in memory. */
async function tables() {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return {
    version,
    ...(await imported('src/cli/commands.ts')),
    ...(await imported('src/config/keys.ts')),
  };
}

/** @param {string} path */
async function imported(path) {
  const bundle = await rolldown({ input: join(ROOT, path), platform: 'node' });
  const { output } = await bundle.generate({ format: 'esm' });
  await bundle.close();
  const code = Buffer.from(output[0].code).toString('base64');
  return import(`data:text/javascript;base64,${code}`);
}
