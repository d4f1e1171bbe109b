/** Interleaved rounds: each round measures everything once, and nobody is first in every round. */

import { Lacking } from './lacking.mjs';
import { directoryFor } from './stage.mjs';
import { rotated } from './statistics.mjs';

/** @typedef {import('./cast.mjs').Cast} Cast */
/** @typedef {import('./cast.mjs').Entrant} Entrant */
/** @typedef {import('./cast.mjs').Wish} Wish */
/** @typedef {import('./results.mjs').Results} Results */
/**
 * How much is done. `idleCounts` are sessions held for memory and scaling, `workers` threads of pgtls, `warmUpConnections` what a
 * process gets before its first connection that counts.
 * @typedef {{ rounds: number, seconds: number, bytes: number, warmUpConnections: number, sessions: readonly number[], idleCounts: readonly number[],
 *   settleSeconds: number, restSettleSeconds: number, restSeconds: number, activeCounts: readonly number[], workers: readonly number[] }} Size
 */
/** @typedef {{ name: string, isColour: boolean, sessions?: number, wish?: Wish,
 *   legs?: readonly import('./contestants.mjs').Leg[] }} Variant `isColour`: measured unpinned, too; `legs`: not with every leg */
/** @typedef {{ running: import('./contestants.mjs').Running, place: import('./pinning.mjs').Place, directory: string, variant: Variant, size: Size }} Turn */
/**
 * `figures` names what it measures; the first one is what decides.
 * @typedef {{ name: string, title: string, figures: Record<string, string>, variants: (size: Size) => Variant[],
 *   measure: (turn: Turn) => Promise<Record<string, number>> }} Measure
 */
/** @typedef {{ results: Results, size: Size, progress: import('./progress.mjs').Progress, failures: string[] }} Book where all is noted */

/**
 * Plays so many rounds of the measures at the cast's place; `isColourOnly`: of the variants that are measured unpinned, too.
 * @param {Cast} cast @param {readonly Entrant[]} entrants @param {readonly Measure[]} measures @param {{ count: number, isColourOnly: boolean }} pass @param {Book} book
 */
export async function playRounds(cast, entrants, measures, { count: rounds, isColourOnly }, book) {
  const { isPinned } = cast.place;
  const events = measures.flatMap((measure) =>
    measure
      .variants(book.size)
      .filter(({ isColour }) => !isColourOnly || isColour)
      .map((variant) => ({
        measure,
        variant,
        entitled: entrants.filter(({ leg }) => variant.legs?.includes(leg) ?? true),
      })),
  );
  const suffix = isPinned ? 'pinned' : 'free';
  const directory = directoryFor(cast.stage.directory, `turns-${suffix}`, cast.stage.identity);
  const turns = events.reduce((sum, { entitled }) => sum + entitled.length, 0);
  book.progress.expect(rounds * turns);
  for (let round = 1; round <= rounds; round += 1) {
    for (const { measure, variant, entitled } of events) {
      for (const entrant of rotated(entitled, round - 1)) {
        const where = `${suffix}, round ${round} of ${rounds}: ${measure.name}, ${variant.name}`;
        book.progress.step(`${where}: ${entrant.label}`);
        await takeTurn({ cast, entrant, measure, variant, round, directory }, book);
      }
    }
  }
}

/**
 * @param {{ cast: Cast, entrant: Entrant, measure: Measure, variant: Variant, round: number, directory: string }} turn
 * @param {Book} book
 */
async function takeTurn({ cast, entrant, measure, variant, round, directory }, book) {
  const { results, size, failures } = book;
  const cell = {
    measure: measure.name,
    variant: variant.name,
    contestant: entrant.label,
    pinned: cast.place.isPinned,
  };
  const lack = entrant.contestant.lacks?.(measure.name, variant.name) ?? null;
  if (lack !== null) {
    results.lacks(cell, lack);
    return;
  }
  if (results.hasGivenUp(cell)) {
    return;
  }
  try {
    const running = await cast.get(entrant, variant.wish);
    const { place } = cast;
    results.add(cell, round, await measure.measure({ running, place, directory, variant, size }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    results.lacks(cell, reason);
    if (!(error instanceof Lacking)) {
      failures.push(`${cell.measure}, ${cell.variant}, ${cell.contestant}: ${reason}`);
    }
  }
}
