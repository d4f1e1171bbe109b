/**
 * The addon's loader: finds the binary made for this machine, refuses one of another version, and says what is wrong otherwise.
 *
 * A working copy has the binary beside the addon's types; an installed pgtls has it in `@pgtls/<platform>`, an optional dependency
 * of which npm installs the one that fits (ADR 0025). Used by data-plane.ts only.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import {
  type BindingHost,
  bindingError,
  brokenPackage,
  bundled,
  type Machine,
  notInstalled,
  notOpened,
  otherVersion,
  PLATFORMS,
  unsupported,
} from './binding-errors.ts';
import { libcFamily } from './libc.ts';

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

/** What package.json says; `main` null = nothing is named. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly main: string | null;
}

/** The machine that this process runs on, and pgtls there; throws PGTLS_BINDING_MISSING when `module` lies in no package of pgtls. */
export function thisHost(module: string = import.meta.url): BindingHost {
  const { platform, arch } = process;
  const libc = platform === 'linux' ? libcFamily() : null;
  const machine = { platform, architecture: arch, libc };
  return { ...machine, packageDirectory: packageDirectory(machine, module) };
}

/** By package.json's `imports`: the same from src/ and from wherever the bundle in dist/ puts this file. */
function packageDirectory(machine: Machine, module: string): string {
  let file: string;
  let manifest: Manifest;
  const tried = [`the package.json of pgtls above ${module}`];
  try {
    file = createRequire(module).resolve('#package');
    manifest = readManifest(file);
  } catch (cause) {
    throw bindingError(machine, bundled(cause), tried);
  }
  if (manifest.name !== 'pgtls') {
    throw bindingError(machine, bundled(), tried);
  }
  return dirname(file);
}

/** Loads the binary that fits `host`; throws PGTLS_BINDING_MISSING, whose message has everything that a report of it needs. */
export function loadBindingFor<Native extends { buildInfo(): { version: string } }>(
  host: BindingHost,
): LoadedBinding<Native> {
  const platform = platformName(host);
  if (!PLATFORMS.includes(platform)) {
    throw bindingError(host, unsupported(host, platform), []);
  }
  const tried = placesFor(host, platform);
  const { version: wanted } = readManifest(`${host.packageDirectory}/package.json`);
  const { name, file, version } = candidateFor(host, platform, tried);
  if (version !== null && version !== wanted) {
    throw bindingError(host, otherVersion(host, name, version, wanted), tried);
  }
  const binding = open<Native>(host, file, tried);
  const { version: built } = binding.buildInfo();
  if (built !== wanted) {
    throw bindingError(host, otherVersion(host, name, built, wanted), tried);
  }
  return { binding, file };
}

/** As the packages are named, such as `linux-x64-gnu`. */
function platformName({ platform, architecture, libc }: Machine): string {
  return [platform, architecture, ...(libc === null ? [] : [libc])].join('-');
}

/** One line for each place, for the message. */
function placesFor(host: BindingHost, platform: string): string[] {
  const name = `@pgtls/${platform}`;
  const folders = requireOf(host).resolve.paths(name) ?? [];
  return [localFile(host, platform), `${name} in ${folders.join(', ')}`];
}

/** Beside the addon's types, where a clone has it. */
function localFile({ packageDirectory }: BindingHost, platform: string): string {
  return join(packageDirectory, 'crates/pgtls-napi/binding', `pgtls.${platform}.node`);
}

/** As a file of pgtls would call it. */
function requireOf({ packageDirectory }: BindingHost): NodeJS.Require {
  return createRequire(`${packageDirectory}/package.json`);
}

function candidateFor(host: BindingHost, platform: string, tried: readonly string[]): Candidate {
  const local = localFile(host, platform);
  if (existsSync(local)) {
    return { name: local, file: local, version: null };
  }
  const name = `@pgtls/${platform}`;
  try {
    const manifest = requireOf(host).resolve(`${name}/package.json`);
    const { version, main } = readManifest(manifest);
    if (main === null) {
      throw new TypeError(`${manifest} names no binary`);
    }
    return { name, version, file: join(dirname(manifest), main) };
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const isMissing = code === 'MODULE_NOT_FOUND';
    const obstacle = isMissing ? notInstalled(host, name) : brokenPackage(name, cause);
    throw bindingError(host, obstacle, tried);
  }
}

/** Throws when the file is no package.json. */
function readManifest(file: string): Manifest {
  const { name, version, main } = JSON.parse(readFileSync(file, 'utf8'));
  if (typeof name !== 'string' || typeof version !== 'string') {
    throw new TypeError(`${file} names no package and version`);
  }
  return { name, version, main: typeof main === 'string' ? main : null };
}

function open<Native>(host: BindingHost, file: string, tried: readonly string[]): Native {
  try {
    return createRequire(import.meta.url)(file);
  } catch (cause) {
    throw bindingError(host, notOpened(host, cause), tried);
  }
}
