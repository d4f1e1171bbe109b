/**
 * The packages that are published: pgtls itself, and one for each platform that has nothing but its binary (ADR 0025).
 *
 * They are put together in an ignored folder. Only there pgtls has the platforms' packages as optional dependencies: in the repository's
 * own package.json they would have to be in its lock file, and so in the registry, before they can be published.
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { ROOT } from './paths.mjs';
import { targets } from './platforms.mjs';
import { BINDINGS, bindingFile, PACKAGE_FOLDER } from './published-binding.mjs';
import { capture } from './run.mjs';
import { THIRD_PARTY_LICENCES, thirdPartyLicences } from './third-party-licences.mjs';

/** @typedef {import('./platforms.mjs').Target} Target */

/** Where the packages lie as folders: `pgtls`, and `npm/<platform>` with or without its binary. */
export const STAGE = join(PACKAGE_FOLDER, 'stage');
/** Where they lie as npm packs them. */
export const TARBALLS = join(PACKAGE_FOLDER, 'tarballs');

/** What one platform's package may have, packed. */
const MOST_PACKED_BYTES = 3_000_000;
const LICENCES = ['LICENSE-APACHE', 'LICENSE-MIT'];
/** Of package.json: what is for working on pgtls. */
const NOT_PUBLISHED = ['devDependencies', 'scripts', 'napi'];

/** A package's name by its platform, such as `@pgtls/linux-x64-gnu`. @param {Target} target */
export function packageName({ name }) {
  return `@pgtls/${name}`;
}

/**
 * Packs pgtls and the platforms whose binaries are built; throws with the problem.
 * @param {{ repository: string | null }} options @returns {string[]} the tarballs, pgtls' last
 */
export function packAll({ repository }) {
  rmSync(STAGE, { recursive: true, force: true });
  rmSync(TARBALLS, { recursive: true, force: true });
  mkdirSync(STAGE, { recursive: true });
  mkdirSync(TARBALLS, { recursive: true });
  const built = readdirSync(BINDINGS);
  const ready = targets().filter((target) => built.includes(bindingFile(target)));
  const origin =
    repository === null ? {} : { repository: { type: 'git', url: `git+${repository}.git` } };
  const folders = [...stagePlatforms(ready, origin), stageMain(origin)];
  return folders.map(pack);
}

/** By @napi-rs/cli, which knows what os, cpu and libc of a target are. @param {readonly Target[]} ready @param {object} origin */
function stagePlatforms(ready, origin) {
  const manifest = readManifest(ROOT);
  writeManifest(STAGE, manifest);
  command(join(ROOT, 'node_modules/.bin/napi'), ['create-npm-dirs', '--cwd', STAGE]);
  // It demands the binaries of all targets.
  const napi = { ...manifest.napi, targets: ready.map(({ triple }) => triple) };
  writeManifest(STAGE, { ...manifest, napi });
  command(join(ROOT, 'node_modules/.bin/napi'), [
    'artifacts',
    '--cwd',
    STAGE,
    '--output-dir',
    BINDINGS,
  ]);
  for (const target of targets()) {
    const folder = join(STAGE, 'npm', target.name);
    const name = packageName(target);
    const description = `The native part of pgtls for ${target.name}`;
    const made = readManifest(folder);
    const files = [...made.files, ...LICENCES, THIRD_PARTY_LICENCES];
    writeManifest(folder, { ...made, name, description, files, ...origin });
    writeFileSync(
      join(folder, 'README.md'),
      `# ${name}\n\n${description}. npm installs it with pgtls.\n`,
    );
    copyLicences(folder);
  }
  for (const target of ready) {
    const text = thirdPartyLicences(target);
    writeFileSync(join(STAGE, 'npm', target.name, THIRD_PARTY_LICENCES), text);
  }
  return ready.map(({ name }) => join(STAGE, 'npm', name));
}

/** @param {object} origin */
function stageMain(origin) {
  const folder = join(STAGE, 'pgtls');
  const [{ files }] = JSON.parse(
    command('npm', ['pack', '--dry-run', '--json', '--ignore-scripts']),
  );
  for (const { path } of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(ROOT, path), join(folder, path));
  }
  writeManifest(folder, { ...publishedManifest(readManifest(ROOT)), ...origin });
  return folder;
}

/**
 * package.json as it is published.
 * @param {Record<string, unknown>} manifest @returns {Record<string, unknown>}
 */
function publishedManifest(manifest) {
  const kept = Object.entries(manifest).filter(([key]) => !NOT_PUBLISHED.includes(key));
  const platforms = targets().map((target) => [packageName(target), manifest.version]);
  return { ...Object.fromEntries(kept), optionalDependencies: Object.fromEntries(platforms) };
}

/** @param {string} folder @returns {string} the tarball */
function pack(folder) {
  const output = command('npm', [
    'pack',
    folder,
    '--json',
    '--ignore-scripts',
    '--pack-destination',
    TARBALLS,
  ]);
  const [{ filename, unpackedSize }] = JSON.parse(output);
  const tarball = join(TARBALLS, basename(filename));
  compressAgain(tarball);
  const { size } = statSync(tarball);
  console.log(`${basename(filename)}: ${size} bytes, ${unpackedSize} unpacked`);
  if (size > MOST_PACKED_BYTES) {
    throw new Error(`${tarball} is larger than ${MOST_PACKED_BYTES} bytes`);
  }
  return tarball;
}

/** By gzip, which finds more to save than the zlib of Node.js: two per cent of a binary. @param {string} tarball */
function compressAgain(tarball) {
  const input = gunzipSync(readFileSync(tarball));
  const options = { input, maxBuffer: input.length };
  writeFileSync(tarball, execFileSync('gzip', ['-9', '--no-name', '--stdout'], options));
}

/** @param {string} folder */
function copyLicences(folder) {
  for (const file of LICENCES) {
    copyFileSync(join(ROOT, file), join(folder, file));
  }
}

/** @param {string} folder */
function readManifest(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}

/** @param {string} folder @param {object} manifest */
function writeManifest(folder, manifest) {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** @param {string} program @param {readonly string[]} args @returns {string} its stdout */
function command(program, args) {
  const { code, stdout, output } = capture(program, args);
  if (code !== 0) {
    throw new Error(`${program} ${args.join(' ')}: ${output}`);
  }
  return stdout;
}
