// hotpath with everything on, from the built package, in the app that the others have too.
import express, { type Express } from 'express';
import { type Hotpath, hotpath } from 'hotpath';
import { addRoutes } from './app.mjs';
import { type Served, STALE_TTL_SECONDS, settings } from './settings.mjs';

export interface HotpathApp {
  readonly app: Express;
  readonly perf: Hotpath;
  readonly served: Served;
}

/** @param isShared whether everybody may have what is stored, as the front door wants it. */
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
      // Room for what a load asks for; otherwise the default.
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
    // What is stored before the log of invalidations is in contact is void afterwards.
    isReady: () => perf.cache.stats().redis?.log.inContact ?? true,
    purge: (id) => perf.cache.purge({ tag: `item:${id}` }),
  };
  return { app, perf, served };
}
