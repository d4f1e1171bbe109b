/** Plots as SVG text, without a library: they take the reader's colour scheme, light or dark. */

/** @typedef {{ label: string, value: number, low: number, high: number, isOurs: boolean }} Bar whose range is drawn over it */
/** @typedef {{ x: string, value: number, low: number, high: number }} Point */
/** @typedef {{ name: string, points: readonly Point[] }} Line */

const WIDTH = 760;
/** Of a character, at most, in bold type. */
const CHARACTER_WIDTH = 8;
const MARGIN = 16;
const VALUE_WIDTH = 90;
const ROW_HEIGHT = 26;
const TOP = 58;
const BOTTOM = 34;
const LINES_HEIGHT = 300;
const STEPS = 4;
const SHORT_QUARTERS = [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8];

const STYLE = `
  .paper { fill: #ffffff } text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 15px }
  .us { font-weight: 600 } .small { font-size: 12px }
  .soft { fill: #59636e } .grid { stroke: #d1d9e0 } .range { stroke: #1f2328; stroke-width: 1.5 }
  .bar { fill: #8c959f } .ours { fill: #0969da } .line { fill: none; stroke-width: 2; stroke: #0969da } .dot { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } text { fill: #e6edf3 } .soft { fill: #9198a1 } .grid { stroke: #3d444d }
    .range { stroke: #e6edf3 } .bar { fill: #656c76 } .ours { fill: #4493f8 } .line { stroke: #4493f8 } .dot { fill: #4493f8 }
  }`;

/**
 * Horizontal bars from zero, each with its range.
 * @param {{ title: string, unit: string, bars: readonly Bar[], format: (value: number) => string }} plot
 */
export function barChart({ title, unit, bars, format }) {
  const scale = niceMaximum(Math.max(0, ...bars.map(({ high }) => high)));
  const height = TOP + bars.length * ROW_HEIGHT + BOTTOM;
  const longest = Math.max(0, ...bars.map(({ label }) => label.length));
  const left = MARGIN + longest * CHARACTER_WIDTH + 8;
  const x = (/** @type {number} */ value) => left + (value / scale) * (WIDTH - left - VALUE_WIDTH);
  const rows = bars.map(({ label, value, low, high, isOurs }, index) => {
    const top = TOP + index * ROW_HEIGHT;
    const middle = top + ROW_HEIGHT / 2;
    return [
      `<text${isOurs ? ' class="us"' : ''} x="${left - 8}" y="${fixed(middle + 4)}" text-anchor="end">${escaped(label)}</text>`,
      `<rect class="${isOurs ? 'ours' : 'bar'}" x="${left}" y="${top + 4}" width="${fixed(x(value) - left)}" height="${ROW_HEIGHT - 8}"/>`,
      range(x(low), middle, x(high), middle),
      `<text${isOurs ? ' class="us"' : ''} x="${fixed(x(high) + 6)}" y="${fixed(middle + 4)}">${escaped(format(value))}</text>`,
    ].join('\n');
  });
  const grid = steps(scale).flatMap((value) => {
    const at = fixed(x(value));
    return [
      `<line class="grid" x1="${at}" y1="${TOP - 6}" x2="${at}" y2="${height - BOTTOM + 4}"/>`,
      `<text class="soft small" x="${at}" y="${height - BOTTOM + 20}" text-anchor="middle">${escaped(format(value))}</text>`,
    ];
  });
  return document(height, title, unit, [...grid, ...rows]);
}

/**
 * Lines over named places on the x axis, evenly apart, from zero.
 * @param {{ title: string, unit: string, line: Line, format: (value: number) => string }} plot
 */
export function lineChart({ title, unit, line, format }) {
  const { points, name } = line;
  const scale = niceMaximum(Math.max(0, ...points.map(({ high }) => high)));
  const bottom = LINES_HEIGHT - 40;
  const y = (/** @type {number} */ value) => bottom - (value / scale) * (bottom - TOP);
  const x = (/** @type {number} */ index) =>
    80 + ((index + 0.5) * (WIDTH - 100)) / Math.max(1, points.length);
  const grid = steps(scale).flatMap((value) => [
    `<line class="grid" x1="80" y1="${fixed(y(value))}" x2="${WIDTH - 20}" y2="${fixed(y(value))}"/>`,
    `<text class="soft" x="72" y="${fixed(y(value) + 4)}" text-anchor="end">${escaped(format(value))}</text>`,
  ]);
  const dots = points.flatMap(({ x: place, value, low, high }, index) => [
    range(x(index), y(low), x(index), y(high)),
    `<circle class="dot" cx="${fixed(x(index))}" cy="${fixed(y(value))}" r="4"/>`,
    `<text x="${fixed(x(index) + 8)}" y="${fixed(y(value) - 8)}">${escaped(format(value))}</text>`,
    `<text class="soft" x="${fixed(x(index))}" y="${bottom + 20}" text-anchor="middle">${escaped(place)}</text>`,
  ]);
  const path = points.map(({ value }, index) => `${fixed(x(index))},${fixed(y(value))}`).join(' ');
  const polyline = `<polyline class="line" points="${path}"><title>${escaped(name)}</title></polyline>`;
  return document(LINES_HEIGHT, title, unit, [...grid, polyline, ...dots]);
}

/** The least number that nothing exceeds and whose quarters are short. @param {number} value */
export function niceMaximum(value) {
  if (!(value > 0) || !Number.isFinite(value)) {
    return 1;
  }
  const power = 10 ** Math.floor(Math.log10(value));
  const factor = SHORT_QUARTERS.find((candidate) => candidate * power >= value) ?? 10;
  return Number((factor * power).toPrecision(2));
}

/** @param {number} scale */
function steps(scale) {
  return Array.from({ length: STEPS + 1 }, (_, index) => (index * scale) / STEPS);
}

/** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 */
function range(x1, y1, x2, y2) {
  return `<line class="range" x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}"/>`;
}

/** @param {number} height @param {string} title @param {string} unit @param {readonly string[]} parts */
function document(height, title, unit, parts) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(title)}">
<style>${STYLE}
</style>
<rect class="paper" width="${WIDTH}" height="${height}"/>
<text class="title" x="16" y="24">${escaped(title)}</text>
<text class="soft" x="16" y="44">${escaped(unit)}</text>
${parts.join('\n')}
</svg>
`;
}

/** @param {number} value */
function fixed(value) {
  return Number(value.toFixed(1));
}

/** @param {string} value */
function escaped(value) {
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
