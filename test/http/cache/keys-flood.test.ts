import type { CacheRule } from 'hotpath/cache';
import { compression } from 'hotpath/compression';
import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../../../src/store/memory/memory-store.js';
import type { StoredResponse } from '../../../src/store/stored-response.js';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { express5, majors, partOn4 } from '../../helpers/http.js';

const RULE: Record<string, CacheRule> = { '/*path': { ttl: '1m' } };
const BODY = Buffer.alloc(10_000, 'x');

/** Sends `count` requests, ten at once. */
async function flood(count: number, ask: (i: number) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < count; i += 10) await Promise.all(Array.from({ length: 10 }, (_, j) => ask(i + j)));
}

function response(key: string): StoredResponse {
  const parts = {
    stamp: 0,
    since: 0,
    tags: [],
    url: key,
    path: key,
    status: 200,
    headers: [],
    removed: [],
    body: BODY,
    vary: [],
    ownEtag: true,
    reuse: { alwaysValidate: false, mustRevalidate: false, staleWhileRevalidate: 0, staleIfError: 0 },
  };
  const times = {
    date: '',
    storedAt: 0,
    initialAge: 0,
    freshUntil: Number.POSITIVE_INFINITY,
    handlerMicros: 0,
  };
  return { kind: 'response', key, etag: '"x"', explicitlyShared: false, ...parts, ...times };
}

describe('memory tier in a flood of keys', () => {
  it.each([100, 60_000])(
    'keeps a key used every %i requests in a flood of 200,000 keys, within bounds [B14]',
    (every) => {
      const bounds = { maxBytes: 64 * 1024 ** 2, maxEntries: 10_000 };
      const store = new MemoryStore(bounds);
      store.set('hot', response('hot'));
      store.get('hot');
      let misses = 0;
      for (let i = 0; i < 200_000; i++) {
        store.set(`flood ${i}`, response(`flood ${i}`));
        if (i % every === 0 && !store.get('hot')) misses++;
        if (i % 10_000 === 0) {
          expect(store.bytes).toBeLessThanOrEqual(bounds.maxBytes);
          expect(store.entries).toBeLessThanOrEqual(bounds.maxEntries);
        }
      }
      expect(misses).toBe(0);
      // The flood may use all the room that is not needed.
      expect(store.bytes).toBeGreaterThan(bounds.maxBytes * 0.95);
    },
  );

  it('evicts entries that were used once before entries in use now [B14]', () => {
    const store = new MemoryStore({ maxBytes: 1e9, maxEntries: 100 });
    for (const time of ['old', 'new']) {
      for (let i = 0; i < 90; i++) {
        const key = `${time} ${i}`;
        store.set(key, response(key));
        store.get(key);
      }
    }
    const alive = (time: string) =>
      Array.from({ length: 90 }, (_, i) => store.peek(`${time} ${i}`)).filter(Boolean).length;
    expect(alive('new')).toBe(90);
    expect(alive('old')).toBe(10);
    expect(store.entries).toBe(100);
  });

  it.each([1, 2, 3])('holds %i entries when that is the limit [B14]', (maxEntries) => {
    const store = new MemoryStore({ maxBytes: 1e9, maxEntries });
    for (let i = 0; i < 20; i++) {
      expect(store.set(`k${i}`, response(`k${i}`))).toBe(true);
      if (i % 2) expect(store.get(`k${i}`)).toBeDefined();
      expect(store.entries).toBeLessThanOrEqual(maxEntries);
    }
    expect(store.entries).toBe(maxEntries);
  });

  it('accepts an entry of nearly the whole tier, and never exceeds its bytes [B14]', () => {
    const one = response('a');
    const store = new MemoryStore({ maxBytes: 12_000, maxEntries: 10 });
    for (const key of ['a', 'b', 'b', 'c']) {
      expect(store.set(key, { ...one, key })).toBe(true);
      expect(store.get(key)).toBeDefined();
      expect([store.entries, store.bytes <= 12_000]).toEqual([1, true]);
    }
    expect(store.set('large', { ...one, body: Buffer.alloc(12_000) })).toBe(false);
  });
});

