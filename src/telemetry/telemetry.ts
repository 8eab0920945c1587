import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { CacheStats } from '../cache/stats.js';
import { guarded, unawaited } from '../runtime/guard.js';
import { runInOwnContext } from '../runtime/module-context.js';
import { type AdviceItem, adviseFrom } from './advice.js';
import { Alerts } from './alerts/alerts.js';
import type { Alert, AlertsSettings } from './alerts/options.js';
import type { Breakers } from './alerts/rules.js';
import {
  BUSIEST_ROUTES,
  History,
  PROCESS_STEP_SECONDS,
  ROUTE_STEP_SECONDS,
  type TelemetryHistory,
} from './history/history.js';
import { type InstanceStore, Instances, type InstancesReport } from './instances/instances.js';
import { foldRoutes, type InstanceLabels, type InstanceSnapshot } from './instances/snapshot.js';
import type { TelemetrySettings } from './options.js';
import type { CacheUse, CacheUseFigures } from './requests/cache-use.js';
import { Connections } from './requests/connections.js';
import { durationsOf, type RequestCounts, type RequestFigures } from './requests/figures.js';
import { type FinishedRequest, RequestRecorder } from './requests/request-recorder.js';
import type { RouteFigures } from './requests/route-series.js';
import type { SlowRequestFigures } from './requests/slowest-requests.js';
import type { TopKey } from './requests/top-keys.js';
import { type HostFigures, type HostSources, totalsOf } from './system/host-sampler.js';
import { OtherProcesses, type ProcessUsage } from './system/other-processes.js';
import type { ProcessFigures } from './system/process-sampler.js';
import type { Sampler } from './system/shared-sampler.js';
import { openHostSampler, openProcessSampler } from './system/system-samplers.js';
import type { TelemetryReadings } from './telemetry-metrics.js';

/** The volatile figures. */
export interface TelemetrySnapshot {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly instance: InstanceLabels;
  /** How long requests have been counted. */
  readonly uptimeSeconds: number;
  readonly requests: {
    /** Requests that have arrived and have not ended. */
    readonly active: number;
    /** Open connections of the servers, idle ones too; read every five seconds. */
    readonly openConnections: number;
    /** Bytes on the connections since the start, headers included, up to the last request of each. */
    readonly receivedBytes: number;
    readonly sentBytes: number;
    /** Of the last minute. */
    readonly recent: RequestFigures;
    readonly sinceStart: RequestFigures;
  };
  /** Since the start. */
  readonly cache: CacheUseFigures;
  /** Of the last five seconds; `null` before the first reading. */
  readonly process: ProcessFigures | null;
  /** The cost of telemetry itself. */
  readonly self: {
    /** Pairs of method and route that are counted separately. */
    readonly routes: number;
    /** Requests that were counted as `overflow`. */
    readonly overflowed: number;
    readonly historyBytes: number;
  };
}

/** Process and machine over the last five seconds. */
export interface SystemFigures {
  readonly pid: number;
  readonly nodeVersion: string;
  readonly platform: string;
  readonly uptimeSeconds: number;
  /** `null` before the first reading. */
  readonly process: ProcessFigures | null;
  readonly host: HostFigures | null;
  /** Workers of `node:cluster`, seen from the primary, and processes that were named. */
  readonly others: readonly ProcessUsage[];
}

/** Figures of the cache. */
export interface CacheTelemetry {
  /** Of all routes, since the start. */
  readonly all: CacheUseFigures;
  /** The busiest first; 50 at most. */
  readonly routes: readonly ({ readonly method: string; readonly route: string } & CacheUseFigures)[];
  /** URLs that were served most often; 20 at most. */
  readonly topKeys: readonly TopKey[];
  /** Counts of the cache itself (`perf.cache.stats()`); absent when it is off. */
  readonly store?: CacheStats | undefined;
}

/** The parts of the package that telemetry reads. */
export interface TelemetrySources {
  /** Absent when the cache is off. */
  readonly cache?: (() => CacheStats) | undefined;
  /** Bytes of the memory tier at most. */
  readonly cacheMaxBytes?: number | undefined;
  /** Absent without Redis. */
  readonly instances?: InstanceStore | undefined;
  /** Absent without Redis. */
  readonly breakers?: (() => Breakers) | undefined;
}

const TOP_KEYS = 20;

/** Routes that advice looks at. */
const ADVISED_ROUTES = 500;

/** An order of routes. */
export type RouteOrder = 'requests' | 'time' | 'errors';

const ORDERS: Readonly<Record<RouteOrder, (counts: RequestCounts) => number>> = {
  requests: ({ requests }) => requests,
  time: ({ total }) => total.sum,
  errors: ({ serverErrors }) => serverErrors,
};

