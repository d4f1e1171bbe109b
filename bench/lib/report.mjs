/** What a run leaves behind: tables on stdout, and JSON, the same tables and plots in a directory. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median, spread } from './statistics.mjs';
import { barChart, lineChart } from './svg.mjs';
import { number, table, withRange } from './table.mjs';

/** @typedef {import('./results.mjs').Results} Results */
/** @typedef {import('./results.mjs').CellSummary} CellSummary */
/** @typedef {import('./targets.mjs').Verdict} Verdict */
/** @typedef {{ name: string, title: string, figures: Record<string, string> }} Titled */

const VERDICTS = new Map([
  [true, 'met'],
  [false, 'MISSED'],
  [null, 'not measured'],
]);

/** All tables as Markdown. @param {Results} results @param {readonly Titled[]} measures @param {readonly Verdict[]} verdicts */
export function tablesOf(results, measures, verdicts) {
  const cells = results.cells();
  const parts = measures.flatMap((measure) =>
    [true, false].map((isPinned) => measureTable(measure, cells, isPinned)),
  );
  const absences = results.absences.map(
    ({ measure, variant, contestant, reason }) =>
      `- ${measure}, ${variant}, ${contestant}: ${reason.split('\n')[0]}`,
  );
  return [
    ...parts.filter((part) => part !== ''),
    `## Targets\n\n${targetTable(verdicts)}`,
    ...(absences.length === 0 ? [] : [`## Not measured\n\n${[...new Set(absences)].join('\n')}`]),
  ].join('\n\n');
}

/** @param {Titled} measure @param {readonly CellSummary[]} cells @param {boolean} isPinned */
function measureTable({ name, title, figures }, cells, isPinned) {
  const own = cells.filter(({ measure, pinned }) => measure === name && pinned === isPinned);
  if (own.length === 0) {
    return '';
  }
  const used = Object.entries(figures).filter(([key]) => own.some((cell) => key in cell.figures));
  const rows = own.map((cell) => [
    cell.variant,
    cell.contestant,
    ...used.map(([key]) => withRange(cell.figures[key])),
  ]);
  const place = isPinned ? 'all on one core' : 'not pinned';
  const width = spreadOf(own, Object.keys(figures)[0] ?? '');
  return `## ${title}, ${place}\n\n${table(['', 'contestant', ...used.map(([, text]) => text)], rows)}${width}`;
}

/** How much the rounds differ; nothing after one round. @param {readonly CellSummary[]} cells @param {string} figure */
function spreadOf(cells, figure) {
  const spreads = cells.flatMap(({ figures }) => {
    const summary = figures[figure];
    return summary === undefined || summary.count < 2 ? [] : [100 * spread(summary)];
  });
  return spreads.length === 0
    ? ''
    : `\n\nThe rounds differ by ±${number(median(spreads))} % (median), at most ±${number(Math.max(...spreads))} %.`;
}

/** @param {readonly Verdict[]} verdicts */
function targetTable(verdicts) {
  const rows = verdicts.map(({ name, rule, value, limit, isMet, missing }) => [
    name,
    rule,
    value === null ? '–' : number(value),
    limit === null ? '–' : number(limit),
    `${VERDICTS.get(isMet)}${missing === null ? '' : `: no ${missing}`}`,
  ]);
  return table(['target', 'rule', 'pgtls', 'limit', ''], rows);
}

/** Plots by file name: the deciding figure of each measure and variant. @param {Results} results @param {readonly Titled[]} measures @param {string} machine @returns {Map<string, string>} */
export function plotsOf(results, measures, machine) {
  const cells = results.cells();
  /** @type {Map<string, string>} */
  const plots = new Map();
  for (const { name, title, figures } of measures) {
    const [figure = '', unit = ''] = Object.entries(figures)[0] ?? [];
    const own = cells.filter(
      (cell) => cell.measure === name && cell.figures[figure] !== undefined && isDeciding(cell),
    );
    for (const variant of new Set(own.map((cell) => groupOf(cell)))) {
      const group = own.filter((cell) => groupOf(cell) === variant);
      const plot = { title: `${title}: ${variant}`, unit: `${unit}; ${machine}`, format: number };
      const svg =
        name === 'scaling'
          ? lineChart({
              ...plot,
              line: { name: variant, points: group.map((cell) => pointOf(cell, figure)) },
            })
          : barChart({ ...plot, bars: group.map((cell) => barOf(cell, figure)) });
      plots.set(`${name}-${variant.replaceAll(/\W+/g, '-')}.svg`, svg);
    }
  }
  return plots;
}

/** Pinned figures decide where there are any; the measures that aren't pinned at all have only others. @param {CellSummary} cell */
function isDeciding({ measure, pinned }) {
  return pinned || !['small-queries', 'bulk', 'connections'].includes(measure);
}

/** What is drawn in one plot: a variant, or for scaling all with the same words ("… workers"). @param {CellSummary} cell */
function groupOf({ measure, variant }) {
  return measure === 'scaling' ? variant.replace(/^\d+ /, '') : variant;
}

/** @param {CellSummary} cell @param {string} figure */
function pointOf(cell, figure) {
  const { median, low, high } = cell.figures[figure] ?? NOTHING;
  return { x: cell.variant.split(' ')[0] ?? '', value: median, low, high };
}

/** @param {CellSummary} cell @param {string} figure */
function barOf(cell, figure) {
  const { median, low, high } = cell.figures[figure] ?? NOTHING;
  const { contestant } = cell;
  return { label: contestant, value: median, low, high, isOurs: contestant.startsWith('pgtls') };
}

const NOTHING = { median: 0, low: 0, high: 0, count: 0 };

/** Writes all of it. @param {string} directory @param {unknown} json @param {string} tables @param {ReadonlyMap<string, string>} plots */
export function writeReport(directory, json, tables, plots) {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'bench.json'), `${JSON.stringify(json, null, 1)}\n`);
  writeFileSync(join(directory, 'bench.md'), `${tables}\n`);
  for (const [name, svg] of plots) {
    writeFileSync(join(directory, name), svg);
  }
}
