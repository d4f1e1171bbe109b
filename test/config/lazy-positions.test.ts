import { createRequire } from 'node:module';
import { expect, it } from 'vitest';
import { errorsOf, LISTENER, load, route } from './fixture.ts';

function isPositionParserLoaded(): boolean {
  const { cache } = createRequire(import.meta.url);
  return Object.keys(cache).some((file) => file.includes('toml-eslint-parser'));
}

it('loads the parser that knows positions only when there is something to place', () => {
  load(route(LISTENER));
  expect(isPositionParserLoaded()).toBe(false);
  errorsOf('workers = "x"');
  expect(isPositionParserLoaded()).toBe(true);
});
