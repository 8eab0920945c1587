import type { RequestHandler } from 'express';
import { defineConfig, type FunctionOptions, type Hotpath, type HotpathConfig } from 'hotpath';
import type { ChangeMapping } from 'hotpath/postgres';
import { userOf } from './auth.js';
import type { ForecastInput } from './jobs/forecast.js';
import { LIST_PARAMETERS } from './product-list.js';
import { QUERY_COUNT } from './query-count.js';

// No handler of this API reads a cookie. So clients with cookies (of another app on the same host, or a consent banner)
// get the same response as all others. Do not declare this for a handler that reads one.
const NO_COOKIES: readonly string[] = [];

/** The policies by path. Two that depend on the user or on the outcome are next to their routes. */
export const shopConfig: HotpathConfig = defineConfig({
  routes: {
    '/api/products': {
      cache: {
        ttl: '5m',
        tags: ['products'],
        vary: { query: LIST_PARAMETERS, cookies: NO_COOKIES },
        shared: true,
      },
    },
    '/api/products/:id': {
      cache: {
        ttl: '10m',
        tags: ({ params }) => [`product:${params.id}`],
        vary: { query: [], cookies: NO_COOKIES },
        shared: true,
      },
    },
    '/api/categories/stats': {
      cache: { ttl: '10m', tags: ['products'], vary: { query: [], cookies: NO_COOKIES }, shared: true },
    },
    '/api/search': {
      cache: { ttl: '5m', tags: ['products'], vary: { query: ['q'], cookies: NO_COOKIES }, shared: true },
    },
    '/api/me/*path': { cacheControl: 'private' },
    // Names there contain a fingerprint of the content.
    '/assets/*path': { cacheControl: 'immutable' },
  },
  sizeLimit: { limit: '10mb' },
  cacheControl: { default: 'no-cache' },
  cache: {
    memory: { maxBytes: '64mb', maxEntries: 10_000 },
    // It tells of one request. A stored copy would repeat the count of the miss at each hit.
    perResponseHeaders: [QUERY_COUNT],
  },
  compression: { threshold: '1kb', encodings: ['br', 'gzip'] },
  metrics: { defaultMetrics: true },
  timing: { serverTiming: true, slow: '2s' },
  alerts: true,
});

/** Cached functions. */
export const functionPolicies: {
  readonly cachedForecast: FunctionOptions<[ForecastInput, string]>;
} = {
  /** The result of an input, whichever job has computed it. A changed product ends its forecasts. */
  cachedForecast: {
    name: 'forecast',
    ttl: '1h',
    key: (input) => input,
    tags: ({ productId }) => [`product:${productId}`],
  },
};

/**
 * The purges that follow changes of the tables, whatever program makes them. An order is written with its items in one
 * transaction, so the items need no mapping.
 */
export const tableChanges: ChangeMapping = {
  'hotpath_shop.products': {
    columns: ['id'],
    tags: ({ id }) => ['products', `product:${id}`],
  },
  // Every response about products shows a category.
  'hotpath_shop.categories': {},
  'hotpath_shop.orders': {
    columns: ['customer_id'],
    tags: ({ customer_id: customer }) => `customer:${customer}`,
    all: { tag: 'orders' },
  },
  'hotpath_shop.customers': {
    columns: ['id'],
    tags: ({ id }) => `customer:${id}`,
    all: { tag: 'orders' },
  },
};

/** After authentication: stores responses, one entry per customer. */
export function ownAnswers(perf: Hotpath): RequestHandler {
  return perf.cache.route({
    ttl: '1m',
    partition: ({ req }) => userOf(req)?.id,
    tags: ({ req }) => ['orders', `customer:${userOf(req)?.id}`],
  });
}
