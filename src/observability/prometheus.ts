/**
 * Metrics in Prometheus' text format: prom-client's registry over numbers that are counted elsewhere. The only importer of prom-client.
 *
 * prom-client's own counters and histograms hold their numbers themselves. Ours are atomics of the data plane, so each metric here
 * is a view of the one reading that a scrape begins with.
 */
import { type Metric, type MetricObjectWithValues, type MetricValue, Registry } from 'prom-client';
import {
  type HistogramName,
  METRICS,
  type MetricDescription,
  type MetricName,
  type MetricType,
  type NumberName,
} from './metric-table.ts';

/** Values of labels by name. */
export type Labels = Readonly<Record<string, string>>;

/** A count or a level. */
export interface NumberSample {
  readonly labels: Labels;
  readonly value: number;
}

/** Durations by bucket. */
export interface HistogramSample {
  readonly labels: Labels;
  readonly histogram: {
    /** Inclusive upper bounds, ascending. */
    readonly boundsSeconds: readonly number[];
    /** Of each bucket alone; one more than there are bounds. */
    readonly counts: readonly number[];
    readonly sumSeconds: number;
  };
}

/** What every metric stands at, at one moment: a sample for each set of labels. */
export type Samples = Readonly<
  Record<NumberName, readonly NumberSample[]> & Record<HistogramName, readonly HistogramSample[]>
>;

type AnySample = NumberSample | HistogramSample;
type Value = MetricValue<string> & { metricName?: string };

/** Writes samples down. */
export class Exposition {
  readonly #registry = new Registry();
  #samples: Samples | null = null;

  constructor() {
    for (const [name, description] of Object.entries(METRICS) as [
      MetricName,
      MetricDescription,
    ][]) {
      const view = new MetricView(name, description, () => this.#samples?.[name] ?? []);
      // The registry asks nothing of a metric but what MetricView has.
      this.#registry.registerMetric(view as unknown as Metric);
    }
  }

  /** The header that goes with the text. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text of `samples`; every metric is read before this returns its promise. */
  text(samples: Samples): Promise<string> {
    this.#samples = samples;
    return this.#registry.metrics();
  }
}

/** What the registry knows as a metric. */
class MetricView {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly aggregator = 'sum';
  readonly #samples: () => readonly AnySample[];

  constructor(
    name: string,
    { help, type }: MetricDescription,
    samples: () => readonly AnySample[],
  ) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#samples = samples;
  }

  async get(): Promise<MetricObjectWithValues<Value>> {
    const values = this.#samples().flatMap((sample) =>
      'histogram' in sample
        ? histogramValues(this.name, sample)
        : [{ labels: sample.labels, value: sample.value }],
    );
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator, values } as unknown as MetricObjectWithValues<Value>;
  }
}

/** Prometheus counts in each bucket what is in the smaller ones, too. */
function histogramValues(name: string, { labels, histogram }: HistogramSample): Value[] {
  const { boundsSeconds, counts, sumSeconds } = histogram;
  let total = 0;
  const buckets = counts.map((count, index) => {
    total += count;
    const bound = boundsSeconds[index];
    const le = bound === undefined ? '+Inf' : String(bound);
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sumSeconds },
    { metricName: `${name}_count`, labels, value: total },
  ];
}
