/** Counted instructions, compared with those noted before. */
import { number, table } from './table.mjs';

/** @typedef {Record<string, Record<string, { value: number, tolerance: number }>>} Noted by architecture and features, by work */
/** @typedef {{ cpu: string, work: string, tolerance: number, counts: readonly number[], value: number }} Counted per unit, in each run; `value` is the median */

/**
 * `text` is a table and a last line that says how it ended: "as noted", "changed: …" or "not compared: …". What has a figure is compared
 * also where others have none.
 * @param {readonly Counted[]} counted @param {Noted} noted @returns {{ text: string, isChanged: boolean }}
 */
export function compareInstructions(counted, noted) {
  const compared = counted.map((piece) => {
    const known = noted[piece.cpu]?.[piece.work] ?? null;
    const change = known === null ? null : piece.value / known.value - 1;
    const isChanged = known !== null && Math.abs(change ?? 0) > known.tolerance;
    return { ...piece, known, change, isChanged };
  });
  const rows = compared.map(({ work, value, counts, known, change, isChanged }) => [
    work,
    value.toLocaleString('en'),
    spreadOf(counts),
    known?.value.toLocaleString('en') ?? '–',
    change === null ? '–' : `${percent(change)} of ±${number(100 * (known?.tolerance ?? 0))} %`,
    isChanged ? 'CHANGED' : '',
  ]);
  const named = (/** @type {typeof compared} */ pieces) =>
    pieces.map(({ work }) => work).join(', ');
  const changed = named(compared.filter(({ isChanged }) => isChanged));
  const unknown = named(compared.filter(({ known }) => known === null));
  const update = 'npm run bench:instructions -- --update';
  const end = changed
    ? `changed: ${changed}. If that is meant: ${update}, and the reason into the commit`
    : unknown
      ? `not compared: no figure for this CPU (${unknown}); ${update} notes some`
      : 'as noted';
  const head = ['instructions per unit', 'now', 'runs', 'noted', 'change', ''];
  const cpus = [...new Set(counted.map(({ cpu }) => cpu))].join('; ');
  const text = `${table(head, rows)}\nCPU, as valgrind offers it: ${cpus}\n${end}`;
  return { text, isChanged: changed !== '' };
}

/** How far the runs differ. @param {readonly number[]} counts */
function spreadOf(counts) {
  const [low, high] = [Math.min(...counts), Math.max(...counts)];
  return counts.length === 1 ? '1' : `${counts.length}, ${percent(high / low - 1)}`;
}

/** @param {number} share */
function percent(share) {
  return `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(2)} %`;
}
