/** What a check is, and the ones that only run a tool. */
import { ROOT } from './paths.mjs';
import { capture } from './run.mjs';

/** @typedef {{ name: string, run: () => string[] }} Check a name, and a function that returns the problems (none = fine) */

/**
 * A check that passes when a command ends with 0; its output is the problem otherwise.
 * @param {string} name @param {string} command @param {readonly string[]} args @returns {Check}
 */
function toolCheck(name, command, args) {
  return {
    name,
    run: () => {
      const { code, output } = capture(command, args);
      return code === 0 ? [] : [output.trim() || `${command} ended with ${code}`];
    },
  };
}

const CLIPPY = [
  'clippy',
  '--workspace',
  '--all-targets',
  '--release',
  '--quiet',
  '--',
  '-D',
  'warnings',
];

/** Without `--workspace`, which would turn the feature on again. */
const CLIPPY_WITHOUT_TLS = [
  'clippy',
  '-p',
  'pgtls-core',
  '--no-default-features',
  ...CLIPPY.filter((option) => option !== 'clippy' && option !== '--workspace'),
];

/** Programs of the installed packages; not through npx, which keeps options like -p for itself. @param {string} name */
const installed = (name) => `${ROOT}/node_modules/.bin/${name}`;

/** Format, lint, types and unused code of both languages. @type {readonly Check[]} */
export const TOOL_CHECKS = [
  toolCheck('biome: format, lint, TypeScript layers', installed('biome'), [
    'check',
    '--error-on-warnings',
    '.',
  ]),
  toolCheck('tsc: types', installed('tsc'), ['-p', 'tsconfig.json']),
  toolCheck('knip: no unused exports, files or dependencies', installed('knip'), []),
  toolCheck('the manual pages are what the tables say', process.execPath, [
    'scripts/man.mjs',
    '--check',
  ]),
  toolCheck('schema: JSON schema and input types are what the keys say', 'node', [
    'scripts/schema.mjs',
    '--check',
  ]),
  toolCheck('cargo fmt', 'cargo', ['fmt', '--all', '--check']),
  toolCheck('cargo clippy: no warnings', 'cargo', CLIPPY),
  toolCheck('cargo clippy: no warnings without TLS', 'cargo', CLIPPY_WITHOUT_TLS),
];
