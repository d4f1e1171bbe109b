import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { METRICS, type MetricName } from '../../src/observability/metric-table.ts';
import { Exposition, type Samples } from '../../src/observability/prometheus.ts';
import { Scrape } from '../support/admin-client.ts';
import { isInstalled } from '../support/programs.ts';

const text = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const DOCUMENT = text('docs/metrics.md');
const ALERTS = 'examples/monitoring/alerts.yml';
const DASHBOARD = text('examples/monitoring/grafana-dashboard.json');

describe('docs/metrics.md', () => {
  it('has exactly the metrics of the code', () => {
    const [, section = ''] = DOCUMENT.split('\n## Names\n');
    const [table = ''] = section.split('\n## ');
    const rows = table.split('\n').filter((line) => line.startsWith('| `'));
    const cells = (labels: readonly string[]) =>
      labels.length === 0 ? 'none' : labels.map((label) => `\`${label}\``).join(', ');
    expect(rows.map((row) => row.replaceAll(/ +/g, ' '))).toEqual(
      Object.entries(METRICS).map(
        ([name, { type, labels, help }]) =>
          `| \`${name}\` | ${type} | ${cells(labels)} | ${help} |`,
      ),
    );
  });

  it('explains every label, and names no metric that there is not', () => {
    const [, section = ''] = DOCUMENT.split('\n## Labels\n');
    const explained = Object.values(METRICS).flatMap(({ labels }) => labels);
    for (const label of explained.filter(
      (name) => !/^(version|rustls|provider|node)$/.test(name),
    )) {
      expect(section).toContain(`\`${label}\``);
    }
    expect(unknownMetrics(DOCUMENT)).toEqual([]);
  });
});

/** What looks like one of our metrics and is none. */
function unknownMetrics(written: string): string[] {
  const names = [...written.matchAll(/\bpgtls_\w*[a-z]\b/g)].map(([name]) => name);
  return names.filter((name) => {
    const base = name.replace(/_(bucket|sum|count)$/, '');
    return !Object.hasOwn(METRICS, name) && METRICS[base as MetricName]?.type !== 'histogram';
  });
}

/** The expressions of the dashboard's panels. */
const EXPRESSIONS: string[] = JSON.parse(DASHBOARD).panels.flatMap(
  ({ targets }: { targets: { expr: string }[] }) => targets.map(({ expr }) => expr),
);

describe('examples/monitoring', () => {
  it('uses metrics and labels that there are', () => {
    expect(unknownMetrics(text(ALERTS))).toEqual([]);
    expect(unknownMetrics(EXPRESSIONS.join('\n'))).toEqual([]);
    for (const written of [text(ALERTS), ...EXPRESSIONS]) {
      for (const [, name = '', selector = ''] of written.matchAll(/\b(pgtls_\w+)\{([^}]*)\}/g)) {
        const known = METRICS[name.replace(/_(bucket|sum|count)$/, '') as MetricName];
        const labels = [...selector.matchAll(/(\w+)=/g)].map(([, label]) => label);
        expect([name, [...known.labels, 'instance']]).toEqual([
          name,
          expect.arrayContaining(labels),
        ]);
      }
    }
  });

  it('shows every metric on the dashboard', () => {
    const shown = EXPRESSIONS.join('\n');
    expect(Object.keys(METRICS).filter((name) => !shown.includes(name))).toEqual([]);
  });

  it.skipIf(!isInstalled('promtool'))(
    `has rules and expressions that promtool accepts${isInstalled('promtool') ? '' : ' (skipped: promtool is not installed)'}`,
    () => {
      const file = fileURLToPath(new URL(`../../${ALERTS}`, import.meta.url));
      expect(String(execFileSync('promtool', ['check', 'rules', file]))).toContain('SUCCESS');
      const rules = EXPRESSIONS.map((expr, index) => ({
        record: `panel_${index}`,
        expr: expr.replaceAll('$__rate_interval', '5m'),
      }));
      const panels = JSON.stringify({ groups: [{ name: 'dashboard', rules }] });
      const directory = mkdtempSync(join(tmpdir(), 'pgtls-rules-'));
      onTestFinished(() => rmSync(directory, { recursive: true }));
      writeFileSync(join(directory, 'rules.yml'), panels);
      const checked = execFileSync('promtool', ['check', 'rules', join(directory, 'rules.yml')]);
      expect(String(checked)).toContain(`SUCCESS: ${EXPRESSIONS.length} rules`);
    },
  );

  it.skipIf(!isInstalled('promtool'))(
    `has alerts that fire when they should, and only then${isInstalled('promtool') ? '' : ' (skipped: promtool is not installed)'}`,
    () => {
      const file = fileURLToPath(new URL('alerts.yml', import.meta.url));
      const { stdout, stderr, status } = spawnSync('promtool', ['test', 'rules', file]);
      expect(`${stdout}${stderr}`).toContain('SUCCESS');
      expect(status).toBe(0);
    },
  );

  it('has a test of every alert', () => {
    const tests = text('test/observability/alerts.yml');
    const names = [...text(ALERTS).matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);
    expect(names.filter((name) => !tests.includes(name))).toEqual([]);
  });
});

describe('the exposition', () => {
  const none = Object.fromEntries(
    Object.keys(METRICS).map((name) => [name, []]),
  ) as unknown as Samples;

  it('adds each bucket to those above it, as Prometheus wants it', async () => {
    const histogram = { boundsSeconds: [0.0005, 1], counts: [2, 0, 3], sumSeconds: 12.5 };
    const labels = { route: 'a\\b "c"\nd' };
    const exposition = new Exposition();
    const body = await exposition.text({
      ...none,
      pgtls_session_duration_seconds: [{ labels, histogram }],
    });
    const name = 'pgtls_session_duration_seconds';
    expect(body).toContain(`# TYPE ${name} histogram\n`);
    expect(body).toContain(`${name}_bucket{route="a\\\\b \\"c\\"\\nd",le="0.0005"} 2\n`);
    const scrape = new Scrape(body);
    expect(scrape.sum(`${name}_bucket`, { le: '1' })).toBe(2);
    expect(scrape.sum(`${name}_bucket`, { le: '+Inf' })).toBe(5);
    expect(scrape.sum(`${name}_sum`)).toBe(12.5);
    expect(scrape.sum(`${name}_count`)).toBe(5);
  });

  it('tells each scrape what it was given for it', async () => {
    const exposition = new Exposition();
    const counted = (value: number): Samples => ({
      ...none,
      pgtls_worker_restarts_total: [{ labels: {}, value }],
    });
    const both = await Promise.all([exposition.text(counted(1)), exposition.text(counted(2))]);
    const values = both.map((body) => new Scrape(body).sum('pgtls_worker_restarts_total'));
    expect(values).toEqual([1, 2]);
  });
});