/** A window of five seconds that has ended. */
interface EndedWindow {
  readonly counts: RequestCounts;
  /** Since the start. */
  readonly cacheUse: CacheUse;
  /** Its length. */
  readonly seconds: number;
  readonly own: ProcessFigures;
}

/** Windows of the process in one of the routes. */
const STEPS_PER_MINUTE = ROUTE_STEP_SECONDS / PROCESS_STEP_SECONDS;

/**
 * Figures of requests, cache, process and machine. Recording costs nanoseconds. Everything else is done every five
 * seconds, from the first request or reading on, on a timer that does not keep the process alive. Every list is
 * bounded, whatever clients send.
 */
export class Telemetry {
  readonly recorder: RequestRecorder;
  readonly #sources: TelemetrySources;
  readonly #connections = new Connections();
  readonly #history = new History();
  readonly #others = new OtherProcesses();
  readonly #hostSources: HostSources;
  readonly #instances: Instances;
  readonly #labels: InstanceLabels;
  readonly #alerts: Alerts | undefined;
  #startedAt = performance.now();
  #stepAt = this.#startedAt;
  #sampler: Sampler<ProcessFigures> | undefined;
  #host: Sampler<Promise<HostFigures>> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #minuteAt = this.#startedAt;
  #steps = 0;
  #isReading = false;
  #isClosed = false;
  #process: ProcessFigures | undefined;
  #lastHost: HostFigures | undefined;
  #otherUsage: readonly ProcessUsage[] = [];
  #openConnections = 0;
  #traffic = { receivedBytes: 0, sentBytes: 0 };
  #cacheBefore = { reused: 0, cacheable: 0, servedBytes: 0 };

