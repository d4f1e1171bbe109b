/** The figures in README and docs/performance.md are those of docs/benchmark, rounded. */
import { describe, expect, it } from 'vitest';
import { textOf } from './books.ts';

/** Cells of the rows below a heading of docs/benchmark, by `label, contestant` and the column's title. */
function measured(heading: string): (row: string, column: string) => number {
  const [, section = ''] = textOf('docs/benchmark/README.md').split(`\n## ${heading}\n`);
  const [table = ''] = section.split('\n## ');
  const [titles = [], , ...rows] = cellsOf(table);
  return (row, column) => {
    const cells = rows.find(([label, contestant]) => `${label}, ${contestant}` === row);
    const [number = ''] = /^[\d.,]+/.exec(cells?.[titles.indexOf(column)] ?? '') ?? [];
    expect(number, `${heading}: ${row}: ${column}`).not.toBe('');
    return Number(number.replaceAll(',', ''));
  };
}

/** The cells of every line of a table. */
function cellsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.split('|').slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
}

/** The first number of each cell behind a row's title, as written. */
function written(document: string, row: string): string[] {
  const found = cellsOf(textOf(document)).find(([title]) => title === row);
  return (found ?? []).slice(1).map((cell) => /[\d.]+/.exec(cell)?.[0] ?? '');
}

/** The number as it is written beside it: with as many decimals. */
function rounded(number: number, like: string): string {
  return number.toFixed(like.split('.')[1]?.length ?? 0);
}

const SMALL = measured('Small queries (prepared point SELECT), all on one core');
const BULK = measured('Bulk (COPY, rows of 1,000 bytes), all on one core');
const BULK_NOT_PINNED = measured('Bulk (COPY, rows of 1,000 bytes), not pinned');
const CONNECTIONS = measured('New TLS connections (with login), all on one core');
const MEMORY = measured('Memory of idle TLS sessions, not pinned');
const REST = measured('A process at rest, not pinned');
const CPU = 'CPU µs/transaction';
const PER_GB = 'CPU s/GB';
const PER_CONNECTION = 'CPU ms/connection';

function compare(document: string, row: string, figures: readonly number[]): void {
  const cells = written(document, row);
  expect(cells).toHaveLength(figures.length);
  expect(figures.map((figure, index) => rounded(figure, cells[index] ?? ''))).toEqual(cells);
}

describe('docs/performance.md', () => {
  const legs = ['pgtls', 'pgtls+tls', 'floor'];
  it.each([
    ['small transaction, 1 session, CPU', SMALL, '1 session', CPU],
    ['small transaction, 16 sessions', SMALL, '16 sessions', CPU],
    ['COPY out', BULK, 'out', PER_GB],
    ['COPY in', BULK, 'in', PER_GB],
    ['new connection, ECDSA', CONNECTIONS, 'ecdsa', PER_CONNECTION],
    ['latency of one query, median', SMALL, '1 session', 'p50 µs'],
  ] as const)('has of "%s" what was measured', (row, of, label, column) => {
    const figures = legs.map((contestant) => of(`${label}, ${contestant}`, column));
    compare('docs/performance.md', row, figures);
  });
});

describe('the README', () => {
  const contestants = ['pgtls', 'pgbouncer', 'stunnel', 'node-tls'];
  const figures = (
    of: ReturnType<typeof measured>,
    label: string,
    column: string,
    unit = 1,
  ): number[] => contestants.map((contestant) => of(`${label}, ${contestant}`, column) / unit);

  it.each([
    ['small transaction, 1 session, CPU', figures(SMALL, '1 session', CPU)],
    ['small transaction, 16 sessions, CPU', figures(SMALL, '16 sessions', CPU)],
    ['the same, 99th percentile of latency', figures(SMALL, '16 sessions', 'p99 µs', 1000)],
    ['with 64 sessions on the same core', figures(SMALL, '64 sessions', 'p99 µs', 1000)],
    ['COPY out, on both CPUs', figures(BULK_NOT_PINNED, 'out', 'MB/s')],
    ['COPY out, CPU', figures(BULK, 'out', PER_GB)],
    ['COPY in, CPU', figures(BULK, 'in', PER_GB)],
    ['new TLS connection (ECDSA), CPU', figures(CONNECTIONS, 'ecdsa', PER_CONNECTION)],
    ['idle TLS session, at 1,000', figures(MEMORY, '1000 idle', 'KiB/session')],
    ['idle TLS session, at 9,000', figures(MEMORY, '9000 idle', 'KiB/session')],
    ['process at rest', figures(REST, 'idle', 'MB PSS at rest')],
    ['start to listening', figures(REST, 'idle', 'ms until it listens')],
  ])('has of "%s" what was measured', (row, expected) => {
    compare('README.md', row, expected);
  });
});
