import { setTimeout as delay } from 'node:timers/promises';
import { HotpathError } from 'hotpath';
import { cacheOf, type Selector } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MemoryStore } from '../../../src/store/memory/memory-store.js';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { gate } from '../../helpers/gate.js';
import { majors, waitFor } from '../../helpers/http.js';
import { times } from '../../helpers/times.js';

const routes = { '/items/:id': { ttl: 60, tags: ['items'] } } as const;
const selectors: [name: string, selector: Selector][] = [
  ['tag', { tag: 'items' }],
  ['tag given by the handler', { tag: 'item:1' }],
  ['url', { url: '/items/1?full=1' }],
  ['pattern', { pattern: '/items/:id' }],
  ['all', { all: true }],
];
const strangers: [name: string, selector: Selector][] = [
  ['tag', { tag: 'item:2' }],
  ['url without the query', { url: '/items/1' }],
  ['pattern', { pattern: '/orders/:id' }],
];

/** Items with a version that a test sets; a handler reads it, waits at the gate, then responds. */
function items(express: (typeof majors)[0][1], options: { waits?: Promise<void> } = {}) {
  const db = { version: 1 };
  const made = cacheApp({
    express,
    cache: { routes },
    routes: (app, { count }) =>
      app.get('/items/:id', async (req, res) => {
        const { version } = db;
        const n = count();
        if (n === 1) await options.waits;
        cacheOf(res).tag(`item:${req.params.id}`);
        res.send(`version ${version}`);
      }),
  });
  return { db, made };
}

/** Counts the calls of the memory tier that read, search or change entries. */
function looksAtStore(): () => number {
  const names = ['get', 'peek', 'isUsed', 'set', 'resize', 'delete', 'erase'] as const;
  const spies = names.map((name) => vi.spyOn(MemoryStore.prototype, name));
  return () => spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
}

afterEach(() => void vi.restoreAllMocks());

