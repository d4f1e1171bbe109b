/** What pgtls is built for: the targets of package.json, by the names that their packages have. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './paths.mjs';

/** The oldest glibc that a published binary may need, as in Debian 10, Ubuntu 20.04 and RHEL 8. */
export const GLIBC_FLOOR = '2.28';

/** @typedef {{ triple: string, name: string, platform: string, architecture: string, libc: 'glibc' | 'musl' | null }} Target */

/** @type {Readonly<Record<string, string>>} */
const ARCHITECTURES = { x86_64: 'x64', aarch64: 'arm64' };

/** All of them, in the order of package.json. @returns {Target[]} */
export function targets() {
  const { napi } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return napi.targets.map(targetOf);
}

/** @param {string} triple as Rust names it @returns {Target} */
function targetOf(triple) {
  const [cpu = '', vendor, system, abi] = triple.split('-');
  const architecture = ARCHITECTURES[cpu] ?? cpu;
  if (vendor === 'apple') {
    return { triple, name: `darwin-${architecture}`, platform: 'darwin', architecture, libc: null };
  }
  const libc = abi === 'musl' ? 'musl' : 'glibc';
  return {
    triple,
    name: `${system}-${architecture}-${abi}`,
    platform: 'linux',
    architecture,
    libc,
  };
}

/** The target that this machine is. @returns {Target} */
export function hostTarget() {
  /** @type {{ header?: { glibcVersionRuntime?: string } }} */
  const report = process.report.getReport();
  const musl = report.header?.glibcVersionRuntime === undefined;
  const found = targets().find(
    ({ platform, architecture, libc }) =>
      platform === process.platform &&
      architecture === process.arch &&
      (libc === null || (libc === 'musl') === musl),
  );
  if (found === undefined) {
    throw new Error(`pgtls is not built for ${process.platform}-${process.arch}`);
  }
  return found;
}
