// hotpath with everything turned on, from the built package, in the same app as the other contenders.
import express, { type Express } from 'express';
import { type Hotpath, hotpath } from 'hotpath';
import { addRoutes } from './app.mjs';
import { type Served, STALE_TTL_SECONDS, settings } from './settings.mjs';

export interface HotpathApp {
  readonly app: Express;
  readonly perf: Hotpath;
  readonly served: Served;
}

/** @param isShared whether entries are the same for all clients, as the front door requires. */
export function hotpathApp(isShared = true): HotpathApp {
  const { redis, maxEntries } = settings;
  const cache = { ttl: '1h', shared: isShared } as const;
  const perf = hotpath({
    routes: {
      '/hit/:size': { cache },
      '/item/:id': { cache: { ...cache, tags: ({ params }) => [`item:${params.id}`] } },
      '/miss/:id': { cache },
      '/stale/:id': { cache: { ...cache, ttl: STALE_TTL_SECONDS, staleWhileRevalidate: '1h' } },
    },
    cache: {
      // Room for the keys of a load; otherwise the default.
      memory: maxEntries === undefined ? {} : { maxEntries, maxBytes: '12gb' },
      ...(redis === undefined ? {} : { redis: { url: redis } }),
    },
  });
  const app = express();
  app.use(perf);
  const runs = addRoutes(app);
  const served: Served = {
    runs,
    encoded: () => perf.cache.stats().encodings.made,
    // Entries from before the contact with the invalidation log are invalid afterwards.
    isReady: () => perf.cache.stats().redis?.log.inContact ?? true,
    purge: (id) => perf.cache.purge({ tag: `item:${id}` }),
  };
  return { app, perf, served };
}
