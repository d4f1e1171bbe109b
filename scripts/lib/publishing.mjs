/**
 * Publishing a release to npm so that a run that failed half-way can be run again: what is there already, byte for byte, is left alone.
 *
 * npm never takes a version back: where other bytes have the name and version, nothing is published at all.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { capture } from './run.mjs';

/** What is published last, once the packages that its installation asks for are there. */
const MAIN = 'pgtls';

/** A packed package; `integrity` as npm states it. @typedef {{ name: string, version: string, file: string, integrity: string, needs: string[] }} Packed */

/** Under which a version is offered: a prerelease to those who ask for one only; null = npm's own choice, `latest` unless that is newer. @param {string} version */
export function distTag(version) {
  return version.includes('-') ? 'next' : null;
}

/**
 * The packages in a folder in the order in which they are published; throws unless they are pgtls with all its platforms, each of `version`.
 * @param {string} folder @param {string} version @returns {Packed[]}
 */
export function packagesIn(folder, version) {
  const packages = readdirSync(folder)
    .filter((file) => file.endsWith('.tgz'))
    // Absolute: to npm, `folder/file.tgz` is a repository on GitHub.
    .map((file) => readPacked(resolve(folder, file)))
    .sort(
      (a, b) => Number(a.name === MAIN) - Number(b.name === MAIN) || (a.name < b.name ? -1 : 1),
    );
  const names = packages.map(({ name }) => name);
  const needed = [MAIN, ...packages.flatMap(({ needs }) => needs)];
  const problems = [
    ...needed.filter((name) => !names.includes(name)).map((name) => `${name} is missing`),
    ...names.filter((name) => !needed.includes(name)).map((name) => `nobody needs ${name}`),
    ...packages
      .filter((found) => found.version !== version)
      .map((found) => `${found.name} is version ${found.version}, not ${version}`),
  ];
  if (problems.length > 0) {
    throw new Error(problems.map((problem) => `${folder}: ${problem}`).join('\n'));
  }
  return packages;
}

/** @param {string} file @returns {Packed} */
function readPacked(file) {
  const { code, stdout, output } = capture('tar', ['-xzOf', file, 'package/package.json']);
  if (code !== 0) {
    throw new Error(`${file}: ${output}`);
  }
  const { name, version, optionalDependencies = {} } = JSON.parse(stdout);
  const sum = createHash('sha512').update(readFileSync(file)).digest('base64');
  const needs = name === MAIN ? Object.keys(optionalDependencies) : [];
  return { name, version, file, integrity: `sha512-${sum}`, needs };
}

/**
 * Publishes those that are not published yet, in their order; throws at the first that can't be.
 * @param {readonly Packed[]} packages @param {readonly string[]} options of `npm publish`
 */
export function publishAll(packages, options) {
  // Before anything is published: a release of two builds is none.
  const missing = packages.filter((packed) => !isPublished(packed));
  for (const packed of packages) {
    const label = `${packed.name}@${packed.version}`;
    if (missing.includes(packed)) {
      publish(packed, options);
      console.log(`${label}: published`);
    } else {
      console.log(`${label}: is published already, with the same integrity`);
    }
  }
}

/** @param {Packed} packed @param {readonly string[]} options */
function publish(packed, options) {
  const tag = distTag(packed.version);
  const tagged = tag === null ? [] : ['--tag', tag];
  const { code, output } = capture('npm', ['publish', packed.file, ...tagged, ...options]);
  // The answer may have been lost, not the package.
  if (code !== 0 && !isPublished(packed)) {
    throw new Error(`npm publish ${packed.file}: ${output}`);
  }
}

/** Throws when the version was published with other contents, or when npm doesn't know. @param {Packed} packed */
function isPublished({ name, version, integrity }) {
  const asked = ['view', `${name}@${version}`, 'dist.integrity', '--json', '--prefer-online'];
  const { code, stdout, output } = capture('npm', asked);
  const answer = parse(stdout);
  if ((answer === null && code === 0) || answer?.error?.code === 'E404') {
    return false;
  }
  if (code !== 0) {
    throw new Error(`npm view ${name}@${version}: ${output}`);
  }
  if (answer !== integrity) {
    throw new Error(
      `${name}@${version} is published already with other contents (${answer}, not ${integrity}): run the failed jobs of its first run again, or take the next version`,
    );
  }
  return true;
}

/** null = nothing was said, or nothing that can be read. @param {string} text */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
