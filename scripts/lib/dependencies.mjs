/** node_modules, compared with package-lock.json, and installed anew when they differ. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';
import { run } from './run.mjs';

/** @typedef {{ version?: string, integrity?: string, optional?: boolean, link?: boolean }} LockedPackage */

/**
 * Whether every package of package-lock.json is installed in exactly its version, by npm's own record of what it put into
 * node_modules. Optional packages may be absent: they belong to other platforms.
 */
export function dependenciesAreInstalled() {
  const wanted = packagesIn('package-lock.json');
  const installed = packagesIn('node_modules/.package-lock.json');
  if (wanted === null || installed === null) {
    return false;
  }
  return Object.entries(wanted).every(([path, entry]) => {
    const present = installed[path];
    if (path === '' || (present === undefined && entry.optional === true)) {
      return true;
    }
    return (
      present !== undefined &&
      present.version === entry.version &&
      present.integrity === entry.integrity &&
      existsSync(join(ROOT, path, 'package.json'))
    );
  });
}

/**
 * Installs the versions of package-lock.json without changing it; the answer is npm's exit code.
 *
 * Not `npm ci`: that refuses a lock file in which an optional package of another platform is missing, and a registry that doesn't
 * carry every platform's packages makes such lock files.
 * @param {{ quiet: boolean }} options
 */
export function installDependencies({ quiet }) {
  const args = ['install', '--no-save', '--include=dev', '--include=optional'];
  return run('npm', [...args, '--no-audit', '--no-fund'], { quiet });
}

/** @param {string} file @returns {Record<string, LockedPackage> | null} */
function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(join(ROOT, file), 'utf8')).packages;
  } catch {
    return null;
  }
}
