/** What set-up says of a machine that lacks something. */
import { describe, expect, it } from 'vitest';
import { cargoProblem, missingRequirements } from '../../scripts/lib/requirements.mjs';

describe('the Rust toolchain', () => {
  it.each([
    [
      'cargo 1.94.1 (29ea6fb6a 2026-03-24)',
      /^Rust 1\.95 or newer is needed, this is 1\.94\.1: rustup/,
    ],
    ['cargo 0.99.0', /^Rust 1\.95 or newer/],
    [null, /^cargo .* is missing/],
  ])('%j is told with its remedy', (version, problem) => {
    expect(cargoProblem(version, '1.95')).toMatch(problem);
  });

  it.each(['cargo 1.95.0 (x 2026-01-01)', 'cargo 1.100.0', 'cargo 2.0.0-nightly', 'cargo dev'])(
    '%j will do',
    (version) => {
      expect(cargoProblem(version, '1.95')).toBeNull();
    },
  );

  it('of this machine will do, as do Node.js and the C compiler', () => {
    expect(missingRequirements()).toEqual([]);
  });
});
