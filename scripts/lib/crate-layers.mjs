/** The layers of the Rust crates, from `cargo metadata`: pgtls-napi → pgtls-core → {pgtls-tls, pgtls-wire}. */
import { capture } from './run.mjs';

/** @typedef {{ name: string, kind: string | null }} Dependency */
/** @typedef {{ name: string, dependencies: Dependency[] }} Crate */

/** Which of our crates each may depend on, directly; the test kit only for tests and benchmarks. @type {Record<string, string[]>} */
const MAY_USE = {
  'pgtls-napi': ['pgtls-core', 'pgtls-tls', 'pgtls-wire'],
  'pgtls-core': ['pgtls-tls', 'pgtls-wire'],
  'pgtls-tls': [],
  'pgtls-wire': [],
  'pgtls-testkit': ['pgtls-tls', 'pgtls-wire'],
  'pgtls-bench': ['pgtls-core', 'pgtls-tls', 'pgtls-wire', 'pgtls-testkit'],
};

const TEST_KIT = 'pgtls-testkit';
const NAMES_RUSTLS = ['pgtls-tls', TEST_KIT];
const TLS_FAMILY = /^(tokio-)?rustls(-|\s)|^aws-lc-|^webpki|^x509-|^ring\s|^openssl/;
const RUSTLS_FAMILY = /^(tokio-)?rustls(-|$)|^aws-lc-/;

/** @type {import('./checks.mjs').Check} */
export const CRATE_LAYERS = {
  name: 'crate layers: who may depend on whom, who names rustls',
  run: () => {
    const { code, stdout, output } = capture('cargo', [
      'metadata',
      '--format-version',
      '1',
      '--no-deps',
      '--quiet',
    ]);
    if (code !== 0) {
      return [output];
    }
    /** @type {Crate[]} */
    const crates = JSON.parse(stdout).packages;
    const unknown = crates.filter(({ name }) => MAY_USE[name] === undefined);
    return [
      ...unknown.map(
        ({ name }) =>
          `${name} has no place in the layers: give it one in scripts/lib/crate-layers.mjs`,
      ),
      ...crates.flatMap(problemsOf),
    ];
  },
};

/** @type {import('./checks.mjs').Check} */
export const NO_RING = {
  name: 'one crypto provider: ring is not in the dependency tree',
  run: () => {
    const format = [
      '--prefix',
      'none',
      '--format',
      '{p}',
      '--edges',
      'normal,build,dev',
      '--target',
      'all',
    ];
    const { code, output } = capture('cargo', ['tree', '--workspace', ...format]);
    const ring = output.split('\n').find((line) => line.startsWith('ring v'));
    return code === 0 && ring === undefined ? [] : [ring ?? output];
  },
};

/** @type {import('./checks.mjs').Check} */
export const WITHOUT_TLS = {
  name: 'TLS can be left out: pgtls-core --no-default-features has nothing of it in its tree',
  run: () => {
    const selection = ['-p', 'pgtls-core', '--no-default-features', '--target', 'all'];
    const format = ['--prefix', 'none', '--format', '{p}', '--edges', 'normal,build'];
    const { code, output } = capture('cargo', ['tree', ...selection, ...format]);
    const found = output.split('\n').filter((line) => TLS_FAMILY.test(line));
    return code === 0 ? found : [output];
  },
};

/** @param {Crate} crate */
function problemsOf({ name, dependencies }) {
  return dependencies.flatMap((dependency) => {
    const ours = MAY_USE[dependency.name] !== undefined;
    // A crate's tests may ask for features of the crate itself.
    const testOnly = dependency.kind === 'dev' && [TEST_KIT, name].includes(dependency.name);
    if (ours && !testOnly && !MAY_USE[name]?.includes(dependency.name)) {
      return [`${name} may not depend on ${dependency.name} (${dependency.kind ?? 'normal'})`];
    }
    if (RUSTLS_FAMILY.test(dependency.name) && !NAMES_RUSTLS.includes(name)) {
      return [`only ${NAMES_RUSTLS.join(' and ')} may name ${dependency.name}, ${name} does`];
    }
    return [];
  });
}
