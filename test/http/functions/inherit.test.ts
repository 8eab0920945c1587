import type { CacheRule, ResponseCache } from 'hotpath/cache';
import { cacheOf, currentRun } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { gate } from '../../helpers/gate.js';
import { express4, express5, waitFor } from '../../helpers/http.js';

type Run = (cache: ResponseCache) => () => unknown;

/** An app whose page calls a function. */
async function pageOf(run: Run, rule: CacheRule = {}, express = express5): Promise<CacheApp> {
  let page: () => unknown = () => undefined;
  const made = await cacheApp({
    express,
    cache: { routes: { '/page': { ttl: '1h', tags: 'inherit', ...rule } }, lifetimes: { long: '1d' } },
    routes: (app, { count }) => {
      app.get('/page', async (_req, res) => {
        count();
        res.send(String(await page()));
      });
    },
  });
  page = run(made.cache);
  return made;
}

describe.each([
  ['Express 5', express5],
  ['Express 4', express4],
])("tags: 'inherit' on %s", (_name, express) => {
  it('purges a page with the result of a function that it calls, hit or run', async () => {
    let runs = 0;
    let price: ((id: number) => Promise<number>) & { purge(id: number): Promise<unknown> };
    const {
      get,
      cache,
      runs: handlerRuns,
    } = await pageOf(
      (cache) => {
        price = cache.cached((id: number) => ++runs + id, {
          name: 'price',
          ttl: '1h',
          tags: (id) => [`product:${id}`],
        });
        return () => price(1);
      },
      {},
      express,
    );
    await get('/page');
    expect((await get('/page')).xCache).toBe('HIT');
    for (const purge of [() => price.purge(1), () => cache.purge({ tag: 'product:1' })]) {
      await purge();
      expect((await get('/page')).xCache).toBe('MISS');
      expect((await get('/page')).xCache).toBe('HIT');
    }
    // The page is made again of a stored result, and has its tags too.
    await cache.purge({ url: '/page' });
    await get('/page');
    expect(runs).toBe(3);
    await price!.purge(1);
    expect((await get('/page')).xCache).toBe('MISS');
    await price!.purge(2);
    expect((await get('/page')).xCache).toBe('HIT');
    expect(handlerRuns()).toBe(5);
  });
});

