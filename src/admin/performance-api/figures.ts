import { monitorOf } from '../../postgres/monitor/figures.js';
import type { TelemetryHistory } from '../../telemetry/history/history.js';
import type { InstancesReport } from '../../telemetry/instances/instances.js';
import type { PerformanceApiSettings, PoolCounts } from '../options.js';
import { JobFigureReader } from './job-figures.js';
import type { Query } from './query.js';
import { type ResourceFigures, ResourceProblem } from './resource-result.js';

/** Reads the figures of each resource. */
export function makeFigures(settings: PerformanceApiSettings) {
  const { perf } = settings;
  const { telemetry, config } = perf;
  const memory = config.cache ? config.cache.memory : undefined;
  return {
    system: (): ResourceFigures => {
      const { pid: _, nodeVersion, platform, ...figures } = telemetry.system();
      return { stable: { nodeVersion, platform }, volatile: figures };
    },

    api: (query: Query): Promise<ResourceFigures | ResourceProblem> => readApiFigures(perf, query),

    cache: async ({
      instance,
      keys: limit,
      prefix,
      route,
      tag,
    }: Query): Promise<ResourceFigures | ResourceProblem> => {
      const stable = {
        isOn: config.cache !== false,
        maxBytes: memory?.maxBytes ?? 0,
        maxEntries: memory?.maxEntries ?? 0,
      };
      if (instance !== undefined) {
        return ofOthers(perf.telemetry, instance, ({ total }) => ({
          stable,
          volatile: {
            use: total.cache,
            routes: null,
            topKeys: null,
            functions: null,
            store: null,
            list: null,
          },
        }));
      }
      const { all: use, routes, topKeys } = telemetry.cache();
      const { routes: _, functions: byName, ...stats } = perf.cache.stats();
      const functions = Object.entries(byName).map(([name, counts]) => ({ name, ...counts }));
      // `routes` beside it has the same, in bounds.
      const store = config.cache ? stats : null;
      const list = perf.cache.keys({ limit, prefix, route, tag });
      return { stable, volatile: { use, routes, topKeys, functions, store, list } };
    },

    slowRequests: (): ResourceFigures => ({ stable: {}, volatile: { requests: telemetry.slowRequests() } }),

    database: () => readDatabaseFigures(settings),

    warming: (): ResourceFigures => ({ stable: {}, volatile: { tasks: perf.warming.tasks() } }),

    jobs: readQueueFigures(settings),

    instances: async (): Promise<ResourceFigures> => ({ stable: {}, volatile: await telemetry.instances() }),

    advice: (): ResourceFigures => ({ stable: {}, volatile: { advice: telemetry.advice() } }),

    alerts: async ({ instance }: Query): Promise<ResourceFigures | ResourceProblem> => {
      const stable = { isOn: config.alerts !== false };
      if (instance === undefined) return { stable, volatile: { alerts: telemetry.alerts() } };
      return ofOthers(telemetry, instance, ({ instances }) => ({
        stable,
        volatile: {
          alerts: instances.flatMap(({ id, firing }) => firing.map((alert) => ({ ...alert, instance: id }))),
        },
      }));
    },

    history: ({ since, only }: Query): ResourceFigures => historySince(telemetry.history(), since, only),
  };
}

function readQueueFigures({ jobs }: PerformanceApiSettings): () => Promise<ResourceFigures> {
  const reader = jobs && new JobFigureReader(jobs);
  return async () => {
    const queue = await reader?.read();
    return {
      stable: { isOn: reader !== undefined },
      volatile: { isAvailable: queue !== undefined, queue: queue ?? null },
    };
  };
}

/** The pool of the database is that of the option, too. */
async function readDatabaseFigures({
  postgres,
  pool = postgres?.pool,
}: PerformanceApiSettings): Promise<ResourceFigures> {
  return {
    stable: { pool: pool ? { maxCount: pool.options?.max ?? null } : null },
    volatile: {
      pool: pool ? readPool(pool) : null,
      monitor: (pool && monitorOf(pool)?.figures()) ?? null,
      changes: postgres?.changes() ?? null,
      statistics: (await postgres?.statistics()) ?? null,
    },
  };
}