describe.each(majors)('purging (%s)', (_, express) => {
  it.each(selectors)(
    'runs the handler on the next read after a purge by %s, and stores again [H07]',
    async (...given) => {
      const { db, made } = items(express);
      const { get, cache, runs } = await made;
      await get('/items/1?full=1');
      db.version = 2;
      expect((await get('/items/1?full=1')).text).toBe('version 1');
      await cache.purge(given[1]);
      expect((await get('/items/1?full=1')).text).toBe('version 2');
      expect((await get('/items/1?full=1')).text).toBe('version 2');
      expect(runs()).toBe(2);
    },
  );

  it.each(selectors)('runs the handler on the next read after an expiry by %s [H07]', async (...given) => {
    const { db, made } = items(express);
    const { get, cache, runs } = await made;
    await get('/items/1?full=1');
    db.version = 2;
    await cache.expire(given[1]);
    expect((await get('/items/1?full=1')).text).toBe('version 2');
    expect((await get('/items/1?full=1')).text).toBe('version 2');
    expect(runs()).toBe(2);
  });

  it.each(strangers)('keeps an entry that a purge by another %s does not select [H07]', async (...given) => {
    const { made } = items(express);
    const { get, cache, runs } = await made;
    await get('/items/1?full=1');
    await cache.purge(given[1]);
    await cache.expire(given[1]);
    await get('/items/1?full=1');
    expect(runs()).toBe(1);
  });

  it('reaches every host and variant by url, and deletes the bytes with erase [H07]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (req, res) => {
          count();
          res.vary('Accept-Language').send(`in ${req.headers['accept-language']}`);
        }),
    });
    const ask = async () => {
      for (const host of ['a.example', 'b.example'])
        for (const language of ['de', 'fr'])
          await made.raw(`GET /x HTTP/1.1\nHost: ${host}\nAccept-Language: ${language}`);
    };
    await ask();
    await ask();
    expect(made.runs()).toBe(4);
    await made.cache.purge({ url: '/x' });
    await ask();
    expect(made.runs()).toBe(8);
    const { bytes } = made.cache.stats();
    expect(await made.cache.purge({ url: '/x' }, { erase: true })).toEqual({
      position: 2,
      erased: 4,
      acknowledged: true,
    });
    expect(made.cache.stats().bytes).toBeLessThan(bytes / 2);
  });

  describe.each(['purge', 'expire'] as const)('%s during a fill', (kind) => {
    it.each(selectors)(
      'by %s neither stores the older fill nor serves it to later requests [H07]',
      async (_name, selector) => {
        const { opened, open } = gate();
        const { db, made } = items(express, { waits: opened });
        const { get, cache, runs, requests } = await made;
        const early = get('/items/1?full=1');
        await waitFor(() => runs() === 1);
        const waiting = times(5, () => get('/items/1?full=1'));
        await waitFor(() => requests() === 6);
        db.version = 2;
        await cache[kind](selector);
        const late = times(10, () => get('/items/1?full=1'));
        await waitFor(() => requests() === 16);
        open();
        expect((await early).text).toBe('version 1');
        // Requests from before the purge may get either; later ones only a response read after it.
        for (const { text } of await Promise.all(waiting)) expect(text).toMatch(/^version [12]$/);
        for (const { text } of await Promise.all(late)) expect(text).toBe('version 2');
        expect((await get('/items/1?full=1')).text).toBe('version 2');
        expect(runs()).toBe(2);
        expect(cache.stats().pending).toBe(0);
      },
    );
  });

  it('does not serve a waiting request the fill when a purge follows in the same turn [H07]', async () => {
    const db = { version: 1 };
    let purge: Promise<unknown> | undefined;
    const made = await cacheApp({
      express,
      cache: { routes },
      routes: (app, { count, cache, requests }) =>
        app.get('/items/:id', async (_req, res) => {
          const { version } = db;
          if (count() > 1) return void res.send(`version ${version}`);
          await waitFor(() => requests() === 10);
          res.send(`version ${version}`);
          // In the same turn in which the fill ends, before the waiting requests resume.
          db.version = 2;
          purge = cache.purge({ tag: 'items' });
        }),
    });
    const answers = await Promise.all(times(10, () => made.get('/items/1')));
    await purge;
    expect(answers.filter(({ text }) => text === 'version 1')).toHaveLength(1);
    expect(made.runs()).toBe(2);
  });

  it.each([
    ['no selector', undefined],
    ['an unknown form', { path: '/x' }],
    ['one invalid among valid ones', [{ tag: 'items' }, { tag: '' }]],
  ])('rejects a purge with %s and purges nothing [K06]', async (_name, given) => {
    const { made } = items(express);
    const { get, cache, runs } = await made;
    await get('/items/1');
    await expect(cache.purge(given as never)).rejects.toThrow(HotpathError);
    await expect(cache.expire(given as never)).rejects.toMatchObject({ code: 'HOTPATH_SELECTOR_INVALID' });
    await get('/items/1');
    expect(runs()).toBe(1);
    expect(() => cache.purgeAfter(given as never)).toThrow(HotpathError);
  });

  it('looks at no entry for a purge, whatever the selector [H07]', async () => {
    const { made } = items(express);
    const { get, cache } = await made;
    for (let i = 0; i < 20; i++) await get(`/items/${i}`);
    // It is one record in the log: no stored entry is looked at.
    const looks = looksAtStore();
    for (const [, selector] of [...selectors, ...strangers]) await cache.purge(selector);
    expect(looks()).toBe(0);
    // The counter works, as deleting entries shows.
    await cache.purge({ tag: 'items' }, { erase: true });
    expect(looks()).toBeGreaterThan(0);
  });
});

