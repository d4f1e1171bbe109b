/**
 * `npm run build:schema`: writes the JSON schema of pgtls.toml and the types of a configuration that is an object, both from
 * src/config/keys.ts. With `--check` it writes nothing and ends with 1 when one of them is another one.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readConfigKeys } from './lib/config-keys.mjs';
import { schemaOf } from './lib/config-schema.mjs';
import { typesOf } from './lib/config-types.mjs';
import { ROOT } from './lib/paths.mjs';

const config = await readConfigKeys();
const generated = {
  'schema/pgtls.schema.json': JSON.stringify(schemaOf(config)),
  'src/config/input.ts': typesOf(config),
};

for (const [file, content] of Object.entries(generated)) {
  const path = join(ROOT, file);
  const fresh = formatted(file, content);
  if (!process.argv.includes('--check')) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, fresh);
  } else if (readFileSync(path, 'utf8') !== fresh) {
    console.log(`${file} is not what src/config/keys.ts says: npm run build:schema`);
    process.exitCode = 1;
  }
}

/** As `biome check` wants it. @param {string} file @param {string} content */
function formatted(file, content) {
  const biome = join(ROOT, 'node_modules/.bin/biome');
  return execFileSync(biome, ['format', `--stdin-file-path=${file}`], {
    cwd: ROOT,
    input: content,
    encoding: 'utf8',
  });
}
