/** When there are colours: as Node.js decides it. */
import { expect, it } from 'vitest';
import { PLAIN, styleFor } from '../../src/cli/style.ts';

it.each([
  [true, {}, true],
  [false, {}, false],
  [true, { NO_COLOR: '1' }, false],
  [true, { NO_COLOR: '' }, true],
  [true, { TERM: 'dumb' }, false],
  [false, { FORCE_COLOR: '1' }, true],
  [false, { FORCE_COLOR: '' }, true],
  [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, true],
  [true, { FORCE_COLOR: '0' }, false],
  [true, { FORCE_COLOR: 'false' }, false],
])('terminal %j with %j: colours %j', (isTerminal, environment, expected) => {
  const style = styleFor(isTerminal, environment);
  expect(style.isRich).toBe(expected);
  expect(style.paint('good', 'x')).toBe(expected ? '\x1b[32mx\x1b[39m' : 'x');
});

it('plain text stays as it is, and nothing is painted of nothing', () => {
  expect(PLAIN.paint('bad', 'x')).toBe('x');
  expect(styleFor(true, {}).paint('bad', '')).toBe('');
});
