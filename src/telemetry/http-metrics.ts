import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Counter, Gauge, Registry } from 'prom-client';
import { nameRoute, OVERFLOW_ROUTE } from '../exchange/route-template.js';
import { AppLabels } from './app-labels.js';
import { beforeRead, DeferredSeries } from './deferred-series.js';
import { counterIn, gaugeIn, histogramIn } from './get-or-create.js';
import { labelOfMethod, OTHER_LABEL } from './labels.js';
import { type DurationSeries, RouteHistogram } from './route-histogram.js';
import { type TraceReference, traceOf } from './trace-context.js';

/** Separate for each copy of the package, because their versions may differ. */
const RECORDER = Symbol('hotpath.http-metrics');

type RecordedRequest = Registry & { [RECORDER]?: HttpMetrics };

/** Limits of recorded requests. */
export interface HttpMetricsSettings {
  /** Upper bounds of the duration histogram, in seconds. */
  readonly buckets: readonly number[];
  /** Maximum number of label sets of the request counter. */
  readonly maxSeries: number;
  /** Further labels, fixed or computed for each request. */
  readonly labels: Readonly<Record<string, MetricLabel>>;
  /** Whether the histogram has the label `status`. */
  readonly statusInDurations: boolean;
  /** The buckets of a route; `undefined`: those of the histogram. */
  readonly bucketsOf?: ((template: string) => readonly number[] | undefined) | undefined;
  /** Whether the histogram keeps a trace for each bucket. */
  readonly exemplars: boolean;
}

/** A request and its response, for labels. */
export interface LabelledRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

/** The value of a label, or a function that returns it. */
export type MetricLabel = string | ((request: LabelledRequest) => string);

/** The recorders of one method, path and set of labels of the app. */
interface PathSeries {
  readonly method: string;
  readonly path: string;
  readonly appLabels: readonly string[];
  readonly statuses: Map<number, StatusSeries>;
}

interface StatusSeries {
  readonly count: DeferredSeries;
  /** The same for all statuses, unless the histogram has the label `status`. */
  readonly seconds: DurationSeries;
}

/**
 * Counts requests in a registry, with a bounded number of label sets. Text from clients is never a
 * label: paths are route templates or `unmatched`, unknown methods are `other`.
 */
export class HttpMetrics {
  readonly #requests: Counter<string>;
  readonly #durations: RouteHistogram;
  readonly #inProgress: Gauge<'method'>;
  readonly #overflows: Counter;
  /** All of its metrics, as they are registered. */
  readonly #metrics: readonly unknown[];
  readonly #maxSeries: number;
  readonly #labels: AppLabels<LabelledRequest>;
  readonly #hasStatus: boolean;
  readonly #bucketsOf: HttpMetricsSettings['bucketsOf'];
  readonly #series = new Map<string, Map<string, PathSeries>>();
  readonly #gauges = new Map<string, DeferredSeries>();
  #size = 0;
  #hasExemplars = false;

