import { hotpath } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { cacheControl } from 'hotpath/cache-control';
import { compression } from 'hotpath/compression';
import { metrics } from 'hotpath/metrics';
import { sizeLimit } from 'hotpath/size-limit';
import { timing } from 'hotpath/timing';
import { Registry } from 'prom-client';
import type { Mount, Mounted } from '../helpers/same.js';

/** Shareable responses under this path are stored. */
export const CACHED = '/cached';
const rule = { ttl: '1m' } as const;
const routes = { '/cached/*path': rule };

function composed(shared = false): ReturnType<typeof hotpath> {
  return hotpath({
    routes: { '/cached/*path': { cache: { ...rule, shared } } },
    metrics: { defaultMetrics: false },
  });
}

function mounted(...instances: ReturnType<typeof hotpath>[]): Mounted {
  return {
    caches: instances.map(({ cache }) => cache),
    registries: instances.map(({ metrics: { registry } }) => registry!),
    async close() {
      for (const instance of instances) await instance.close();
    },
  };
}

/** Ways to mount hotpath, or its parts, among other middlewares. */
export const mounts: Record<string, Mount> = {
  'composed, first': (app, others) => {
    const perf = composed();
    app.use(perf, ...others);
    return mounted(perf);
  },
  'composed, last': (app, others) => {
    const perf = composed();
    for (const each of others) app.use(each);
    app.use(perf);
    return mounted(perf);
  },
  'composed, first, behind a front door': (app, others) => {
    const perf = composed(true);
    app.use(perf, ...others);
    perf.attach(app);
    return mounted(perf);
  },
  'composed, last, behind a front door': (app, others) => {
    const perf = composed();
    for (const each of others) app.use(each);
    app.use(perf);
    perf.attach(app);
    return mounted(perf);
  },
  'composed, twice': (app, others) => {
    const [outer, inner] = [composed(), composed()];
    app.use(outer, ...others, inner);
    return mounted(outer, inner);
  },
  'composed, on the app and again on a router': (app, others, express) => {
    const [outer, inner] = [composed(), composed()];
    app.use(outer);
    const router = express.Router();
    for (const each of others) router.use(each);
    router.use(inner);
    app.use(router);
    return mounted(outer, inner);
  },
  'alone: the cache outside compression, timing last': (app, others) => {
    const cache = responseCache({ routes });
    app.use(cache, ...others, compression(), cacheControl(), timing());
    return { caches: [cache], registries: [], close: () => cache.close() };
  },
  'alone: the cache inside compression, metrics twice': (app, others) => {
    const cache = responseCache({ routes });
    const registry = new Registry();
    const [outer, inner] = [metrics({ registry }), metrics({ registry })];
    app.use(timing(), outer, compression(), ...others, inner, sizeLimit(), cache);
    return {
      caches: [cache],
      registries: [registry],
      async close() {
        outer.close();
        inner.close();
        await cache.close();
      },
    };
  },
};

/** As table rows. */
export const mountRows = Object.entries(mounts);

/** Index of a way of mounting, from which tests choose those of their values that meet it. */
export function placeOf(mount: string): number {
  return mountRows.findIndex(([name]) => name === mount);
}

/**
 * Cases for a way of mounting. Every case runs with every way, on one major of Express: the majors run the same code of
 * hotpath from different routers. On Express 4, a case runs with two of the eight ways, and a way with a quarter of the
 * cases.
 */
export function casesFor<Case>(express: string, mount: string, cases: readonly Case[]): Case[] {
  return cases.filter((_, i) => {
    const isOn4 = (i + placeOf(mount)) % 4 === 0;
    return isOn4 === (express === 'Express 4');
  });
}
