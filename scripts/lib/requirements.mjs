/** What must be there before anything can be set up: Node.js, cargo, a C compiler. */
import { readFileSync } from 'node:fs';
import { ROOT } from './paths.mjs';
import { capture } from './run.mjs';

const NODE_MINIMUM = '20.19';

/** One line for each thing that is missing: what, and how to get it. @returns {string[]} */
export function missingRequirements() {
  const missing = [];
  if (isOlder(process.versions.node, NODE_MINIMUM)) {
    missing.push(
      `Node.js ${NODE_MINIMUM} or newer is needed, this is ${process.versions.node}: install it from https://nodejs.org`,
    );
  }
  const cargo = capture('cargo', ['--version']);
  const problem = cargoProblem(cargo.code === 0 ? cargo.stdout : null, rustMinimum());
  if (problem !== null) {
    missing.push(problem);
  }
  if (!runs(process.env.CC ?? 'cc')) {
    missing.push(
      `a C compiler (${process.env.CC ?? 'cc'}) is missing: install build-essential (Debian, Ubuntu), gcc (Fedora), build-base (Alpine) or the Xcode command line tools (macOS)`,
    );
  }
  return missing;
}

/**
 * What is wrong with the Rust toolchain; null = nothing.
 * @param {string | null} version what `cargo --version` says, null = it doesn't run @param {string} minimum
 * @returns {string | null}
 */
export function cargoProblem(version, minimum) {
  if (version === null) {
    return 'cargo (the Rust toolchain) is missing: install it with rustup from https://rustup.rs';
  }
  const [, number = ''] = /^cargo (\d+\.\d+(\.\d+)?)/.exec(version) ?? [];
  return number !== '' && isOlder(number, minimum)
    ? `Rust ${minimum} or newer is needed, this is ${number}: rustup update stable, or rustup from https://rustup.rs instead of the system's package`
    : null;
}

/** `rust-version` of Cargo.toml. */
function rustMinimum() {
  const [, version = '0'] =
    /^rust-version = "([\d.]+)"/m.exec(readFileSync(`${ROOT}/Cargo.toml`, 'utf8')) ?? [];
  return version;
}

/** @param {string} version @param {string} minimum by major and minor */
function isOlder(version, minimum) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = minimum.split('.').map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

/** @param {string} command */
function runs(command) {
  return capture(command, ['--version']).code === 0;
}