  /** @param alerts `false`: there are none. */
  constructor(
    settings: TelemetrySettings,
    sources: TelemetrySources = {},
    alerts: AlertsSettings | false = false,
  ) {
    this.#sources = sources;
    this.#alerts = alerts ? new Alerts(alerts, sources.breakers) : undefined;
    this.recorder = new RequestRecorder(settings.maxRoutes, settings.queries);
    const { procRoot, cgroupRoot, diskPath = process.cwd() } = settings;
    this.#hostSources = { procRoot, cgroupRoot, diskPath };
    const version = settings.version ?? process.env.npm_package_version;
    this.#labels = {
      id: randomUUID(),
      host: hostname(),
      pid: process.pid,
      ...(version !== undefined && { version }),
      startedAt: Date.now(),
    };
    const store = settings.instances ? sources.instances : undefined;
    this.#instances = new Instances(store, () => this.#ownSnapshot());
  }

  /** A request has arrived; `finished` follows. */
  started(): void {
    this.recorder.active++;
    if (!this.#timer) this.#start();
  }

  /**
   * A request that was announced by `started` has ended.
   *
   * @param socket that it arrived on.
   */
  finished(req: IncomingMessage, socket: Socket | null | undefined, ended: FinishedRequest): void {
    this.recorder.active--;
    this.recorder.record(ended);
    this.#connections.note(req, socket);
  }

  /** A request that was announced by `started` has ended, and does not count: a scrape, a probe. */
  endedUncounted(): void {
    this.recorder.active--;
  }

  /** The volatile figures. */
  snapshot(): TelemetrySnapshot {
    this.#start();
    const { recorder } = this;
    const uptimeSeconds = this.#uptime;
    return {
      at: Date.now(),
      instance: this.#labels,
      uptimeSeconds,
      requests: {
        active: recorder.active,
        openConnections: this.#openConnections,
        ...this.#connections.traffic,
        recent: recorder.all.recent().figures(this.#recentSeconds),
        sinceStart: recorder.all.all().figures(uptimeSeconds),
      },
      cache: recorder.cacheUse().figures(),
      process: this.#process ?? null,
      self: {
        routes: recorder.size,
        overflowed: recorder.overflowed,
        historyBytes: this.#history.bytes,
      },
    };
  }

  /** @internal Numbers for metrics. Reading them starts nothing. */
  readings(): TelemetryReadings {
    const { recorder } = this;
    return {
      traffic: this.#connections.traffic,
      counts: () => recorder.all.all(),
      cacheUse: () => recorder.cacheUse(),
      openConnections: this.#openConnections,
      process: this.#process,
      host: this.#lastHost,
      totals: this.#lastHost && totalsOf(this.#lastHost),
      others: this.#otherUsage,
      instances: this.#instances.alive,
      routes: recorder.size,
      overflowed: recorder.overflowed,
      historyBytes: this.#history.bytes,
      alerts: this.alerts(),
    };
  }

  /**
   * Figures of methods and routes, the busiest of the last minute first.
   *
   * @param most routes; the others are left out. Default: all.
   * @param by another order: `time` that requests took together, or `errors` of the server. Default: `requests`.
   */
  routes(most?: number, by: RouteOrder = 'requests'): RouteFigures[] {
    this.#start();
    const recent = Math.min(this.#uptime, ROUTE_STEP_SECONDS + (performance.now() - this.#minuteAt) / 1000);
    const read = ORDERS[by];
    // Percentiles take longer than the order, so they are computed for the routes that are shown alone.
    return this.recorder.routes
      .map((series) => ({ series, weight: series.counts.sumOfRecent(read), all: series.counts.requests }))
      .sort((a, b) => b.weight - a.weight || b.all - a.all)
      .slice(0, most)
      .map(({ series }) => series.figures(this.#uptime, recent));
  }

  /** The last hour. */
  history(): TelemetryHistory {
    return this.#history.read();
  }

  /** The slowest requests of the last hour by their time to headers, the slowest first; 50 at most. */
  slowRequests(): SlowRequestFigures[] {
    this.#start();
    return this.recorder.slowest.list();
  }

  /** Process and machine. */
  system(): SystemFigures {
    this.#start();
    return {
      pid: process.pid,
      nodeVersion: process.version,
      platform: process.platform,
      uptimeSeconds: process.uptime(),
      process: this.#process ?? null,
      host: this.#lastHost ?? null,
      others: this.#otherUsage,
    };
  }

  /** Figures of the cache for each route. */
  cache(): CacheTelemetry {
    const routes = this.recorder.routes
      .flatMap(({ method, route, cache }) => (cache ? { method, route, cache } : []))
      .sort((a, b) => b.cache.requests - a.cache.requests)
      .slice(0, BUSIEST_ROUTES)
      .map(({ method, route, cache }) => ({ method, route, ...cache.figures() }));
    return {
      all: this.recorder.cacheUse().figures(),
      routes,
      topKeys: this.recorder.topKeys.list(TOP_KEYS),
      ...(this.#sources.cache && { store: this.#sources.cache() }),
    };
  }

  /** Advice in words, the gravest first; 50 at most. */
  advice(): AdviceItem[] {
    const blocking = this.recorder.routes
      .map(({ method, route, blockedMs, blockedMsBefore }) => ({
        method,
        route,
        blockedSeconds: (blockedMs + blockedMsBefore) / 1000,
      }))
      .filter(({ blockedSeconds }) => blockedSeconds > 0)
      .sort((a, b) => b.blockedSeconds - a.blockedSeconds);
    return adviseFrom({
      routes: this.routes(ADVISED_ROUTES),
      blocking,
      process: this.#process,
      host: this.#lastHost,
      cache: this.#sources.cache?.(),
      cacheMaxBytes: this.#sources.cacheMaxBytes,
    });
  }

  /** Every alert of this instance with its state, in the order of the config; empty if `alerts` is off. */
  alerts(): Alert[] {
    return this.#alerts?.list() ?? [];
  }

  /** @internal Begins before the first request, where there are alerts. */
  startAlerts(): void {
    if (this.#alerts) this.#start();
  }

  /** All instances that share the Redis of the cache; this one alone where there is none. Never rejects. */
  instances(): Promise<InstancesReport> {
    this.#start();
    return this.#instances.report();
  }

  /** The same for one instance; `undefined` if there is none of this id. Never rejects. */
  instance(id: string): Promise<InstancesReport | undefined> {
    this.#start();
    return this.#instances.reportOf(id);
  }

  /** The identity of this instance. */
  get labels(): InstanceLabels {
    return this.#labels;
  }

  /** After `close`. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Shows CPU and memory of another process in `system().others`: of a job worker, say.
   *
   * @param name what it is called there.
   * @returns what ends that; idempotent.
   */
  watchProcess(pid: number, name: string): () => void {
    this.#start();
    return this.#others.watch(pid, name);
  }

  /**
   * Stops its timer, releases all connections and removes its snapshot from Redis; the counts can still be read. Idempotent; never rejects.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#sampler?.close?.();
    this.#host?.close?.();
    this.#connections.close();
    await this.#instances.close();
  }

  /**
   * @internal Ends a window of five seconds. The timer does it.
   * @returns when the readings that take time are there too.
   */
  async step(): Promise<void> {
    if (this.#isClosed || !this.#sampler) return;
    this.#process = this.#sampler.rotate();
    const seconds = (performance.now() - this.#stepAt) / 1000 || PROCESS_STEP_SECONDS;
    this.#stepAt = performance.now();
    const cacheUse = this.recorder.cacheUse();
    this.#pushHistory({ counts: this.recorder.all.rotate(), cacheUse, seconds, own: this.#process });
    this.#alerts?.evaluate({
      requests: this.recorder.all.recent(),
      routes: this.recorder.routes,
      cacheUse,
      process: this.#process,
    });
    if (++this.#steps % STEPS_PER_MINUTE === 0) {
      this.#minuteAt = performance.now();
      this.#history.pushRoutes(Date.now(), this.recorder.rotateRoutes(BUSIEST_ROUTES));
    }
    await Promise.all([this.#readSlowly(), this.#instances.publish()]);
  }

  #start(): void {
    if (this.#timer || this.#isClosed) return;
    this.#startedAt = this.#stepAt = this.#minuteAt = performance.now();
    // Requests of all clients use it, and one of them happens to be the first.
    runInOwnContext(() => {
      this.#sampler = openProcessSampler();
      this.#host = openHostSampler(this.#hostSources);
      const step = guarded('telemetry', () => unawaited(this.step(), 'telemetry'));
      this.#timer = setInterval(step, PROCESS_STEP_SECONDS * 1000).unref();
      void unawaited(this.#readSlowly(), 'telemetry');
    });
  }

  /** Readings that need the system; one at a time. */
  async #readSlowly(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const [host, others, connections] = await Promise.all([
        this.#host?.rotate(),
        this.#others.read(),
        this.#connections.count(),
      ]);
      this.#lastHost = host;
      this.#otherUsage = others;
      this.#openConnections = connections;
    } finally {
      this.#isReading = false;
    }
  }

  #pushHistory({ counts, cacheUse, seconds, own }: EndedWindow): void {
    const { traffic } = this.#connections;
    const cache = cacheUse.totals;
    const before = this.#cacheBefore;
    const host = this.#lastHost;
    const { requests, clientErrors, serverErrors } = counts;
    const share = (count: number, of: number) => (of > 0 ? count / of : null);
    const { mean, p50, p95, p99 } = durationsOf(counts.total);
    this.#history.pushProcess(Date.now(), {
      requestRate: requests / seconds,
      clientErrorRatio: share(clientErrors, requests),
      serverErrorRatio: share(serverErrors, requests),
      mean,
      p50,
      p95,
      p99,
      p95ToHeaders: durationsOf(counts.toHeaders).p95,
      activeRequests: this.recorder.active,
      openConnections: this.#openConnections,
      receivedBytesRate: (traffic.receivedBytes - this.#traffic.receivedBytes) / seconds,
      sentBytesRate: (traffic.sentBytes - this.#traffic.sentBytes) / seconds,
      cacheHitRatio: share(cache.reused - before.reused, cache.cacheable - before.cacheable),
      cacheServedBytesRate: (cache.servedBytes - before.servedBytes) / seconds,
      compressionSavedBytesRate: counts.savedBytes / seconds,
      cpuCores: own.cpuCores,
      rssBytes: own.rssBytes,
      heapUsedBytes: own.heapUsedBytes,
      eventLoopUtilization: own.eventLoop.utilization,
      eventLoopDelayP99: own.eventLoop.delay?.p99 ?? null,
      gcSeconds: own.gc.seconds,
      hostCpuRatio: host?.cpuRatio ?? null,
      diskUsedRatio: host?.disk?.usedRatio ?? null,
      networkReceivedBytesRate: host?.network?.receivedBytesPerSecond ?? null,
      networkSentBytesRate: host?.network?.sentBytesPerSecond ?? null,
    });
    this.#traffic = traffic;
    this.#cacheBefore = cache;
  }

  #ownSnapshot(): InstanceSnapshot {
    const { recorder } = this;
    const own = this.#process;
    const routes = recorder.routes
      .map(({ method, route, counts }) => ({ method, route, counts: counts.all() }))
      .sort((a, b) => b.counts.requests - a.counts.requests);
    return {
      labels: this.#labels,
      state: {
        uptimeSeconds: this.#uptime,
        activeRequests: recorder.active,
        openConnections: this.#openConnections,
        requestRate: recorder.all.recent().figures(this.#recentSeconds).rate,
        cpuCores: own?.cpuCores ?? null,
        rssBytes: own?.rssBytes ?? null,
        heapUsedBytes: own?.heapUsedBytes ?? null,
        heapLimitBytes: own?.heapLimitBytes ?? null,
        eventLoopUtilization: own?.eventLoop.utilization ?? null,
        eventLoopDelayP99: own?.eventLoop.delay?.p99 ?? null,
        firing: this.alerts().filter(({ state }) => state === 'firing'),
      },
      all: recorder.all.all(),
      cache: recorder.cacheUse(),
      routes: foldRoutes(routes, BUSIEST_ROUTES),
    };
  }

  /** Seconds. */
  get #uptime(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }

  /** The time that recent counts of all requests cover. */
  get #recentSeconds(): number {
    return Math.min(this.#uptime, ROUTE_STEP_SECONDS + (performance.now() - this.#stepAt) / 1000);
  }
}
