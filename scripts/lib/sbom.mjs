/**
 * The bill of materials of a release, CycloneDX 1.5: what npm installs with pgtls, by npm, and the crates in the binaries, by cargo.
 *
 * The crates are those of every platform together; a platform's binary has some of them less.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';
import { capture } from './run.mjs';
import { SHIPPED_CRATE, shippedCrates } from './shipped-crates.mjs';

/** @typedef {import('./shipped-crates.mjs').Crate} Crate */
/** @typedef {{ 'bom-ref': string, [field: string]: unknown }} Component */
/** @typedef {{ ref: string, dependsOn: string[] }} Edges */

/** The document; throws when npm or cargo doesn't know. @returns {Record<string, any>} */
export function billOfMaterials() {
  const bill = npmBill();
  // npm takes the folder's name.
  bill.metadata.component.name = 'pgtls';
  const checksums = lockedChecksums();
  const crates = shippedCrates();
  const references = new Map(crates.map((crate) => [crate.id, reference(crate)]));
  const root = bill.metadata.component['bom-ref'];
  const addon = crates.find(({ name }) => name === SHIPPED_CRATE);
  return {
    ...bill,
    components: [...bill.components, ...crates.map((crate) => component(crate, checksums))],
    dependencies: [
      ...bill.dependencies.map((/** @type {Edges} */ edges) =>
        edges.ref === root && addon !== undefined
          ? { ...edges, dependsOn: [...edges.dependsOn, reference(addon)] }
          : edges,
      ),
      ...crates.map((crate) => ({
        ref: reference(crate),
        dependsOn: crate.dependsOn.flatMap((id) => references.get(id) ?? []),
      })),
    ],
  };
}

/**
 * npm's part, from the lock file without what is for development: npm's own `--omit dev` leaves out also what is shipped when
 * a development dependency needs it, too.
 * @returns {Record<string, any>}
 */
function npmBill() {
  const folder = mkdtempSync(join(tmpdir(), 'pgtls-sbom-'));
  try {
    const manifest = readJson('package.json');
    const lock = readJson('package-lock.json');
    for (const root of [manifest, lock.packages['']]) {
      delete root.devDependencies;
    }
    const shipped = Object.entries(lock.packages).filter(([, { dev }]) => dev !== true);
    const shippedLock = { ...lock, packages: Object.fromEntries(shipped) };
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(shippedLock));
    const options = ['--sbom-format', 'cyclonedx', '--package-lock-only', '--prefix', folder];
    const { code, stdout, output } = capture('npm', ['sbom', ...options]);
    if (code !== 0) {
      throw new Error(`npm sbom: ${output}`);
    }
    return JSON.parse(stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @param {string} path */
function readJson(path) {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
}

/** How the document names a crate: by its package URL where it has one. @param {Crate} crate */
function reference({ name, version, isOurs }) {
  return `${isOurs ? '' : 'pkg:cargo/'}${name}@${version}`;
}

/** @param {Crate} crate @param {ReadonlyMap<string, string>} checksums @returns {Component} */
function component(crate, checksums) {
  const { name, version, license, isOurs } = crate;
  const checksum = checksums.get(`${name} ${version}`);
  return {
    'bom-ref': reference(crate),
    type: 'library',
    name,
    version,
    scope: 'required',
    // Of a registry's only: ours are in none.
    ...(isOurs ? {} : { purl: reference(crate) }),
    ...(checksum === undefined ? {} : { hashes: [{ alg: 'SHA-256', content: checksum }] }),
    // A slash is an old spelling of OR, which SPDX doesn't know.
    ...(license === null ? {} : { licenses: [{ expression: license.replaceAll('/', ' OR ') }] }),
  };
}

/** Of Cargo.lock, by name and version; our own have none. @returns {Map<string, string>} */
function lockedChecksums() {
  const text = readFileSync(join(ROOT, 'Cargo.lock'), 'utf8');
  const entry = /^name = "(.*)"\nversion = "(.*)"\nsource = .*\nchecksum = "(.*)"$/gm;
  return new Map(
    [...text.matchAll(entry)].map(([, name, version, sum = '']) => [`${name} ${version}`, sum]),
  );
}
