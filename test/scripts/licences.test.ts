/** Licence expressions, and that what is shipped keeps to the accepted ones. */
import { describe, expect, it } from 'vitest';
import { isAcceptable } from '../../scripts/lib/licence-expression.mjs';
import {
  cargoDependencies,
  LICENCES,
  NO_INSTALL_SCRIPTS,
  npmDependencies,
} from '../../scripts/lib/licences.mjs';

describe('a licence expression', () => {
  const accepted = new Set(['MIT', 'Apache-2.0', 'GPL-2.0 WITH Classpath-exception-2.0']);

  it.each([
    ['MIT', true],
    ['GPL-3.0', false],
    ['GPL-3.0 OR MIT', true],
    ['GPL-3.0/MIT', true],
    ['MIT AND GPL-3.0', false],
    ['MIT AND (GPL-3.0 OR Apache-2.0)', true],
    ['(MIT OR GPL-3.0) AND GPL-3.0', false],
    // AND binds closer than OR.
    ['MIT OR Apache-2.0 AND GPL-3.0', true],
    ['GPL-3.0 AND MIT OR GPL-3.0', false],
    ['MIT WITH something', false],
    ['GPL-2.0 WITH Classpath-exception-2.0', true],
    ['GPL-2.0', false],
    ['', false],
    ['SEE LICENSE IN LICENSE', false],
    ['MIT)', false],
    ['(MIT', false],
    ['MIT MIT', false],
  ])('%j can be met: %s', (expression, expected) => {
    expect(isAcceptable(expression, accepted)).toBe(expected);
  });
});

it('every package and crate that is shipped is found, under an accepted licence, without install scripts', () => {
  const npm = npmDependencies().map(({ name }) => name);
  const cargo = cargoDependencies().map(({ name }) => name);
  expect(npm).toEqual(expect.arrayContaining(['pino', 'thread-stream', 'prom-client']));
  expect(npm).not.toContain('vitest');
  expect(cargo).toEqual(expect.arrayContaining(['rustls', 'aws-lc-sys', 'tokio']));
  expect(cargo).not.toContain('pgtls-core');
  expect([...LICENCES.run(), ...NO_INSTALL_SCRIPTS.run()]).toEqual([]);
});
