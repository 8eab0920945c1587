import type { RequestHandler } from 'express';
import { defineConfig, type Hotpath, type HotpathConfig } from 'hotpath';
import { userOf } from './auth.js';
import { LIST_PARAMETERS } from './product-list.js';

// No handler of this API reads a cookie, so a visitor who carries some (another app on the same host, a consent
// banner) gets the same answer as everybody. A handler that does read one must not be declared like this.
const NO_COOKIES: readonly string[] = [];

/** All that hotpath does by path. The two things that need to know the visitor or the outcome stand by their routes. */
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
    // Only names that hold a fingerprint of the content are found there.
    '/assets/*path': { cacheControl: 'immutable' },
  },
  sizeLimit: { limit: '10mb' },
  cacheControl: { default: 'no-cache' },
  cache: { memory: { maxBytes: '64mb', maxEntries: 10_000 } },
  compression: { threshold: '1kb', encodings: ['br', 'gzip'] },
  metrics: { defaultMetrics: true },
  timing: { serverTiming: true, slow: '2s' },
});

/** What stands before single handlers. */
export interface RoutePolicies {
  /** After authentication: an answer may be kept, for that customer alone. */
  ownAnswers: readonly RequestHandler[];
  /** Before a write: what it makes outdated is purged before its answer ends. */
  afterWrite: readonly RequestHandler[];
}

/** The policies of `perf`; without one, none. */
export function routePolicies(perf: Hotpath | undefined): RoutePolicies {
  if (!perf) return { ownAnswers: [], afterWrite: [] };
  return {
    ownAnswers: [perf.cache.route({ ttl: '1m', partition: ({ req }) => userOf(req)?.id })],
    afterWrite: [
      perf.cache.purgeAfter(({ params }) => {
        const lists = { tag: 'products' };
        return params.id === undefined ? lists : [lists, { tag: `product:${params.id}` }];
      }),
    ],
  };
}
