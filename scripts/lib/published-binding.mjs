/**
 * The binary that is published for a target: built, its debug information taken out, and checked for what it asks of a system.
 *
 * Linux's are linked by zig, for {@link GLIBC_FLOOR} whatever this machine has; macOS' by its own tools (ADR 0025).
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { bindingProblems } from './binding-problems.mjs';
import { addonInputs } from './builds.mjs';
import { ROOT } from './paths.mjs';
import { GLIBC_FLOOR, hostTarget } from './platforms.mjs';
import { capture, run } from './run.mjs';
import { hashOf, isStamped, stamp, unstamp } from './stamp.mjs';
import { installZig, ZIG_TOOLS, zigEnvironment } from './zig-tools.mjs';

/** @typedef {import('./platforms.mjs').Target} Target */

/** What `npm run package` writes; ignored. */
export const PACKAGE_FOLDER = join(ROOT, 'target/package');
/** Binaries as they are published, by {@link bindingFile}. */
export const BINDINGS = join(PACKAGE_FOLDER, 'bindings');
/** Their debug information. */
const DEBUG = join(PACKAGE_FOLDER, 'debug');
/** Beside `target/`: other linker flags would have every crate of that compiled anew. */
const CARGO_FOLDER = join(ROOT, 'target/published');

/** The file's name, which the loader knows, too. @param {Target} target */
export function bindingFile({ name }) {
  return `pgtls.${name}.node`;
}

/** Where its debug information lies; null = macOS', which has none of its own. @param {Target} target */
export function debugFile(target) {
  return target.platform === 'linux' ? join(DEBUG, `${bindingFile(target)}.debug`) : null;
}

/** Whether the binary of a target lies there, made of what the sources are now. @param {Target} target */
export function hasPublishedBinding(target) {
  return (
    isStamped(stampName(target), inputHash()) && existsSync(join(BINDINGS, bindingFile(target)))
  );
}

/** @param {Target} target */
function stampName({ name }) {
  return `published-${name}`;
}

function inputHash() {
  const checks = ['binding-problems', 'elf', 'macho', 'published-binding'];
  const scripts = checks.map((name) => `scripts/lib/${name}.mjs`);
  return hashOf([...addonInputs(), ZIG_TOOLS, ...scripts], [GLIBC_FLOOR]);
}

/** Builds the binary of a target into {@link BINDINGS}, unless it is there; throws with the problem. @param {Target} target */
export function buildPublishedBinding(target) {
  if (hasPublishedBinding(target)) {
    return;
  }
  unstamp(stampName(target));
  console.log(`building the binding for ${target.name} …`);
  const built = compile(target);
  const file = join(BINDINGS, bindingFile(target));
  for (const folder of [BINDINGS, DEBUG]) {
    mkdirSync(folder, { recursive: true });
  }
  rmSync(file, { force: true });
  separateDebugInformation(target, built, file);
  const problems = bindingProblems(target, readFileSync(file));
  if (problems.length > 0) {
    rmSync(file);
    throw new Error(`${bindingFile(target)}: ${problems.join('; ')}`);
  }
  stamp(stampName(target), inputHash());
}

/**
 * Whether the package has to be tested here: in CI, where the tools that link it can be had. Elsewhere its tests are skipped without them.
 * @param {Readonly<Record<string, string | undefined>>} [environment]
 */
export function mustTestPackage({ CI = '' } = process.env) {
  return !['', '0', 'false'].includes(CI);
}

/**
 * Builds this machine's for the tests of the package; false when that fails, which has been said on stderr. Where the tools that link it
 * can't be had, these tests are skipped, unless they {@link mustTestPackage}.
 * @param {() => void} [install] throws when they can't @param {boolean} [mustTest]
 */
export function buildForTests(install = installZig, mustTest = mustTestPackage()) {
  try {
    install();
  } catch (error) {
    console.error(`no package is tested: ${error instanceof Error ? error.message : error}`);
    return !mustTest;
  }
  try {
    buildPublishedBinding(hostTarget());
    return true;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return false;
  }
}

/** @param {Target} target @returns {string} the library that cargo made */
function compile(target) {
  const isLinux = target.platform === 'linux';
  const triple = target.libc === 'glibc' ? `${target.triple}.${GLIBC_FLOOR}` : target.triple;
  const command = isLinux ? 'zigbuild' : 'build';
  const options = ['--release', '--locked', '-p', 'pgtls-napi', '--target', triple];
  const code = run('cargo', [command, ...options, '--target-dir', CARGO_FOLDER], {
    env: { ...(isLinux ? zigEnvironment() : {}), RUSTFLAGS: flagsFor(target).join(' ') },
  });
  if (code !== 0) {
    throw new Error(`cargo ${command} for ${target.triple} failed`);
  }
  const library = `libpgtls_napi.${isLinux ? 'so' : 'dylib'}`;
  return join(CARGO_FOLDER, target.triple, 'release', library);
}

/** The same binary wherever it is built: without this machine's paths. @param {Target} target */
function flagsFor({ libc }) {
  const cargoHome = process.env.CARGO_HOME ?? join(homedir(), '.cargo');
  return [
    `--remap-path-prefix=${cargoHome}/registry/src=crates`,
    `--remap-path-prefix=${ROOT}=pgtls`,
    // A library that Node.js loads shares its libc with it.
    ...(libc === 'musl' ? ['-C', 'target-feature=-crt-static'] : []),
  ];
}

/** @param {Target} target @param {string} built @param {string} file where it goes */
function separateDebugInformation(target, built, file) {
  const debug = debugFile(target);
  if (debug === null) {
    // Apple's, which signs what it has changed.
    demand('strip', ['-x', '-o', file, built]);
    return;
  }
  const { objcopy, env } = findObjcopy();
  demand(objcopy, ['--only-keep-debug', '--compress-debug-sections=zlib', built, debug], env);
  demand(objcopy, ['--strip-all', `--add-gnu-debuglink=${debug}`, built, file], env);
}

/** LLVM's, which knows every CPU; Rust brings it, and the library that it needs. @returns {{ objcopy: string, env: Record<string, string> }} */
function findObjcopy() {
  const sysroot = capture('rustc', ['--print', 'sysroot']).stdout.trim();
  const [, host = ''] = /^host: (.*)$/m.exec(capture('rustc', ['-vV']).stdout) ?? [];
  const ofRust = join(sysroot, 'lib/rustlib', host, 'bin/rust-objcopy');
  return existsSync(ofRust)
    ? { objcopy: ofRust, env: { LD_LIBRARY_PATH: join(sysroot, 'lib') } }
    : { objcopy: 'llvm-objcopy', env: {} };
}

/** @param {string} program @param {readonly string[]} args @param {Record<string, string>} [env] */
function demand(program, args, env = {}) {
  const { code, output } = capture(program, args, env);
  if (code !== 0) {
    throw new Error(`${program} ${args.join(' ')}: ${output}`);
  }
}
