/** Tables of text: Markdown that is aligned, so that it reads well in a terminal, too. */

/** @typedef {import('./statistics.mjs').Summary} Summary */

/**
 * A table with a heading row; numbers (cells that begin with a digit or a sign) are right-aligned.
 * @param {readonly string[]} head @param {ReadonlyArray<readonly string[]>} rows
 */
export function table(head, rows) {
  const widths = head.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const isNumeric = head.map((_, column) => {
    const cells = rows.map((row) => row[column] ?? '').filter((cell) => cell !== '');
    return cells.length > 0 && cells.every((cell) => /^[-+±<≤]?\d|^–$/.test(cell));
  });
  const line = (/** @type {readonly string[]} */ cells) => {
    const padded = widths.map((width, column) => {
      const cell = cells[column] ?? '';
      return isNumeric[column] ? cell.padStart(width) : cell.padEnd(width);
    });
    return `| ${padded.join(' | ')} |`;
  };
  const rule = widths.map((width, column) =>
    isNumeric[column] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  );
  return [line(head), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n');
}

/** Three significant digits, thousands separated: 0.00123, 12.3, 1,230. @param {number} value */
export function number(value) {
  if (!Number.isFinite(value)) {
    return '–';
  }
  const size = Math.abs(value);
  if (size >= 100) {
    return Math.round(value).toLocaleString('en');
  }
  return size === 0 ? '0' : String(Number(value.toPrecision(3)));
}

/** A median and its range: "12.3 (12.1–12.8)"; the median alone when there was one round. @param {Summary | undefined} summary */
export function withRange(summary) {
  if (summary === undefined) {
    return '–';
  }
  const { median, low, high, count } = summary;
  return count < 2 ? number(median) : `${number(median)} (${number(low)}–${number(high)})`;
}
