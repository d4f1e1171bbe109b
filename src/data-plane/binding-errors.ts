/**
 * What is said when the addon does not load (PGTLS_BINDING_MISSING): what failed in the words of whoever said it first, the machine, every place
 * that was looked at, and one remedy. docs/troubleshooting.md shows each.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PgtlsError } from '../errors.ts';
import { type LibcFamily, libcOfThisHost } from './libc.ts';

/** The platforms that packages are made for, as they are named; the same as `napi.targets` of package.json. */
export const PLATFORMS: readonly string[] = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
];

/** The oldest glibc that the packages' binaries run with. */
export const OLDEST_GLIBC = '2.28';

/** What decides which binary fits. */
export interface Machine {
  /** As `process.platform`. */
  readonly platform: string;
  /** As `process.arch`. */
  readonly architecture: string;
  /** Which C library of Linux; null = not Linux. */
  readonly libc: LibcFamily | null;
}

/** A machine, and where pgtls is on it. */
export interface BindingHost extends Machine {
  /** The folder of pgtls's own package.json. */
  readonly packageDirectory: string;
}

/** What keeps pgtls from having a binding. */
interface Obstacle {
  /** The rest of the first line. */
  readonly what: string;
  readonly remedy: string;
  readonly cause?: unknown;
}

const INSTALL_AGAIN =
  'Remove node_modules and install pgtls again on this machine, with optional dependencies: `npm install --include=optional`.';
const DAMAGED =
  'The file is damaged or made for another machine: remove node_modules and install pgtls again on this one.';
const BUILD_HERE = 'Build the binding on this machine: `npm run build:addon`.';
const MAY_READ = 'Let the user that runs pgtls read the file, and enter every folder above it.';

/** What the dynamic linkers of glibc and musl say, and what helps; the first that fits. */
const LINKER_REMEDIES: readonly (readonly [RegExp, string])[] = [
  [
    /failed to map segment|: Operation not permitted/,
    'Its file system lets nothing be run (`noexec`): install pgtls on one that does, or mount it with `exec`.',
  ],
  [/: Permission denied/, MAY_READ],
];

/** The error for an obstacle on a machine. */
export function bindingError(
  { platform, architecture }: Machine,
  { what, remedy, cause }: Obstacle,
  tried: readonly string[],
): PgtlsError {
  const lines = [
    `the native binding does not load: ${what}`,
    `platform ${platform}-${architecture}, libc ${libcOfThisHost()}, Node.js ${process.version}`,
    ...tried.map((place) => `looked for ${place}`),
    remedy,
  ];
  return new PgtlsError('PGTLS_BINDING_MISSING', lines.join('\n'), { cause });
}

/** There is no package for such a machine. */
export function unsupported({ platform }: Machine, name: string): Obstacle {
  return {
    what: `there is no binary for ${name}, only for ${PLATFORMS.join(', ')}`,
    remedy:
      platform === 'win32'
        ? 'Run pgtls under Linux: in WSL, or in a container.'
        : 'Run pgtls on one of these platforms.',
  };
}

/** The package of the platform isn't there. */
export function notInstalled(host: BindingHost, name: string): Obstacle {
  return isWorkingCopy(host)
    ? { what: 'it is not built yet', remedy: 'Build it: `npm run build:addon`.' }
    : { what: `the package ${name} is not installed`, remedy: INSTALL_AGAIN };
}

/** It is there, but its package.json cannot be read, or is none. */
export function brokenPackage(name: string, cause: unknown): Obstacle {
  const isDenied = (cause as NodeJS.ErrnoException).code === 'EACCES';
  return {
    what: `the package ${name} is damaged: ${firstLine(cause)}`,
    remedy: isDenied ? MAY_READ : INSTALL_AGAIN,
    cause,
  };
}

/** pgtls's own package.json is not above the file that runs: a bundler has copied the code elsewhere. */
export function bundled(cause?: unknown): Obstacle {
  return {
    what: "this copy of pgtls's code is not in its package",
    remedy:
      'Keep pgtls out of the bundle: mark it as external (esbuild: `--external:pgtls`; webpack: `externals`), and have it in node_modules.',
    cause,
  };
}

/** `found` is the version of `name`. */
export function otherVersion(
  host: BindingHost,
  name: string,
  found: string,
  wanted: string,
): Obstacle {
  return {
    what: `${name} is version ${found}, and pgtls is version ${wanted}`,
    remedy: isWorkingCopy(host)
      ? 'Build the binding anew: `npm run build:addon`.'
      : `Install both in one version: \`npm install --include=optional pgtls@${wanted}\`.`,
  };
}

/** Node.js, or the dynamic linker, refused the file. */
export function notOpened(host: BindingHost, cause: unknown): Obstacle {
  const what = firstLine(cause);
  return { what, remedy: remedyFor(host, cause as NodeJS.ErrnoException, what), cause };
}

function remedyFor(host: BindingHost, { code }: NodeJS.ErrnoException, what: string): string {
  if (code === 'ERR_DLOPEN_DISABLED') {
    return 'Let Node.js load addons: without `--no-addons`, and with `--allow-addons` where there is `--permission`; `NODE_OPTIONS` counts, too.';
  }
  const [, known] = LINKER_REMEDIES.find(([pattern]) => pattern.test(what)) ?? [];
  if (known !== undefined) {
    return known;
  }
  if (isWorkingCopy(host)) {
    return BUILD_HERE;
  }
  return /version [`']GLIBC_[\d.]+' not found/.test(what)
    ? `Use a system with glibc ${OLDEST_GLIBC} or newer, such as Debian 10, Ubuntu 20.04 or RHEL 8.`
    : DAMAGED;
}

/** Node.js adds where it looked for a missing file to the message, line by line. */
function firstLine(cause: unknown): string {
  const [line = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n', 1);
  return line;
}

/** Whether this is a clone of the repository: packages have no sources of the addon. */
function isWorkingCopy({ packageDirectory }: BindingHost): boolean {
  return existsSync(join(packageDirectory, 'crates/pgtls-napi/Cargo.toml'));
}
