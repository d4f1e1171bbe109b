/**
 * Makes a working copy runnable: packages, the Rust addon, the TypeScript. What is up to date is skipped.
 *
 * `node scripts/setup.mjs [--quiet]`; `--quiet` shows a build's output only when it fails. Needs nothing but Node.js, cargo and cc.
 */
import { pathToFileURL } from 'node:url';
import { buildAddon, buildTypeScript } from './lib/builds.mjs';
import { dependenciesAreInstalled, installDependencies } from './lib/dependencies.mjs';
import { withLock } from './lib/lock.mjs';
import { missingRequirements } from './lib/requirements.mjs';

/**
 * Sets everything up; false when something failed, which has been said on stderr.
 * @param {{ quiet?: boolean }} [options] @returns {boolean}
 */
export function setup({ quiet = false } = {}) {
  const missing = missingRequirements();
  if (missing.length > 0) {
    console.error(missing.join('\n'));
    return false;
  }
  return withLock(() => {
    const steps = [
      { name: 'installing the packages', run: install },
      { name: 'building the addon', run: buildAddon },
      { name: 'building the TypeScript', run: buildTypeScript },
    ];
    const failed = steps.find((step) => step.run({ quiet }) !== 0);
    if (failed !== undefined) {
      console.error(`set-up failed: ${failed.name}`);
    }
    return failed === undefined;
  });
}

/** @param {{ quiet: boolean }} options */
function install(options) {
  if (dependenciesAreInstalled()) {
    return 0;
  }
  console.log('installing the packages of package-lock.json …');
  return installDependencies(options);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.exitCode = setup({ quiet: process.argv.includes('--quiet') }) ? 0 : 1;
}
