/** The Rust crates that the addon is built of or with, from `cargo metadata`: for every platform, tests' left out. */
import { capture } from './run.mjs';

/** @typedef {{ id: string, name: string, version: string, license: string | null, isOurs: boolean, dependsOn: string[] }} Crate */
/** @typedef {{ pkg: string, dep_kinds: { kind: string | null }[] }} Edge */
/** @typedef {{ id: string, name: string, version: string, license: string | null }} Package */

/** The crate that becomes the addon. */
export const SHIPPED_CRATE = 'pgtls-napi';

/** Throws what cargo says when it doesn't. @returns {Crate[]} by name and version */
export function shippedCrates() {
  const options = ['--format-version', '1', '--locked', '--quiet'];
  const { code, stdout, output } = capture('cargo', ['metadata', ...options]);
  if (code !== 0) {
    throw new Error(`cargo metadata: ${output}`);
  }
  /** @type {{ packages: Package[], resolve: { nodes: { id: string, deps: Edge[] }[] }, workspace_members: string[] }} */
  const { packages, resolve, workspace_members: ours } = JSON.parse(stdout);
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