describe.each(majors)('purgeAfter() (%s)', (_, express) => {
  function shop(target: (cache: CacheApp['cache']) => ReturnType<CacheApp['cache']['purgeAfter']>) {
    const db = new Map<string, number>();
    return cacheApp({
      express,
      cache: { routes },
      routes: (app, { count, cache }) => {
        app.get('/items/:id', (req, res) => {
          count('read');
          res.send(String(db.get(req.params.id) ?? 0));
        });
        app.put('/items/:id', target(cache), async (req, res) => {
          const status = Number(req.query.status ?? 200);
          count('write');
          if (req.query.slow) await delay(Number(req.query.slow));
          db.set(req.params.id as string, (db.get(req.params.id as string) ?? 0) + 1);
          if (req.query.stream) res.write('streamed ');
          res.status(status).end('written');
        });
      },
    });
  }
  const put = (made: CacheApp, path: string) => made.get(path, {}, { method: 'PUT' });

  it('lets 500 concurrent writers read their own write [H07]', async () => {
    const made = await shop((cache) => cache.purgeAfter(({ params }) => ({ url: `/items/${params.id}` })));
    const stale: unknown[] = [];
    const pair = async (i: number) => {
      const path = `/items/${i % 50}`;
      await made.get(path);
      await put(made, path);
      const { text } = await made.get(path);
      // Every client of this item has written at least once before its own read.
      if (Number(text) < Math.floor(i / 50) + 1) stale.push([i, text]);
    };
    // Ten rounds of 50 items: in round n the item must be at version n.
    for (let round = 0; round < 10; round++) await Promise.all(times(50, (i) => pair(round * 50 + i)));
    expect(stale).toEqual([]);
    expect(made.faults).toEqual([]);
  });

  it('never serves 500 writers of one item less than was written before the read [H07]', async () => {
    let value = 0;
    const made = await cacheApp({
      express,
      cache: { routes },
      routes: (app, { cache }) => {
        app.get('/items/1', async (_req, res) => {
          const read = value;
          await delay(1);
          res.send(String(read));
        });
        app.put(
          '/items/1',
          cache.purgeAfter({ tag: 'items' }),
          (_req, res) => void res.send(String(++value)),
        );
      },
    });
    const pairs = times(500, async () => {
      const written = Number((await put(made, '/items/1')).text);
      const read = Number((await made.get('/items/1')).text);
      return read >= written;
    });
    expect((await Promise.all(pairs)).filter((fresh) => !fresh)).toEqual([]);
    expect(made.cache.stats().pending).toBe(0);
  });

  it.each([
    [200, true],
    [201, true],
    [204, true],
    [303, true],
    [400, false],
    [404, false],
    [500, false],
  ])('status %i purges: %s [H07]', async (status, purges) => {
    const made = await shop((cache) => cache.purgeAfter({ tag: 'items' }));
    await made.get('/items/1');
    await put(made, `/items/1?status=${status}`);
    await made.get('/items/1');
    expect(made.runs('read')).toBe(purges ? 2 : 1);
    expect(made.cache.stats().purges).toBe(purges ? 1 : 0);
  });

  it.each<[string, Parameters<CacheApp['cache']['purgeAfter']>[0]]>([
    ['a list', [{ tag: 'other' }, { tag: 'items' }]],
    ['a function of the parameters', ({ params }) => ({ url: `/items/${params.id}` })],
    ['an async function', async ({ url }) => [{ url: url.pathname }]],
  ])('accepts %s as the target [H07]', async (_name, target) => {
    const made = await shop((cache) => cache.purgeAfter(target));
    await made.get('/items/1');
    expect(await put(made, '/items/1?stream=1')).toMatchObject({ status: 200, text: 'streamed written' });
    expect((await made.get('/items/1')).text).toBe('1');
    expect(made.faults).toEqual([]);
  });

  it.each<[string, Parameters<CacheApp['cache']['purgeAfter']>[0]]>([
    [
      'throws',
      () => {
        throw new Error('of the hook');
      },
    ],
    ['rejects', () => Promise.reject(new Error('of the hook'))],
    ['returns nothing', () => undefined as never],
    ['returns an invalid selector', () => ({ tag: 7 }) as never],
  ])('reports a function that %s, and the response succeeds [K04]', async (_name, target) => {
    const made = await shop((cache) => cache.purgeAfter(target));
    expect(await put(made, '/items/1')).toMatchObject({ status: 200, text: 'written' });
    expect(made.faults).toMatchObject([{ where: 'purges' }]);
  });

  it('purges after a write that breaks off after status 200 [H07]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes },
      routes: (app, { count, cache }) => {
        app.get('/items/1', (_req, res) => void res.send(String(count('read'))));
        app.put('/items/1', cache.purgeAfter({ tag: 'items' }), (_req, res) => {
          res.write('half', () => res.destroy());
        });
      },
    });
    await made.get('/items/1');
    await put(made, '/items/1').catch(() => {});
    await waitFor(() => made.cache.stats().purges === 1);
    expect((await made.get('/items/1')).text).toBe('2');
  });

  it('purges when the client leaves before the response [H07]', async () => {
    const made = await shop((cache) => cache.purgeAfter({ tag: 'items' }));
    await made.get('/items/1');
    const leaving = new AbortController();
    const left = made.get('/items/1?slow=60', {}, { method: 'PUT', signal: leaving.signal }).catch(() => {});
    await waitFor(() => made.runs('write') === 1);
    leaving.abort();
    await left;
    await waitFor(() => made.cache.stats().purges === 1);
    expect((await made.get('/items/1')).text).toBe('1');
  });

  it.each([200, 303, 404, 500])('purges after %i too with on: always [H07]', async (status) => {
    const made = await shop((cache) => cache.purgeAfter({ tag: 'items' }, { on: 'always' }));
    await made.get('/items/1');
    await put(made, `/items/1?status=${status}`);
    expect((await made.get('/items/1')).text).toBe('1');
    expect(made.cache.stats().purges).toBe(1);
  });

  it('purges with on: always when the handler throws or destroys the response [H07]', async () => {
    const db = { value: 1 };
    const made = await cacheApp({
      express,
      cache: { routes },
      routes: (app, { cache }) => {
        app.get('/items/1', (_req, res) => void res.send(String(db.value)));
        const purge = cache.purgeAfter({ tag: 'items' }, { on: 'always' });
        app.put('/items/1', purge, () => {
          db.value++;
          throw new Error('after the write');
        });
        app.delete('/items/1', purge, (_req, res) => {
          db.value++;
          res.destroy();
        });
      },
    });
    expect((await made.get('/items/1')).text).toBe('1');
    expect((await put(made, '/items/1')).status).toBe(500);
    expect((await made.get('/items/1')).text).toBe('2');
    await made.get('/items/1', {}, { method: 'DELETE' }).catch(() => {});
    await waitFor(() => made.cache.stats().purges === 2);
    expect((await made.get('/items/1')).text).toBe('3');
    expect(made.faults).toEqual([]);
  });

  it('keeps its old name purges(), which purges after success [H07]', async () => {
    const made = await shop((cache) => cache.purges({ tag: 'items' }));
    await made.get('/items/1');
    await put(made, '/items/1?status=404');
    expect((await made.get('/items/1')).text).toBe('0');
    await put(made, '/items/1');
    expect((await made.get('/items/1')).text).toBe('2');
  });

  it.each([
    [{ on: 'error' }, "purgeAfter.on: expected 'success' or 'always', received 'error'"],
    [{ in: 'always' }, "purgeAfter.in: unknown option; did you mean 'on'?"],
    ['always', 'purgeAfter: expected an object of options'],
  ])('rejects the options %j with an error that names the option [K06]', async (options, message) => {
    const made = await shop((cache) => cache.purgeAfter({ tag: 'items' }));
    const wrong = () => made.cache.purgeAfter({ tag: 'items' }, options as never);
    expect(wrong).toThrow(expect.objectContaining({ code: 'HOTPATH_CONFIG_INVALID' }));
    expect(wrong).toThrow(message);
  });
});
