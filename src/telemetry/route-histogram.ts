import type { Histogram } from 'prom-client';
import type { TraceReference } from './trace-context.js';

/** A request of a bucket, and its trace. */
interface BucketExemplar {
  readonly labelSet: Readonly<Record<string, string>>;
  readonly value: number;
  /** Seconds since 1970. */
  readonly timestamp: number;
}

/** Plain, because copies of the package share it. */
interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly bounds: readonly number[];
  /** Of each bucket alone; the last one has no bound. */
  readonly counts: Float64Array;
  readonly exemplars: (BucketExemplar | undefined)[];
  sum: number;
}

/** Series by their labels and bounds. The name tells the form of `Series`: another form needs another name. */
const SERIES = Symbol.for('hotpath.histogram-series.1');

interface WrittenHistogram {
  readonly values: unknown[];
}

/** The parts of a histogram of `prom-client` that are used. */
interface ReadableHistogram {
  readonly name: string;
  readonly labelNames: readonly string[];
  readonly upperBounds: readonly number[];
  getForPromString(): Promise<WrittenHistogram>;
  reset(): void;
  [SERIES]?: Map<string, Series>;
}

/** Observes durations of one set of labels. */
export interface DurationSeries {
  /**
   * @param seconds not negative.
   * @param trace shown with the bucket until a later request of the bucket has one.
   */
  observe(seconds: number, trace?: TraceReference): void;
}

/**
 * A registered histogram whose series are counted here, where a series can have its own buckets. `prom-client` has one
 * list of buckets for all series, and looks up the labels for each observation. Its exemplars need a histogram made for
 * them.
 */
export class RouteHistogram {
  readonly #main: ReadableHistogram;
  readonly #series: Map<string, Series>;

  constructor(main: Histogram<string>) {
    this.#main = main as unknown as ReadableHistogram;
    this.#series = this.#main[SERIES] ??= showSeries(this.#main);
  }

  /** @param buckets upper bounds; `undefined`: those of the histogram. */
  labels(values: readonly string[], buckets: readonly number[] | undefined): DurationSeries {
    const { labelNames, upperBounds } = this.#main;
    const bounds = buckets ?? upperBounds;
    const labels = Object.fromEntries(labelNames.map((name, at) => [name, values[at]!]));
    const key = JSON.stringify([values, bounds]);
    let series = this.#series.get(key);
    if (!series) this.#series.set(key, (series = makeSeries(labels, bounds)));
    const found = series;
    return { observe: (seconds, trace) => observe(found, seconds, trace) };
  }
}

function makeSeries(labels: Series['labels'], bounds: readonly number[]): Series {
  const size = bounds.length + 1;
  return { labels, bounds, counts: new Float64Array(size), exemplars: new Array(size), sum: 0 };
}

function observe(series: Series, seconds: number, trace: TraceReference | undefined): void {
  const { bounds, counts } = series;
  let at = 0;
  while (at < bounds.length && seconds > bounds[at]!) at++;
  counts[at]!++;
  series.sum += seconds;
  if (!trace) return;
  const { traceId, spanId } = trace;
  const labelSet = { trace_id: traceId, ...(spanId !== undefined && { span_id: spanId }) };
  series.exemplars[at] = { labelSet, value: seconds, timestamp: Date.now() / 1000 };
}

/** Makes a histogram show series beside its own. */
function showSeries(main: ReadableHistogram): Map<string, Series> {
  const series = new Map<string, Series>();
  const { getForPromString, reset } = main;
  Object.assign(main, {
    async getForPromString(this: ReadableHistogram) {
      const read = await getForPromString.call(this);
      const ours = [...series.values()].flatMap((each) => describeSeries(each, this.name));
      return { ...read, values: [...read.values, ...ours] };
    },
    reset(this: ReadableHistogram) {
      reset.call(this);
      for (const each of series.values()) {
        each.counts.fill(0);
        each.exemplars.fill(undefined);
        each.sum = 0;
      }
    },
  });
  return series;
}

/** As `prom-client` gives the values of a histogram. */
function describeSeries({ labels, bounds, counts, exemplars, sum }: Series, name: string): unknown[] {
  const values: unknown[] = [];
  let count = 0;
  for (let at = 0; at < counts.length; at++) {
    count += counts[at]!;
    const le = bounds[at] ?? '+Inf';
    const exemplar = exemplars[at];
    values.push({
      metricName: `${name}_bucket`,
      labels: { le },
      sharedLabels: labels,
      value: count,
      ...(exemplar && { exemplar }),
    });
  }
  values.push({ metricName: `${name}_sum`, labels: {}, sharedLabels: labels, value: sum });
  values.push({ metricName: `${name}_count`, labels: {}, sharedLabels: labels, value: count });
  return values;
}