async function readApiFigures(
  { telemetry, config }: PerformanceApiSettings['perf'],
  { instance, limit, sort }: Query,
): Promise<ResourceFigures | ResourceProblem> {
  const stable = { maxRoutes: config.telemetry ? config.telemetry.maxRoutes : 0 };
  if (instance !== undefined)
    return ofOthers(telemetry, instance, (report) => ({ stable, volatile: sumOfRequests(report, limit) }));
  const { uptimeSeconds, requests, self } = telemetry.snapshot();
  const routes = telemetry
    .routes(limit, sort)
    .map(({ cache, ...figures }) => ({ ...figures, cacheHitRatio: cache?.hitRatio ?? null }));
  const { routes: routeCount, overflowed } = self;
  return { stable, volatile: { uptimeSeconds, requests, routes, routeCount, overflowed } };
}

function historySince(
  { process: own, routes }: TelemetryHistory,
  since: number,
  only: Query['only'],
): ResourceFigures {
  const from = own.at.findIndex((at) => at >= since);
  const at = from < 0 ? [] : own.at.slice(from);
  const figures = Object.entries(own.figures).map(([name, values]) => [
    name,
    values.slice(values.length - at.length),
  ]);
  const minutes = routes.routes
    .map((route) => ({ ...route, minutes: route.minutes.filter((minute) => minute.at >= since) }))
    .filter((route) => route.minutes.length > 0);
  return {
    stable: { processStepSeconds: own.stepSeconds, routeStepSeconds: routes.stepSeconds },
    volatile: {
      ...(only !== 'routes' && { process: { at, figures: Object.fromEntries(figures) } }),
      ...(only !== 'process' && { routes: minutes }),
    },
  };
}

/** Figures that other instances have published, of one of them or of all. */
async function ofOthers(
  telemetry: PerformanceApiSettings['perf']['telemetry'],
  instance: string,
  read: (report: InstancesReport) => ResourceFigures,
): Promise<ResourceFigures | ResourceProblem> {
  if (instance === 'all') {
    const report = await telemetry.instances();
    const { stable, volatile } = read(report);
    const { isComplete, instances } = report;
    return { instance: null, stable, volatile: { ...volatile, isComplete, instanceCount: instances.length } };
  }
  const report = await telemetry.instance(instance);
  const [found] = report?.instances ?? [];
  if (!report || !found)
    return new ResourceProblem(404, 'There is no instance of this id; /instances lists them.');
  const { id, host, pid, version, startedAt, ageSeconds } = found;
  return { ...read(report), instance: { id, host, pid, version, startedAt }, ageSeconds };
}

/** Published figures have neither those of the last minute, but the rate, nor bytes of connections. */
function sumOfRequests({ instances, total, routes }: InstancesReport, limit: number): object {
  const sum = (read: (instance: InstancesReport['instances'][number]) => number) =>
    instances.reduce((all, each) => all + read(each), 0);
  return {
    uptimeSeconds: Math.max(...instances.map(({ uptimeSeconds }) => uptimeSeconds)),
    requests: {
      active: sum(({ activeRequests }) => activeRequests),
      openConnections: sum(({ openConnections }) => openConnections),
      receivedBytes: null,
      sentBytes: null,
      recent: null,
      sinceStart: total.requests,
    },
    routes: routes.slice(0, limit).map(({ method, route, requests }) => ({
      method,
      route,
      sinceStart: requests,
      recent: null,
      longestBlockSeconds: null,
      cacheHitRatio: null,
    })),
    routeCount: null,
    overflowed: null,
  };
}

/** A pool may compute its counts, and fail. */
function readPool(pool: PoolCounts): object {
  const { totalCount, idleCount, waitingCount } = pool;
  const max = pool.options?.max;
  const isSaturated = max === undefined ? null : totalCount >= max && idleCount === 0 && waitingCount > 0;
  return { totalCount, idleCount, waitingCount, activeCount: totalCount - idleCount, isSaturated };
}
