import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { cutTemplate } from '../exchange/route-template.js';
import { beforeRead, DeferredSeries, Observations } from './deferred-series.js';
import { counterIn, gaugeIn, histogramIn } from './get-or-create.js';
import { labelOfMethod, OTHER_LABEL, OVERFLOW_ROUTE, UNMATCHED_ROUTE } from './labels.js';

/** Separate for each copy of the package, because their versions may differ. */
const RECORDER = Symbol('hotpath.http-metrics');

type RecordedRequest = Registry & { [RECORDER]?: HttpMetrics };

/** Limits of recorded requests. */
export interface HttpMetricsSettings {
  /** Upper bounds of the duration histogram, in seconds. */
  readonly buckets: readonly number[];
  /** Maximum number of label sets of the request counter. */
  readonly maxSeries: number;
}

/** The recorders of one method and path. */
interface PathSeries {
  readonly seconds: Observations;
  readonly statuses: Map<number, DeferredSeries>;
}

/**
 * Counts requests in a registry, with a bounded number of label sets. Text from clients is never a
 * label: paths are route templates or `unmatched`, unknown methods are `other`.
 */
export class HttpMetrics {
  readonly #requests: Counter<'method' | 'path' | 'status'>;
  readonly #durations: Histogram<'method' | 'path'>;
  readonly #inProgress: Gauge<'method'>;
  readonly #overflows: Counter;
  readonly #maxSeries: number;
  readonly #series = new Map<string, Map<string, PathSeries>>();
  readonly #gauges = new Map<string, DeferredSeries>();
  #size = 0;

  /** @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds other metrics by these names. */
  constructor(registry: Registry, { buckets, maxSeries }: HttpMetricsSettings) {
    this.#maxSeries = maxSeries;
    this.#requests = counterIn(registry, {
      name: 'http_requests_total',
      help: 'Finished requests by route template and status; 499: the client left before the response was complete.',
      labelNames: ['method', 'path', 'status'],
    });
    this.#durations = histogramIn(registry, {
      name: 'http_request_duration_seconds',
      help: 'Time from the arrival of a request to the end of its response.',
      labelNames: ['method', 'path'],
      buckets: [...buckets],
    });
    this.#inProgress = gaugeIn(registry, {
      name: 'http_requests_in_progress',
      help: 'Requests without a complete response.',
      labelNames: ['method'],
    });
    this.#overflows = counterIn(registry, {
      name: 'hotpath_metrics_overflow_total',
      help: 'Requests counted under the path "overflow", because the maximum of label sets was reached.',
    });
    beforeRead(this.#requests, () => {
      for (const { statuses } of this.#paths()) for (const count of statuses.values()) count.show();
    });
    beforeRead(this.#durations, () => {
      for (const { seconds } of this.#paths()) seconds.show();
    });
    beforeRead(this.#inProgress, () => {
      for (const gauge of this.#gauges.values()) gauge.show();
    });
    const size = () => this.#size;
    gaugeIn(registry, {
      name: 'hotpath_metrics_series',
      help: 'Label sets of http_requests_total.',
      collect() {
        this.set(size());
      },
    });
  }

  /** The recorder of a registry. Instances that share a registry share it, so that each request is counted once. */
  static of(registry: Registry, settings: HttpMetricsSettings): HttpMetrics {
    const recorded = registry as RecordedRequest;
    return (recorded[RECORDER] ??= new HttpMetrics(registry, settings));
  }

  /** Records a new request. @returns its method as a label, for `finished`. */
  started(method: string | undefined): string {
    const label = labelOfMethod(method);
    this.#gauge(label).value++;
    return label;
  }

  /**
   * Records the end of a request.
   *
   * @param method the result of `started`.
   * @param path the route template; `undefined` if no route matched.
   */
  finished(method: string, path: string | undefined, status: number, seconds: number): void {
    this.#gauge(method).value--;
    this.answered(method, path, status, seconds);
  }

  /** Records a request with a known method that was answered at once. */
  answered(method: string, path: string | undefined, status: number, seconds: number): void {
    const code = status >= 100 && status <= 599 ? status : 0;
    // Also for entries from Redis, whose templates another version may have written.
    const template = path === undefined ? UNMATCHED_ROUTE : cutTemplate(path);
    let series = this.#series.get(method)?.get(template);
    let count = series?.statuses.get(code);
    if (!count && this.#size >= this.#maxSeries) {
      this.#overflows.inc();
      series = this.#pathSeries(method, OVERFLOW_ROUTE);
      count = series.statuses.get(code) ?? this.#add(series, method, OVERFLOW_ROUTE, code);
    } else if (!count) {
      series = this.#pathSeries(method, template);
      count = this.#add(series, method, template, code);
      this.#size++;
    }
    count.value++;
    series?.seconds.add(seconds);
  }

  #pathSeries(method: string, path: string): PathSeries {
    let paths = this.#series.get(method);
    if (!paths) this.#series.set(method, (paths = new Map()));
    let series = paths.get(path);
    if (!series) {
      const seconds = new Observations(this.#durations.labels(method, path));
      paths.set(path, (series = { seconds, statuses: new Map() }));
    }
    return series;
  }

  #add(series: PathSeries, method: string, path: string, code: number): DeferredSeries {
    const count = new DeferredSeries(
      this.#requests.labels(method, path, code === 0 ? OTHER_LABEL : String(code)),
    );
    series.statuses.set(code, count);
    return count;
  }

  #gauge(method: string): DeferredSeries {
    let gauge = this.#gauges.get(method);
    if (!gauge) this.#gauges.set(method, (gauge = new DeferredSeries(this.#inProgress.labels(method))));
    return gauge;
  }

  #paths(): PathSeries[] {
    return [...this.#series.values()].flatMap((paths) => [...paths.values()]);
  }
}
