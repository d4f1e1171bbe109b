/** The figures of one run: a cell is (measure, variant, contestant, pinned), and has a few figures from each round. */
import { summarize } from './statistics.mjs';

/**
 * Where a figure belongs. `variant` is what is turned within a measure ("16 sessions").
 * @typedef {{ measure: string, variant: string, contestant: string, pinned: boolean }} Cell
 */
/** @typedef {Cell & { round: number, figures: Record<string, number> }} Sample */
/** @typedef {Cell & { reason: string }} Absence why a cell has no figures */
/** @typedef {import('./statistics.mjs').Summary} Summary */
/** @typedef {Cell & { figures: Record<string, Summary> }} CellSummary */

/** Collects samples, and says their medians. */
export class Results {
  /** @type {Sample[]} */
  samples = [];
  /** @type {Absence[]} */
  absences = [];

  /** @param {Cell} cell @param {number} round @param {Record<string, number>} figures */
  add(cell, round, figures) {
    this.samples.push({ ...cell, round, figures });
  }

  /** Says why there is nothing; once is enough. @param {Cell} cell @param {string} reason */
  lacks(cell, reason) {
    if (!this.absences.some((absence) => isSame(absence, cell) && absence.reason === reason)) {
      this.absences.push({ ...cell, reason });
    }
  }

  /** Whether it was said that this cell can't be had. @param {Cell} cell */
  hasGivenUp(cell) {
    return this.absences.some((absence) => isSame(absence, cell));
  }

  /** Every cell with its figures over all rounds, in the order they were first measured. @returns {CellSummary[]} */
  cells() {
    /** @type {Map<string, Sample[]>} */
    const groups = new Map();
    for (const sample of this.samples) {
      const key = JSON.stringify([
        sample.measure,
        sample.variant,
        sample.contestant,
        sample.pinned,
      ]);
      groups.set(key, [...(groups.get(key) ?? []), sample]);
    }
    return [...groups.values()].map(summaryOf);
  }

  /** The median of a figure; null when it wasn't measured. @param {Cell} cell @param {string} figure @returns {number | null} */
  median(cell, figure) {
    const values = this.samples
      .filter((sample) => isSame(sample, cell))
      .map(({ figures }) => figures[figure])
      .filter((value) => value !== undefined);
    return values.length === 0 ? null : summarize(values).median;
  }
}

/** @param {Cell} one @param {Cell} other */
function isSame(one, other) {
  return (
    one.measure === other.measure &&
    one.variant === other.variant &&
    one.contestant === other.contestant &&
    one.pinned === other.pinned
  );
}

/** @param {readonly Sample[]} samples @returns {CellSummary} */
function summaryOf(samples) {
  const [first] = samples;
  if (first === undefined) {
    throw new Error('a cell without samples');
  }
  const { measure, variant, contestant, pinned } = first;
  const names = [...new Set(samples.flatMap(({ figures }) => Object.keys(figures)))];
  const figures = Object.fromEntries(
    names.map((name) => {
      const values = samples.map((sample) => sample.figures[name]);
      return [name, summarize(values.filter((value) => value !== undefined))];
    }),
  );
  return { measure, variant, contestant, pinned, figures };
}
