/** The two builds, each skipped while the hash of its inputs is the one of the last successful build. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BINDING, PROGRAM, ROOT } from './paths.mjs';
import { run } from './run.mjs';
import { filesBelow, hashOf, isStamped, stamp, unstamp } from './stamp.mjs';

/** Builds the addon when its Rust inputs changed; the answer is the exit code. @param {{ quiet: boolean }} options */
export function buildAddon({ quiet }) {
  const hash = hashOf(addonInputs(), [napiSettings(), process.platform, process.arch]);
  if (isStamped('addon', hash) && hasAddonFile()) {
    return 0;
  }
  console.log('building the Rust addon (the first time takes minutes) …');
  unstamp('addon');
  const code = run('npm', ['run', '--silent', 'build:addon'], { quiet });
  if (code === 0) {
    stamp('addon', hashOf(addonInputs(), [napiSettings(), process.platform, process.arch]));
  }
  return code;
}

/** Builds dist/ when src/ changed; the answer is the exit code. @param {{ quiet: boolean }} options */
export function buildTypeScript({ quiet }) {
  const inputs = [
    ...filesBelow(['src', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json']),
    ...filesBelow(['package.json', 'scripts/bundle.mjs']),
    ...filesBelow(['crates/pgtls-napi/binding'], (path) => !path.endsWith('.node')),
  ];
  const hash = hashOf(inputs);
  if (isStamped('typescript', hash) && existsSync(PROGRAM)) {
    return 0;
  }
  console.log('building the TypeScript …');
  unstamp('typescript');
  const code = run('npm', ['run', '--silent', 'build:ts'], { quiet });
  if (code === 0) {
    stamp('typescript', hash);
  }
  return code;
}

/** Everything the addon is made of: no test sources, no test kit, no bench addon, nothing that the build itself writes. */
export function addonInputs() {
  const notInputs =
    /^crates\/(pgtls-testkit|pgtls-bench|pgtls-napi\/binding)$|^crates\/[^/]+\/tests$/;
  return filesBelow(
    ['Cargo.toml', 'Cargo.lock', 'rust-toolchain.toml', '.cargo', 'crates'],
    (path) => !notInputs.test(path),
  );
}

/** The parts of package.json that decide how the addon is built. */
function napiSettings() {
  const { napi, scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return JSON.stringify([napi, scripts['build:addon']]);
}

function hasAddonFile() {
  return existsSync(BINDING) && readdirSync(BINDING).some((name) => name.endsWith('.node'));
}
