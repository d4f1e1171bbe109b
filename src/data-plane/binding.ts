/**
 * The addon's loader: finds the binary made for this machine, refuses one of another version, and says what is wrong otherwise.
 *
 * A working copy has the binary beside the addon's types; an installed pgtls has it in `@pgtls/<platform>`, an optional dependency
 * of which npm installs the one that fits (ADR 0025). Used by data-plane.ts only.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { PgtlsError } from '../errors.ts';

/** The platforms that packages are made for, as they are named; the same as `napi.targets` of package.json. */
export const PLATFORMS: readonly string[] = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
];

/** The path of musl, which is dynamic linker and C library in one. */
const MUSL = /\/\S*\/(ld-musl-|libc\.musl-)\S+/;

/** The oldest glibc that the packages' binaries run with. */
export const OLDEST_GLIBC = '2.28';

/** What decides which binary fits. */
export interface BindingHost {
  /** As `process.platform`. */
  readonly platform: string;
  /** As `process.arch`. */
  readonly architecture: string;
  /** Which C library of Linux; null = not Linux. */
  readonly libc: 'gnu' | 'musl' | null;
  /** The folder of pgtls's own package.json. */
  readonly packageDirectory: string;
}

/** A loaded addon. */
export interface LoadedBinding<Native> {
  readonly binding: Native;
  readonly file: string;
}

/** A binary that might be loaded; `version` null = only the binary itself knows. */
interface Candidate {
  readonly name: string;
  readonly file: string;
  readonly version: string | null;
}

/** What keeps pgtls from having a binding. */
interface Obstacle {
  /** The first line: what failed, in the words of whoever said it first. */
  readonly what: string;
  readonly remedy: string;
  readonly cause?: unknown;
}

/** The machine that this process runs on. */
export function thisHost(): BindingHost {
  const require = createRequire(import.meta.url);
  return {
    platform: process.platform,
    architecture: process.arch,
    libc: libcFamily(),
    // By package.json's `imports`: the same from src/ and from wherever the bundle in dist/ puts this file.
    packageDirectory: dirname(require.resolve('#package')),
  };
}

/** Loads the binary that fits `host`; throws PGTLS_BINDING_MISSING, whose message has everything that a report of it needs. */
export function loadBindingFor<Native extends { buildInfo(): { version: string } }>(
  host: BindingHost,
): LoadedBinding<Native> {
  const platform = platformName(host);
  if (!PLATFORMS.includes(platform)) {
    throw failure(host, unsupported(host, platform), []);
  }
  const places = placesFor(host, platform);
  const candidate = places.local ?? places.installed;
  if (candidate === null) {
    throw failure(host, notInstalled(host, platform), places.tried);
  }
  const { version: wanted } = readManifest(host.packageDirectory);
  const refuse = (version: string) => {
    throw failure(host, otherVersion(host, candidate.name, version, wanted), places.tried);
  };
  if (candidate.version !== null && candidate.version !== wanted) {
    refuse(candidate.version);
  }
  const binding = open<Native>(host, candidate.file, places.tried);
  const { version } = binding.buildInfo();
  if (version !== wanted) {
    refuse(version);
  }
  return { binding, file: candidate.file };
}

/** As the packages are named, such as `linux-x64-gnu`. */
function platformName({ platform, architecture, libc }: BindingHost): string {
  return [platform, architecture, ...(libc === null ? [] : [libc])].join('-');
}

interface Places {
  readonly local: Candidate | null;
  readonly installed: Candidate | null;
  /** One line for each place, for the message. */
  readonly tried: readonly string[];
}

function placesFor({ packageDirectory }: BindingHost, platform: string): Places {
  const file = join(packageDirectory, 'crates/pgtls-napi/binding', `pgtls.${platform}.node`);
  const local = existsSync(file) ? { name: file, file, version: null } : null;
  const name = `@pgtls/${platform}`;
  const require = createRequire(`${packageDirectory}/package.json`);
  const folders = require.resolve.paths(name) ?? [];
  return {
    local,
    installed: installedCandidate(require, name),
    tried: [file, `${name} in ${folders.join(', ')}`],
  };
}

function installedCandidate(require: NodeJS.Require, name: string): Candidate | null {
  let directory: string;
  try {
    directory = dirname(require.resolve(`${name}/package.json`));
  } catch {
    return null;
  }
  const { version, main } = readManifest(directory);
  return { name, version, file: join(directory, main) };
}