describe("a page with tags: 'inherit'", () => {
  it('inherits from nested functions, with its own tags and hints', async () => {
    const { get, cache } = await pageOf((cache) => {
      const inner = cache.cached(() => currentRun().tag('inner') && 1, { name: 'inner', ttl: '1h' });
      return cache.cached(() => inner(), { name: 'outer', ttl: '1h' });
    });
    for (const tag of ['inner', 'function:inner', 'function:outer']) {
      await get('/page');
      expect((await get('/page')).xCache).toBe('HIT');
      await cache.purge({ tag });
      expect((await get('/page')).xCache).toBe('MISS');
    }
  });

  it('lives no longer than the results in it', async () => {
    const { get } = await pageOf((cache) => {
      const short = cache.cached(() => currentRun().ttl('100s') && 1, { name: 'short', ttl: '1h' });
      const long = cache.cached(() => 2, { name: 'long', ttl: 'long' });
      return async () => (await long()) + (await short());
    });
    expect((await get('/page')).cacheStatus).toMatch(/stored; ttl=(?:99|100)/);
    expect((await get('/page')).cacheStatus).toMatch(/hit; ttl=(?:9\d|100)/);
  });

  it('is not stored when a result in it is stale, failed or skipped', async () => {
    let value = 1;
    const { get, cache } = await pageOf((cache) => {
      const price = cache.cached(() => value++, { name: 'price', ttl: '1h', staleWhileRevalidate: '1h' });
      return () => price();
    });
    await get('/page');
    await cache.expire({ tag: 'function:price' });
    await cache.purge({ url: '/page' });
    expect((await get('/page')).cacheStatus).toContain('stale-result');
    await waitFor(async () => (await get('/page')).xCache === 'HIT');
    expect((await get('/page')).text).toBe('2');

    const skipping = await pageOf((cache) =>
      cache.cached(() => currentRun().skip() && 1, { name: 'skipping', ttl: '1h' }),
    );
    expect((await skipping.get('/page')).cacheStatus).toContain('uncached-result');
    const failing = await pageOf((cache) => {
      const fail = cache.cached(
        () => {
          throw new Error('down');
        },
        { name: 'failing', ttl: '1h' },
      );
      return () => fail().catch(() => 'sorry');
    });
    expect((await failing.get('/page')).cacheStatus).toContain('uncached-result');
    expect((await failing.get('/page')).text).toBe('sorry');
  });

  it.each<[string, Run]>([
    [
      'refused arguments',
      (cache) => {
        const strict = cache.cached((_load: () => void) => 1, { name: 'strict', ttl: '1h', strict: true });
        return () => strict(() => {}).catch(() => 'sorry');
      },
    ],
    [
      'arguments that refresh() refuses',
      (cache) => {
        const strict = cache.cached((_load: () => void) => 1, { name: 'strict', ttl: '1h' });
        return () => strict.refresh(() => {}).catch(() => 'sorry');
      },
    ],
    [
      'a failed run without the cache',
      (cache) => {
        const fail = (_load: () => void) => Promise.reject(new Error('down'));
        const failing = cache.cached(fail, { name: 'loose', ttl: '1h', strict: false });
        return () => failing(() => {}).catch(() => 'sorry');
      },
    ],
    [
      'a result that peek() does not find',
      (cache) => {
        const price = cache.cached(() => 1, { name: 'price', ttl: '1h' });
        return async () => (await price.peek()) ?? 'none yet';
      },
    ],
  ])('is not stored when it is made of %s', async (_case, run) => {
    const { get } = await pageOf(run);
    expect((await get('/page')).cacheStatus).toContain('uncached-result');
  });

  it('is purged by a record that came while the function ran', async () => {
    const opened = gate();
    const { get, cache, runs } = await pageOf((cache) => {
      const price = cache.cached(
        async () => {
          await opened.opened;
          currentRun().tag('late');
          return 1;
        },
        { name: 'price', ttl: '1h' },
      );
      return () => price();
    });
    const first = get('/page');
    await waitFor(() => runs() === 1);
    await cache.purge({ tag: 'late' });
    opened.open();
    await first;
    expect((await get('/page')).xCache).toBe('MISS');
  });

  it('has no tags of functions without the option, nor of those that other requests call', async () => {
    const { get, cache } = await pageOf((cache) => cache.cached(() => 1, { name: 'price', ttl: '1h' }), {
      tags: ['own'],
    });
    await get('/page');
    await cache.purge({ tag: 'function:price' });
    expect((await get('/page')).xCache).toBe('HIT');
  });

  it.each<[string, Run]>([
    ['get', (cache) => async () => (await cache.get('rate')) !== undefined],
    ['has', (cache) => () => cache.has('rate')],
  ])('is purged when a value is set that it was made without: %s()', async (_method, run) => {
    const { get, cache } = await pageOf(run);
    expect((await get('/page')).text).toBe('false');
    expect((await get('/page')).xCache).toBe('HIT');
    await cache.set('rate', 7, { ttl: 'long' });
    expect((await get('/page')).text).toBe('true');
    await cache.delete('rate');
    expect((await get('/page')).text).toBe('false');
  });
});

it('takes the name of a lifetime as a hint, and reports an unknown one', async () => {
  const { get, faults } = await cacheApp({
    express: express5,
    cache: { lifetimes: { long: '1d' }, routes: { '/:name': { ttl: 'long' } } },
    routes: (app) => {
      app.get('/:name', (req, res) => {
        if (req.params.name !== 'rule') cacheOf(res).ttl(req.params.name!);
        res.send('x');
      });
    },
  });
  expect((await get('/rule')).cacheStatus).toContain('ttl=86');
  expect((await get('/long')).cacheStatus).toContain('ttl=86');
  expect((await get('/unknown')).cacheStatus).toContain('invalid-ttl');
  expect(faults).toEqual([]);
});
