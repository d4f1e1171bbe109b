/** Releases of Node.js from npm's packages `node` and `node-<platform>`, into an ignored folder. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE } from './paths.mjs';
import { capture } from './run.mjs';

/** The major versions that pgtls is tested on. */
export const NODE_MAJORS = ['20', '22', '24', '26'];

/**
 * The newest release of a major version; installed unless one is there. Throws what npm says when it can't be.
 * @param {string} major @returns {string} the path of `node`
 */
export function installNode(major) {
  const folder = join(CACHE, 'node', major);
  const { platform, arch } = process;
  const system = `node-${platform}-${arch}`;
  const program = join(folder, 'node_modules', system, 'bin/node');
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true });
    // The first one only says which release is the newest: its install script would bring the second.
    install(folder, `node@${major}`);
    const manifest = readFileSync(join(folder, 'node_modules/node/package.json'), 'utf8');
    install(folder, `${system}@${JSON.parse(manifest).version}`);
  }
  return program;
}

/** @param {string} folder @param {string} wanted */
function install(folder, wanted) {
  const options = ['--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund'];
  const { code, output } = capture('npm', ['install', '--prefix', folder, ...options, wanted]);
  if (code !== 0) {
    throw new Error(`${wanted} cannot be installed: ${output}`);
  }
}
