/** The Rust crates that the addon is built of or with: for every platform from `cargo metadata`, tests' left out, and those linked for one. */
import { dirname } from 'node:path';
import { capture } from './run.mjs';

/** @typedef {{ id: string, name: string, version: string, license: string | null, isOurs: boolean, dependsOn: string[] }} Crate */
/** One whose code is in a binary; its sources lie in `folder`. @typedef {{ name: string, version: string, license: string | null, repository: string | null, folder: string }} LinkedCrate */
/** @typedef {{ pkg: string, dep_kinds: { kind: string | null }[] }} Edge */
/** @typedef {{ id: string, name: string, version: string, license: string | null, repository: string | null, manifest_path: string }} Package */
/** @typedef {{ packages: Package[], resolve: { nodes: { id: string, deps: Edge[] }[] }, workspace_members: string[] }} Metadata */

/** The crate that becomes the addon. */
export const SHIPPED_CRATE = 'pgtls-napi';

/** Throws what cargo says when it doesn't. @returns {Crate[]} by name and version */
export function shippedCrates() {
  const { packages, resolve, workspace_members: ours } = metadata();
  const edges = new Map(
    resolve.nodes.map(({ id, deps }) => [id, deps.filter(isBuiltIn).map(({ pkg }) => pkg)]),
  );
  const found = new Set([packages.find(({ name }) => name === SHIPPED_CRATE)?.id ?? '']);
  // A set goes through what is added while it is gone through.
  for (const id of found) {
    for (const dependency of edges.get(id) ?? []) {
      found.add(dependency);
    }
  }
  return packages
    .filter(({ id }) => found.has(id))
    .map(({ id, name, version, license }) => ({
      id,
      name,
      version,
      license,
      isOurs: ours.includes(id),
      dependsOn: edges.get(id) ?? [],
    }))
    .sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1));
}

/** @param {Edge} edge */
function isBuiltIn({ dep_kinds: kinds }) {
  return kinds.some(({ kind }) => kind !== 'dev');
}

/**
 * What is linked into the binary for a target, ours left out: fewer than {@link shippedCrates}, which has all features that anything in the
 * workspace asks for. Throws what cargo says when it doesn't know.
 * @param {string} triple @returns {LinkedCrate[]} by name and version
 */
export function linkedCrates(triple) {
  const options = ['--locked', '--package', SHIPPED_CRATE, '--target', triple, '--prefix', 'none'];
  const tree = cargo(['tree', ...options, '--edges', 'normal,no-proc-macro']);
  const linked = new Set(
    [...tree.matchAll(/^(\S+) v(\S+)/gm)].map(([, name, version]) => `${name} ${version}`),
  );
  const { packages, workspace_members: ours } = metadata();
  return packages
    .filter(({ id, name, version }) => linked.has(`${name} ${version}`) && !ours.includes(id))
    .map(({ name, version, license, repository, manifest_path: manifest }) => ({
      name,
      version,
      license,
      repository,
      folder: dirname(manifest),
    }))
    .sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1));
}

/** @returns {Metadata} */
function metadata() {
  return JSON.parse(cargo(['metadata', '--format-version', '1', '--locked', '--quiet']));
}

/** @param {readonly string[]} args @returns {string} its stdout */
function cargo(args) {
  const { code, stdout, output } = capture('cargo', args);
  if (code !== 0) {
    throw new Error(`cargo ${args[0]}: ${output}`);
  }
  return stdout;
}