describe.each(majors)('floods over HTTP (%s)', (major, express) => {
  it('keeps the used page and its bounds in a flood of ?cb=… [B14]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE, memory: { maxBytes: '512kb', maxEntries: 1000 } },
      routes: (app, { count }) =>
        app.get('/page', (req, res) => {
          count(req.query.cb ? 'flood' : 'page');
          res.send(BODY);
        }),
    });
    await made.get('/page');
    await made.get('/page');
    const keys = partOn4(major, 400, 100);
    await flood(keys, (i) => made.get(`/page?cb=${i}`));
    await made.get('/page');
    expect(made.runs('page')).toBe(1);
    expect(made.runs('flood')).toBe(keys);
    const { bytes, entries, pending } = made.cache.stats();
    expect(bytes).toBeLessThanOrEqual(512 * 1024);
    expect(entries).toBeLessThan(60);
    expect(pending).toBe(0);
  });

  it('stores one entry in a flood when the rule lists the relevant parameters [B14]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/page': { ttl: '1m', vary: { query: ['q'] } } } },
      routes: (app, { count }) => app.get('/page', (_req, res) => void res.send(`run ${count()}`)),
    });
    await flood(100, (i) => made.get(`/page?cb=${i}&q=1`));
    expect(made.runs()).toBe(1);
    expect(made.cache.stats().entries).toBe(1);
  });

  const variants = (made: CacheApp) => made.cache.stats().entries;
  it.each(['accept-encoding', 'accept-language', 'user-agent'])(
    'limits variants in a flood of %s values, and keeps the used one [B15]',
    async (name) => {
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        routes: (app, { count }) =>
          app.get('/page', (req, res) => {
            count(String(req.headers[name]).startsWith('flood') ? 'flood' : 'page');
            res.vary(name).send('page');
          }),
      });
      await made.get('/page', { [name]: 'gzip' });
      await made.get('/page', { [name]: 'gzip' });
      await flood(partOn4(major, 200, 100), (i) => made.get('/page', { [name]: `flood${i}` }));
      await made.get('/page', { [name]: 'gzip' });
      expect(made.runs('page')).toBe(1);
      expect(variants(made)).toBeLessThanOrEqual(33);
    },
  );

  it('serves 40 variants in use, though it keeps fewer [B15]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE },
      routes: (app, { count }) =>
        app.get('/page', (req, res) => {
          count();
          res.vary('x').send(`x ${req.get('x')}`);
        }),
    });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 40; i++) {
        expect((await made.get('/page', { x: `${i}` })).text).toBe(`x ${i}`);
        await made.get('/page', { x: `${i}` });
      }
    }
    expect(variants(made)).toBeLessThanOrEqual(33);
    // The last variant is always a hit: new variants are admitted.
    expect(made.runs()).toBeLessThanOrEqual(120);
  });

  it('creates no variants for encodings with hotpath compression around the cache [B15]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE },
      before: (app) => app.use(compression()),
      routes: (app, { count }) =>
        app.get('/page', (_req, res) => {
          count();
          res.type('text').send('x'.repeat(5_000));
        }),
    });
    await flood(100, (i) => made.get('/page', { 'accept-encoding': `gzip;q=0.${i}, x${i}` }));
    expect(made.runs()).toBe(1);
    expect(variants(made)).toBe(1);
  });

  it.each([
    ['gzip', 'br,gzip,xxx,jdcqiab'],
    ['br', 'gzip'],
    ['gzip', 'identity'],
    ['gzip;q=0', 'gzip'],
  ])('sends clients that accept "%s" and "%s" an encoding they can read [B07]', async (first, second) => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE },
      routes: (app, { count }) =>
        app.get('/page', (req, res) => {
          count();
          const accepted = String(req.headers['accept-encoding']);
          const encoding = accepted.includes('br')
            ? 'br'
            : /gzip(?!;q=0)/.test(accepted)
              ? 'gzip'
              : 'identity';
          res.vary('accept-encoding').set('X-Encoding', encoding).send(`for ${accepted}`);
        }),
    });
    for (const accepted of [first, second, first, second]) {
      expect((await made.get('/page', { 'accept-encoding': accepted })).text).toBe(`for ${accepted}`);
    }
    expect(made.runs()).toBe(2);
  });

  it('counts the bytes of long URLs and header values [B17]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE, memory: { maxBytes: '1mb' }, maxEntryBytes: '100kb' },
      routes: (app, { count }) =>
        app.get('/page', (_req, res) => {
          count();
          res.vary('x-long').send('small');
        }),
    });
    const long = 'y'.repeat(7_000);
    const keys = partOn4(major, 150, 100);
    await flood(keys, (i) => made.get(`/page?${i}${long}`, { 'x-long': `${long}${i}` }));
    expect(made.runs()).toBe(keys);
    const { bytes, entries } = made.cache.stats();
    expect(bytes).toBeLessThanOrEqual(1024 ** 2);
    // Each entry contains its URL several times.
    expect(entries).toBeLessThan(60);
    const last = await made.get(`/page?${keys - 1}${long}`, { 'x-long': `${long}${keys - 1}` });
    expect(last.text).toBe('small');
    expect(made.runs()).toBe(keys);
  });
});

describe('floods without a rule', () => {
  it('takes no memory for a flood of responses that are not storable [B14]', async () => {
    const made = await cacheApp({
      express: express5,
      routes: (app, { count }) => app.get('/page', (_req, res) => void res.send(`run ${count()}`)),
    });
    await flood(200, (i) => made.get(`/page?cb=${i}`));
    expect(made.cache.stats()).toMatchObject({ entries: 0, bytes: 0, pending: 0 });
  });
});
