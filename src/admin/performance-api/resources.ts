import { isHotpathError } from '../../options/errors.js';
import type { InstanceLabels } from '../../telemetry/instances/snapshot.js';
import type { PerformanceApiSettings } from '../options.js';
import { makeDatabaseResources } from './database-resources.js';
import { makeFigures } from './figures.js';
import { optimizeIndexesResource, readIndexBuilds } from './indexes.js';
import { optimize } from './optimize.js';
import type { ParameterName, Query } from './query.js';
import {
  type BodyResource,
  type FigureResource,
  type Resource,
  type ResourceFigures,
  ResourceProblem,
} from './resource-result.js';

const CACHE_OFF = new ResourceProblem(409, 'The cache is off: set `cache` in the config of hotpath.');

/** The resources by their path below the mount. */
export function makeResources(settings: PerformanceApiSettings): ReadonlyMap<string, Resource> {
  const { perf } = settings;
  const { labels } = perf.telemetry;
  const figures = makeFigures(settings);
  const resource = (
    read: (query: Query) => ResourceFigures | ResourceProblem | Promise<ResourceFigures | ResourceProblem>,
    ...parameters: readonly ParameterName[]
  ): FigureResource => ({
    method: 'GET',
    parameters: ['part', ...parameters],
    read: async (query) => arrange(await read(query), query, labels),
  });
  const change = (kind: 'purge' | 'expire'): BodyResource => ({
    method: 'POST',
    action: 'change',
    run: (body) => {
      if (!perf.config.cache) return CACHE_OFF;
      const selectors = readSelectors(body);
      return selectors instanceof ResourceProblem
        ? selectors
        : orProblem(() => perf.cache[kind](selectors as Parameters<typeof perf.cache.purge>[0]));
    },
  });
  const resources = new Map<string, Resource>([
    ['/system', resource(figures.system)],
    ['/api', resource(figures.api, 'instance', 'limit', 'sort')],
    ['/cache', resource(figures.cache, 'instance', 'keys', 'prefix', 'route', 'tag')],
    ['/slow-requests', resource(figures.slowRequests)],
    ['/database', resource(figures.database)],
    ['/warming', resource(figures.warming)],
    ['/jobs', resource(figures.jobs)],
    ['/instances', resource(figures.instances)],
    ['/advice', resource(figures.advice)],
    ['/alerts', resource(figures.alerts, 'instance')],
    ['/history', resource(figures.history, 'since', 'only')],
    ['/events', { method: 'GET', isStream: true }],
    ['/cache/purge', change('purge')],
    ['/cache/expire', change('expire')],
    ['/cache/preview', { method: 'POST', action: 'read', run: (body) => previewSelected(settings, body) }],
    ['/cache/explain', { method: 'POST', action: 'read', run: (body) => explainDescribed(settings, body) }],
  ]);
  for (const [path, each] of makeDatabaseResources(settings.postgres, resource)) resources.set(path, each);
  resources.set('/indexes/optimize', optimizeIndexesResource(settings.postgres));
  resources.set(
    '/indexes/builds',
    resource((query) => readIndexBuilds(settings.postgres, query), 'ids'),
  );
  resources.set('/optimize', {
    method: 'POST',
    action: 'change',
    run: (body) =>
      isObject(body) && Object.keys(body).length === 0
        ? orProblem(() => optimize(perf))
        : new ResourceProblem(400, 'The body is an empty object: {}.'),
  });
  const list = [...resources].map(([path, { method }]) => ({ method, path }));
  const index: FigureResource = { method: 'GET', parameters: [], read: () => ({ resources: list }) };
  return resources.set('/', index);
}

function arrange(
  figures: ResourceFigures | ResourceProblem,
  { part }: Query,
  labels: InstanceLabels,
): unknown {
  if (figures instanceof ResourceProblem) return figures;
  const { instance = labels, ageSeconds, stable, volatile } = figures;
  return {
    at: Date.now(),
    instance,
    ...(ageSeconds !== undefined && { ageSeconds }),
    ...(part !== 'volatile' && { stable }),
    ...(part !== 'stable' && { volatile }),
  };
}

/** Selectors of one request. */
const MOST_SELECTORS = 100;

/** One selector, or `{ selectors: [...] }`. Their members are checked by the cache. */
function readSelectors(body: unknown): ResourceProblem | readonly unknown[] {
  const { selectors = [body], ...others } = (isObject(body) ? body : {}) as { selectors?: unknown };
  const isList = Array.isArray(selectors) && selectors.length > 0 && selectors.length <= MOST_SELECTORS;
  if (isList && selectors.every(isObject) && (selectors[0] === body || Object.keys(others).length === 0))
    return selectors;
  return new ResourceProblem(
    400,
    `The body is a selector, such as {"tag":"products"}, or {"selectors":[...]} with at most ${MOST_SELECTORS} of them.`,
  );
}

function previewSelected({ perf }: PerformanceApiSettings, body: unknown): unknown {
  if (!perf.config.cache) return CACHE_OFF;
  const selectors = readSelectors(body);
  return selectors instanceof ResourceProblem
    ? selectors
    : orProblem(() => perf.cache.preview(selectors as Parameters<typeof perf.cache.preview>[0]));
}

function explainDescribed({ perf }: PerformanceApiSettings, body: unknown): unknown {
  if (!perf.config.cache) return CACHE_OFF;
  const { method, url, headers = {}, ...others } = (isObject(body) ? body : {}) as Record<string, unknown>;
  const isDescription =
    typeof url === 'string' &&
    (method === undefined || (typeof method === 'string' && /^[\w-]{1,20}$/.test(method))) &&
    isObject(headers) &&
    Object.values(headers).every(isHeaderValue) &&
    Object.keys(others).length === 0;
  if (!isDescription) {
    return new ResourceProblem(
      400,
      'The body describes a request: {"url":"/path?query"}, with `method` and `headers` if they matter.',
    );
  }
  const description = { url, headers: headers as Record<string, string | string[]> };
  return orProblem(() =>
    perf.cache.explain(method === undefined ? description : { ...description, method: String(method) }),
  );
}

/** A mistake of the client becomes its problem; others stay exceptions. */
async function orProblem(run: () => unknown): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    if (!isHotpathError(error)) throw error;
    return new ResourceProblem(400, error.message);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isHeaderValue(value: unknown): boolean {
  return (
    typeof value === 'string' || (Array.isArray(value) && value.every((each) => typeof each === 'string'))
  );
}