function readManifest(directory: string): { version: string; main: string } {
  return JSON.parse(readFileSync(`${directory}/package.json`, 'utf8'));
}

function open<Native>(host: BindingHost, file: string, tried: readonly string[]): Native {
  try {
    return createRequire(import.meta.url)(file);
  } catch (cause) {
    // Node.js adds where it looked for a missing file to the message, line by line.
    const [what = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n', 1);
    throw failure(host, { what, remedy: remedyFor(host, what), cause }, tried);
  }
}

function remedyFor(host: BindingHost, loaderMessage: string): string {
  if (/version [`']GLIBC_[\d.]+' not found/.test(loaderMessage)) {
    return isWorkingCopy(host)
      ? 'Build the binding on this machine: `npm run build:addon`.'
      : `Use a system with glibc ${OLDEST_GLIBC} or newer, such as Debian 10, Ubuntu 20.04 or RHEL 8.`;
  }
  return isWorkingCopy(host)
    ? 'Build the binding on this machine: `npm run build:addon`.'
    : 'The file is damaged or made for another machine: remove node_modules and install pgtls again on this one.';
}

function unsupported(host: BindingHost, platform: string): Obstacle {
  return {
    what: `there is no binary for ${platform}, only for ${PLATFORMS.join(', ')}`,
    remedy:
      host.platform === 'win32'
        ? 'Run pgtls under Linux: in WSL, or in a container.'
        : 'Run pgtls on one of these platforms.',
  };
}

function notInstalled(host: BindingHost, platform: string): Obstacle {
  return isWorkingCopy(host)
    ? {
        what: 'it is not built yet',
        remedy: 'Build it: `npm run build:addon`.',
      }
    : {
        what: `the package @pgtls/${platform} is not installed`,
        remedy:
          'Remove node_modules and install pgtls again on this machine, with optional dependencies: `npm install --include=optional`.',
      };
}

function otherVersion(host: BindingHost, name: string, version: string, wanted: string): Obstacle {
  return {
    what: `${name} is version ${version}, and pgtls is version ${wanted}`,
    remedy: isWorkingCopy(host)
      ? 'Build the binding anew: `npm run build:addon`.'
      : `Install both in one version: \`npm install --include=optional pgtls@${wanted}\`.`,
  };
}

/** Whether this is a clone of the repository: packages have no sources of the addon. */
function isWorkingCopy({ packageDirectory }: BindingHost): boolean {
  return existsSync(join(packageDirectory, 'crates/pgtls-napi/Cargo.toml'));
}

function failure(host: BindingHost, obstacle: Obstacle, tried: readonly string[]): PgtlsError {
  const { what, remedy, cause } = obstacle;
  const { platform, architecture } = host;
  const lines = [
    `the native binding does not load: ${what}`,
    `platform ${platform}-${architecture}, libc ${libcOfThisHost()}, Node.js ${process.version}`,
    ...tried.map((place) => `looked for ${place}`),
    remedy,
  ];
  return new PgtlsError('PGTLS_BINDING_MISSING', lines.join('\n'), { cause });
}

/** By the libraries that this process has open: a diagnostic report takes milliseconds more. */
function libcFamily(): BindingHost['libc'] {
  if (process.platform !== 'linux') {
    return null;
  }
  const libraries = openLibraries();
  const isGlibc = libraries === '' ? glibcVersion() !== null : !MUSL.test(libraries);
  return isGlibc ? 'gnu' : 'musl';
}

/** The C library and its version, as far as it can be known. */
export function libcOfThisHost(): string {
  if (process.platform !== 'linux') {
    return 'of the system';
  }
  const glibc = glibcVersion();
  return glibc === null ? `musl${muslVersion()}` : `glibc ${glibc}`;
}

function glibcVersion(): string | null {
  const { report } = process;
  // Otherwise it looks up the names of all peers.
  Reflect.set(report, 'excludeNetwork', true);
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime ?? null;
}

/** With a blank in front; musl's dynamic linker says it when it is run by itself. */
function muslVersion(): string {
  const [linker = 'ldd'] = MUSL.exec(openLibraries()) ?? [];
  const { stderr } = spawnSync(linker, { encoding: 'utf8' });
  const [, version] = /^Version (\S+)/m.exec(stderr ?? '') ?? [];
  return version === undefined ? '' : ` ${version}`;
}

/** Memory map of this process, with the path of every library in it; empty when it cannot be read. */
function openLibraries(): string {
  try {
    return readFileSync('/proc/self/maps', 'latin1');
  } catch {
    return '';
  }
}