  /** @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds other metrics by these names. */
  constructor(registry: Registry, settings: HttpMetricsSettings) {
    const { buckets, maxSeries, labels, statusInDurations } = settings;
    this.#maxSeries = maxSeries;
    this.#labels = new AppLabels(labels);
    this.#bucketsOf = settings.bucketsOf;
    this.#hasStatus = statusInDurations;
    const names = Object.keys(labels);
    this.#requests = counterIn(registry, {
      name: 'http_requests_total',
      help: 'Finished requests by route template and status; 499: the client left before the response was complete.',
      labelNames: ['method', 'path', 'status', ...names],
    });
    const durations = histogramIn<string>(registry, {
      name: 'http_request_duration_seconds',
      help: 'Time from the arrival of a request to the end of its response.',
      labelNames: ['method', 'path', ...(statusInDurations ? ['status'] : []), ...names],
      buckets: [...buckets],
    });
    this.#durations = new RouteHistogram(durations);
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
      for (const { statuses } of this.#paths()) for (const { count } of statuses.values()) count.show();
    });
    beforeRead(this.#inProgress, () => {
      for (const gauge of this.#gauges.values()) gauge.show();
    });
    const size = () => this.#size;
    const seriesCount = gaugeIn(registry, {
      name: 'hotpath_metrics_series',
      help: 'Label sets of http_requests_total.',
      collect() {
        this.set(size());
      },
    });
    this.#metrics = [this.#requests, durations, this.#inProgress, this.#overflows, seriesCount];
  }

  /** The recorder of a registry. Instances that share a registry share it, so that each request is counted once. */
  static of(registry: Registry, settings: HttpMetricsSettings): HttpMetrics {
    const recorded = registry as RecordedRequest;
    const known = recorded[RECORDER];
    // After `registry.clear()` (hot reload, tests) a known recorder counts where no scrape reads.
    const isKnown = known ? known.#isIn(registry) : false;
    const recorder = isKnown ? known! : new HttpMetrics(registry, settings);
    if (settings.exemplars) recorder.#hasExemplars = true;
    return (recorded[RECORDER] = recorder);
  }

  /** By identity: a registry in the OpenMetrics format changes the names of its metrics. */
  #isIn(registry: Registry): boolean {
    const present: readonly unknown[] = registry.getMetricsAsArray();
    return this.#metrics.every((metric) => present.includes(metric));
  }

  /** Records a new request. @returns its method as a label, for `finished`. */
  started(method: string | undefined): string {
    const label = labelOfMethod(method);
    this.#gauge(label).value++;
    return label;
  }

  /** The trace of a request, for `finished`; it must be read in the async context of the request. */
  traceOf(req: IncomingMessage): TraceReference | undefined {
    return this.#hasExemplars ? traceOf(req) : undefined;
  }

  /**
   * Records the end of a request.
   *
   * @param method the result of `started`.
   * @param path the route template; `undefined` if no route matched.
   * @param seconds `undefined` for a response whose duration does not count.
   * @param trace the result of `traceOf`.
   */
  finished(
    method: string,
    path: string | undefined,
    status: number,
    seconds: number | undefined,
    request: LabelledRequest,
    trace: TraceReference | undefined,
  ): void {
    this.left(method);
    this.#count(method, path, status, seconds, request, trace);
  }

  /** Records the end of a request that appears in no other series. */
  left(method: string): void {
    this.#gauge(method).value--;
  }

  /** Records a request with a known method that was answered at once, in its async context. */
  answered(
    method: string,
    path: string | undefined,
    status: number,
    seconds: number | undefined,
    request: LabelledRequest,
  ): void {
    this.#count(method, path, status, seconds, request, this.traceOf(request.req));
  }

  #count(
    method: string,
    path: string | undefined,
    status: number,
    seconds: number | undefined,
    request: LabelledRequest,
    trace: TraceReference | undefined,
  ): void {
    const code = status >= 100 && status <= 599 ? status : 0;
    const template = nameRoute(path);
    const appLabels = this.#labels.valuesOf(request);
    const key = this.#labels.isDynamic ? [template, ...appLabels].join('\n') : template;
    let found = this.#series.get(method)?.get(key)?.statuses.get(code);
    if (!found && this.#size >= this.#maxSeries) {
      this.#overflows.inc();
      const series = this.#pathSeries(method, OVERFLOW_ROUTE, OVERFLOW_ROUTE, this.#labels.overflow);
      found = series.statuses.get(code) ?? this.#add(series, code);
    } else if (!found) {
      found = this.#add(this.#pathSeries(method, template, key, appLabels), code);
      this.#size++;
    }
    found.count.value++;
    if (seconds !== undefined) found.seconds.observe(seconds, trace);
  }

  #pathSeries(method: string, path: string, key: string, appLabels: readonly string[]): PathSeries {
    let paths = this.#series.get(method);
    if (!paths) this.#series.set(method, (paths = new Map()));
    let series = paths.get(key);
    if (!series) paths.set(key, (series = { method, path, appLabels, statuses: new Map() }));
    return series;
  }

  #add({ method, path, appLabels, statuses }: PathSeries, code: number): StatusSeries {
    const status = code === 0 ? OTHER_LABEL : String(code);
    const count = new DeferredSeries(this.#requests.labels(method, path, status, ...appLabels));
    const [first] = statuses.values();
    const labels = [method, path, ...(this.#hasStatus ? [status] : []), ...appLabels];
    const seconds =
      first && !this.#hasStatus ? first.seconds : this.#durations.labels(labels, this.#bucketsOf?.(path));
    const series = { count, seconds };
    statuses.set(code, series);
    return series;
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
