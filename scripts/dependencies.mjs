/**
 * `npm run audit:dependencies`: licences, install scripts, and known advisories as far as there is data.
 *
 * Licences and scripts are checks of `npm run check`, too. Advisories need the network, or a tool that brings its data: what could
 * not be asked is said ("not checked"), and is no failure. Exit code 1 when something was found.
 */
import {
  cargoDependencies,
  LICENCES,
  NO_INSTALL_SCRIPTS,
  npmDependencies,
} from './lib/licences.mjs';
import { capture } from './lib/run.mjs';

/** What was found, or why nothing could be asked. @typedef {{ problems: string[] } | { unknown: string }} Answer */

/** How the database of Rust's advisories numbers them. */
const ADVISORY = /RUSTSEC-\d{4}-\d{4}/;

/** @returns {Answer} */
function npmAdvisories() {
  const { stdout } = capture('npm', ['audit', '--omit=dev', '--json']);
  try {
    const { vulnerabilities } = JSON.parse(stdout);
    if (vulnerabilities === undefined) {
      return { unknown: 'the registry does not answer' };
    }
    const problems = Object.entries(vulnerabilities).map(
      ([name, { severity, range }]) => `${name} ${range}: ${severity} (npm audit says more)`,
    );
    return { problems };
  } catch {
    return { unknown: 'npm audit says nothing' };
  }
}

/** Whichever tool is installed. @returns {Answer} */
function cargoAdvisories() {
  const tools = [
    { tool: 'audit', args: ['audit'] },
    { tool: 'deny', args: ['deny', 'check', 'advisories'] },
  ];
  const found = tools.find(({ tool }) => capture('cargo', [tool, '--version']).code === 0);
  if (found === undefined) {
    return { unknown: 'neither cargo-audit nor cargo-deny is installed' };
  }
  const { code, output } = capture('cargo', found.args);
  if (code === 0) {
    return { problems: [] };
  }
  // Both fail, too, when they cannot fetch their database.
  const [reason = ''] = output.trim().split('\n');
  return ADVISORY.test(output) ? { problems: [output.trim()] } : { unknown: reason };
}

/** @param {string} name @param {Answer} answer */
function tell(name, answer) {
  if ('unknown' in answer) {
    console.log(`not checked: ${name}: ${answer.unknown}`);
    return;
  }
  console.log(`${answer.problems.length === 0 ? 'ok    ' : 'FAILED'}  ${name}`);
  for (const problem of answer.problems) {
    console.log(problem.replace(/^/gm, '        '));
    process.exitCode = 1;
  }
}

console.log(`${npmDependencies().length} npm packages, ${cargoDependencies().length} crates`);
for (const check of [LICENCES, NO_INSTALL_SCRIPTS]) {
  tell(check.name, { problems: check.run() });
}
tell('advisories for npm packages', npmAdvisories());
tell('advisories for crates', cargoAdvisories());
