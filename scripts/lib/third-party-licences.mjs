/**
 * THIRD-PARTY-LICENSES of a platform's package: the licence texts of everything that is linked into its binary, each text once, with the crates
 * that it is of. Out of the crates' own sources, as cargo has them; the same text for the same lock file, on any machine.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ROOT } from './paths.mjs';
import { linkedCrates } from './shipped-crates.mjs';

/** @typedef {import('./platforms.mjs').Target} Target */
/** @typedef {import('./shipped-crates.mjs').LinkedCrate} LinkedCrate */
/** @typedef {{ owner: string, text: string }} Licence */

/** Its name in a package. */
export const THIRD_PARTY_LICENCES = 'THIRD-PARTY-LICENSES';

const LICENCE_FILE = /^(un)?licen[cs]e|^(copying|copyright|notice)/i;
/** Folders of a crate that nothing is linked from. */
const NOT_LINKED = /^(tests?|examples|benches|target|\.git)$/;

/** Texts for crates that are published without any, by their repository. @type {Readonly<Record<string, string>>} */
const TEXTS_OF_REPOSITORIES = {
  'https://github.com/napi-rs/napi-rs': 'napi-rs.txt',
};

/** What is linked in beside crates. */
const RUST = { owner: 'the Rust standard library', file: 'rust-standard-library.txt' };
const LLVM = { owner: "LLVM's libunwind and compiler-rt", file: 'llvm.txt' };

/** The file's contents; throws when the text of a crate is nowhere. @param {Target} target @param {readonly LinkedCrate[]} [crates] */
export function thirdPartyLicences(target, crates = linkedCrates(target.triple)) {
  const beside = [RUST, ...(target.platform === 'linux' ? [LLVM] : [])];
  const licences = [
    ...beside.map(({ owner, file }) => ({ owner, text: ownText(file) })),
    ...crates.flatMap((crate) => licencesOf(crate, crates)),
  ];
  return [
    `The native part of pgtls for ${target.name} is linked with what is listed here, under these licences.\n`,
    ...grouped(licences).map(({ owners, text }) => `${owners.join('\n')}\n\n${text}\n`),
  ].join(`\n${'-'.repeat(80)}\n\n`);
}

/** @param {LinkedCrate} crate @param {readonly LinkedCrate[]} crates @returns {Licence[]} */
function licencesOf(crate, crates) {
  const owner = `${crate.name} ${crate.version} (${crate.license})`;
  const texts = textsOf(crate, crates);
  if (texts.length === 0) {
    throw new Error(
      `${owner} has no licence text: put that of ${crate.repository} into scripts/licences`,
    );
  }
  return texts.map((text) => ({ owner, text }));
}

/** Its own, or those of another crate of its repository. @param {LinkedCrate} crate @param {readonly LinkedCrate[]} crates */
function textsOf({ folder, repository }, crates) {
  const siblings = crates.filter((other) => repository !== null && other.repository === repository);
  const found = [folder, ...siblings.map((other) => other.folder)].map(licenceTexts);
  const file = TEXTS_OF_REPOSITORIES[repository ?? ''];
  return found.find((texts) => texts.length > 0) ?? (file === undefined ? [] : [ownText(file)]);
}

/** @param {string} folder */
function licenceTexts(folder) {
  return licenceFiles(folder)
    .sort((a, b) => (relative(folder, a) < relative(folder, b) ? -1 : 1))
    .map((file) => tidy(readFileSync(file, 'utf8')));
}

/** Also those of what a crate brings along, deeper down. @param {string} folder @returns {string[]} */
function licenceFiles(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      return NOT_LINKED.test(entry.name) ? [] : licenceFiles(path);
    }
    return LICENCE_FILE.test(entry.name) && !/\.(rs|go|py|c|h)$/.test(entry.name) ? [path] : [];
  });
}

/** @param {string} file */
function ownText(file) {
  return tidy(readFileSync(join(ROOT, 'scripts/licences', file), 'utf8'));
}

/** @param {string} text */
function tidy(text) {
  return text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .replace(/^\n+|\n+$/g, '');
}

/**
 * Texts that differ in nothing but how their lines are broken become one; alike ones lie side by side, which packs well.
 * @param {readonly Licence[]} licences @returns {{ owners: string[], text: string }[]}
 */
function grouped(licences) {
  /** @type {Map<string, { owners: Set<string>, text: string }>} */
  const groups = new Map();
  for (const { owner, text } of licences) {
    const words = text.replace(/\s+/g, ' ').replaceAll('https://', 'http://');
    const group = groups.get(words) ?? { owners: new Set(), text };
    group.owners.add(owner);
    groups.set(words, group);
  }
  return [...groups.values()]
    .map(({ owners, text }) => ({ owners: [...owners].sort(), text }))
    .sort((a, b) => a.text.length - b.text.length || (a.text < b.text ? -1 : 1));
}
