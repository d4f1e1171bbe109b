/**
 * cargo-zigbuild and zig, which link for an older glibc, another libc and another CPU: from PyPI, into an ignored folder.
 *
 * Versions and hashes are pinned in scripts/zig-tools.txt.
 */
import { readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ROOT } from './paths.mjs';
import { run } from './run.mjs';
import { hashOf, isStamped, stamp, unstamp } from './stamp.mjs';

/** The pins. */
export const ZIG_TOOLS = 'scripts/zig-tools.txt';
const FOLDER = join(ROOT, 'target/tools/zig');

/** The environment in which `cargo zigbuild` works; installs both tools when they are not there. @returns {Record<string, string>} */
export function zigEnvironment() {
  installZig();
  return {
    PATH: `${join(FOLDER, 'bin')}${delimiter}${process.env.PATH}`,
    CARGO_ZIGBUILD_ZIG_PATH: join(FOLDER, 'ziglang/zig'),
  };
}

/** Throws when they can't be had. */
export function installZig() {
  const hash = hashOf([ZIG_TOOLS], [process.platform, process.arch]);
  if (isStamped('zig-tools', hash) && isInstalled()) {
    return;
  }
  console.log('installing zig and cargo-zigbuild …');
  unstamp('zig-tools');
  const options = ['--no-deps', '--require-hashes', '--only-binary', ':all:', '--upgrade'];
  const where = ['--target', FOLDER, '--requirement', ZIG_TOOLS];
  const quiet = ['--quiet', '--disable-pip-version-check', '--root-user-action', 'ignore'];
  if (run('python3', ['-m', 'pip', 'install', ...options, ...where, ...quiet]) !== 0) {
    throw new Error('zig and cargo-zigbuild could not be installed (Python 3 with pip is needed)');
  }
  stamp('zig-tools', hash);
}

function isInstalled() {
  try {
    return readFileSync(join(FOLDER, 'bin/cargo-zigbuild')).length > 0;
  } catch {
    return false;
  }
}
