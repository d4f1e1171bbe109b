/** Tables, plots and the evaluation of targets. */
import { describe, expect, test } from 'vitest';
import { plotsOf, tablesOf } from '../../bench/lib/report.mjs';
import { Results } from '../../bench/lib/results.mjs';
import { barChart, lineChart, niceMaximum } from '../../bench/lib/svg.mjs';
import { number, table, withRange } from '../../bench/lib/table.mjs';
import { evaluateTargets } from '../../bench/lib/targets.mjs';

describe('tables', () => {
  test('are Markdown with numbers to the right and aligned columns', () => {
    expect(
      table(
        ['who', 'µs'],
        [
          ['pgtls', '1.5'],
          ['direct', '–'],
          ['floor', '12'],
        ],
      ),
    ).toBe(
      [
        '| who    |  µs |',
        '| ------ | --: |',
        '| pgtls  | 1.5 |',
        '| direct |   – |',
        '| floor  |  12 |',
      ].join('\n'),
    );
  });

  test('show three significant digits, and a range only after several rounds', () => {
    expect([0, 0.012_345, 12.345, 1234.5, Number.NaN].map(number)).toEqual([
      '0',
      '0.0123',
      '12.3',
      '1,235',
      '–',
    ]);
    expect(withRange({ median: 2, low: 1, high: 3, count: 1 })).toBe('2');
    expect(withRange({ median: 2, low: 1, high: 3, count: 5 })).toBe('2 (1–3)');
    expect(withRange(undefined)).toBe('–');
  });
});

describe('plots', () => {
  const bars = [
    { label: 'pgtls', value: 10, low: 9, high: 12, isOurs: true },
    { label: 'a <peer> & "co"', value: 20, low: 20, high: 20, isOurs: false },
  ];
  const plot = { title: 'CPU', unit: 'µs', format: number };

  test('draw bars to scale, and escape what is written', () => {
    const svg = barChart({ ...plot, bars });
    const widths = [...svg.matchAll(/<rect class="(?:bar|ours)"[^>]* width="([\d.]+)"/g)];
    const [ours, theirs] = widths.map(([, width]) => Number(width));
    expect(theirs).toBeCloseTo(2 * (ours ?? 0), 0);
    expect(svg).toContain('a &lt;peer&gt; &amp; &quot;co&quot;');
  });

  test("take the reader's colour scheme and need nothing from elsewhere", () => {
    const line = { name: 'workers', points: [{ x: '1', value: 1, low: 1, high: 2 }] };
    for (const svg of [barChart({ ...plot, bars }), lineChart({ ...plot, line })]) {
      expect(svg).toContain('prefers-color-scheme: dark');
      expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|NaN|Infinity/);
    }
  });

  test('of bars say what their grid stands for', () => {
    const svg = barChart({ ...plot, bars });
    const labels = [...svg.matchAll(/class="soft small"[^>]*>([^<]*)</g)].map(([, text]) => text);
    expect(labels).toHaveLength(5);
    expect(Number(labels[0])).toBe(0);
  });

  test('are drawn without values, too', () => {
    expect(barChart({ ...plot, bars: [] })).not.toContain('NaN');
    expect(lineChart({ ...plot, line: { name: '', points: [] } })).not.toContain('NaN');
  });

  test('end at a round number', () => {
    expect([0, 0.7, 18, 21, 51, 100, 114].map(niceMaximum)).toEqual([1, 0.8, 20, 24, 60, 100, 120]);
  });
});

describe('targets', () => {
  const small = { measure: 'small-queries', variant: '16 sessions', pinned: true };

  /** Evaluates with medians by contestant of CPU per small transaction. */
  function verdictsOf(medians: Record<string, number>) {
    return evaluateTargets((measure, variant, contestant, figure) =>
      measure === small.measure && variant === small.variant && figure === 'cpuMicros'
        ? (medians[contestant] ?? null)
        : null,
    ).filter(({ name }) => name === 'CPU per small transaction, 16 sessions');
  }

  test('are ratios to what the same run measured', () => {
    const verdicts = verdictsOf({ pgtls: 20, floor: 19, pgbouncer: 24, 'node-tls': 50 });
    expect(verdicts.map(({ isMet }) => isMet)).toEqual([true, false, true]);
    expect(verdicts[1]?.limit).toBeCloseTo(19.2);
  });

  test('are neither met nor missed when a contestant is missing, and say which', () => {
    const verdicts = verdictsOf({ pgtls: 20, floor: 19 });
    expect(verdicts.map(({ isMet }) => isMet)).toEqual([true, null, null]);
    expect(verdicts.map(({ missing }) => missing)).toEqual([null, 'pgbouncer', 'node-tls']);
  });

  test('against the best peer take the lowest of those that are there', () => {
    const values: Record<string, number> = { pgtls: 0.5, stunnel: 1.0, 'node-tls': 1.4 };
    const [, best] = evaluateTargets((measure, variant, contestant) =>
      measure === 'bulk' && variant === 'out' ? (values[contestant] ?? null) : null,
    ).filter(({ name }) => name === 'COPY out, CPU s/GB');
    expect(best).toMatchObject({ value: 0.5, limit: 0.6, isMet: true });
  });

  test('of rates are lower bounds, and latencies may lie so many µs above direct TLS', () => {
    const verdicts = evaluateTargets((_measure, _variant, contestant, figure) => {
      const values =
        contestant === 'direct' ? { perSecond: 100, p50: 38 } : { perSecond: 101, p50: 61 };
      return figure === 'perSecond' || figure === 'p50' ? values[figure] : null;
    });
    const isMet = (name: string) => verdicts.find((verdict) => verdict.name === name)?.isMet;
    expect(isMet('new connections/s, unpinned')).toBe(true);
    expect(isMet('p50 latency µs, 1 session')).toBe(false);
  });

  test('with TLS on both legs compare with peers that have it as well', () => {
    const verdicts = evaluateTargets((_measure, _variant, contestant) =>
      contestant === 'pgtls+tls' ? 10 : contestant === 'pgbouncer+tls' ? 20 : null,
    );
    const [first] = verdicts.filter(({ name }) => name.startsWith('TLS on both legs'));
    expect(first).toMatchObject({ value: 10, limit: 16, isMet: true });
  });
});

describe('the report', () => {
  const measures = [{ name: 'bulk', title: 'Bulk', figures: { cpu: 'CPU s/GB', rate: 'MB/s' } }];
  const results = new Results();
  const cell = { measure: 'bulk', variant: 'out', contestant: 'pgtls', pinned: true };
  results.add(cell, 1, { cpu: 0.5, rate: 400 });
  results.add({ ...cell, pinned: false }, 1, { cpu: 0.4, rate: 900 });
  results.lacks({ ...cell, contestant: 'stunnel' }, 'stunnel is not installed\nand more');

  test('keeps pinned and unpinned figures apart, and says what is missing', () => {
    const text = tablesOf(results, measures, []);
    expect(text).toContain('## Bulk, all on one core');
    expect(text).toContain('## Bulk, not pinned');
    expect(text).toContain('- bulk, out, stunnel: stunnel is not installed');
    expect(text).not.toContain('and more');
  });

  test('plots the deciding figure as it was pinned', () => {
    const plots = plotsOf(results, measures, 'a CPU');
    expect([...plots.keys()]).toEqual(['bulk-out.svg']);
    expect(plots.get('bulk-out.svg')).toContain('>0.5<');
  });
});
