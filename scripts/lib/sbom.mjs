/**
 * The bill of materials of a release, CycloneDX 1.5: what npm installs with pgtls, by npm, and the crates in the binaries, by cargo.
 *
 * The crates are those of every platform together; a platform's binary has some of them less.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';
import { capture } from './run.mjs';
import { SHIPPED_CRATE, shippedCrates } from './shipped-crates.mjs';

/** @typedef {import('./shipped-crates.mjs').Crate} Crate */
/** @typedef {{ 'bom-ref': string, [field: string]: unknown }} Component */
/** @typedef {{ ref: string, dependsOn: string[] }} Edges */

/** The document; throws when npm or cargo doesn't know. @returns {Record<string, any>} */
export function billOfMaterials() {
  const options = ['--sbom-format', 'cyclonedx', '--omit', 'dev', '--package-lock-only'];
  const { code, stdout, output } = capture('npm', ['sbom', ...options]);
  if (code !== 0) {
    throw new Error(`npm sbom: ${output}`);
  }
  const bill = JSON.parse(stdout);
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

/** A package URL. @param {Crate} crate */
function reference({ name, version }) {
  return `pkg:cargo/${name}@${version}`;
}

/** @param {Crate} crate @param {ReadonlyMap<string, string>} checksums @returns {Component} */
function component(crate, checksums) {
  const { name, version, license } = crate;
  const checksum = checksums.get(`${name} ${version}`);
  return {
    'bom-ref': reference(crate),
    type: 'library',
    name,
    version,
    scope: 'required',
    purl: reference(crate),
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
