/** What must be there before anything can be set up: Node.js, cargo, a C compiler. */
import { capture } from './run.mjs';

const NODE_MINIMUM = [20, 19];

/** One line for each thing that is missing: what, and how to get it. @returns {string[]} */
export function missingRequirements() {
  const missing = [];
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = NODE_MINIMUM;
  if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
    missing.push(
      `Node.js ${NODE_MINIMUM.join('.')} or newer is needed, this is ${process.versions.node}: install it from https://nodejs.org`,
    );
  }
  if (!runs('cargo')) {
    missing.push(
      'cargo (the Rust toolchain) is missing: install it with rustup from https://rustup.rs',
    );
  }
  if (!runs(process.env.CC ?? 'cc')) {
    missing.push(
      `a C compiler (${process.env.CC ?? 'cc'}) is missing: install build-essential (Debian, Ubuntu), gcc (Fedora), build-base (Alpine) or the Xcode command line tools (macOS)`,
    );
  }
  return missing;
}

/** @param {string} command */
function runs(command) {
  return capture(command, ['--version']).code === 0;
}
