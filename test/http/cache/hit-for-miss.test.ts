import type { CacheRule } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HitForMiss } from '../../../src/cache/collapse/hit-for-miss.js';
import { type CacheApp, cacheApp, type Handler } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { majors } from '../../helpers/http.js';

afterEach(() => void vi.restoreAllMocks());

const LAST_MODIFIED = 'Wed, 01 Jan 2025 00:00:00 GMT';

describe.each(majors)('a key with hit-for-miss (%s)', (_major, express) => {
  /** A handler whose responses are not storable, and for which conditional requests are cheap. */
  async function serve(
    answer: Handler,
    rule: CacheRule = { ttl: 60 },
  ): Promise<CacheApp & { seen: (string | undefined)[] }> {
    const seen: (string | undefined)[] = [];
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': rule } },
      routes: (app, { count }) =>
        app.get('/x', (req, res) => {
          count();
          seen.push(req.get('if-none-match') ?? req.get('if-modified-since'));
          answer(req, res);
        }),
    });
    return Object.assign(made, { seen });
  }

  const conditions: [string, Record<string, string>][] = [
    ['If-None-Match', { 'If-None-Match': '"v1"' }],
    ['If-Modified-Since', { 'If-Modified-Since': LAST_MODIFIED }],
    ['both', { 'If-None-Match': '"v1"', 'If-Modified-Since': LAST_MODIFIED }],
  ];
  it.each(conditions)('passes %s on to the handler, whose 304 costs no body', async (_name, headers) => {
    let bodies = 0;
    const made = await serve((req, res) => {
      res.set({ ETag: '"v1"', 'Last-Modified': LAST_MODIFIED, 'Cache-Control': 'no-store' });
      if (req.get('if-none-match') === '"v1"' || req.get('if-modified-since') === LAST_MODIFIED) {
        res.status(304).end();
        return;
      }
      bodies++;
      res.send('body');
    });
    // Not marked yet: the response might be storable.
    expect((await made.get('/x', headers)).status).toBe(304);
    expect(bodies).toBe(1);
    for (let i = 0; i < 3; i++) expect((await made.get('/x', headers)).status).toBe(304);
    expect(bodies).toBe(1);
    expect(made.seen).toEqual([undefined, ...Array(3).fill(Object.values(headers)[0])]);
    expect((await made.get('/x')).text).toBe('body');
    expect((await made.get('/x', { 'If-None-Match': '"v0"' })).text).toBe('body');
  });

  it('passes conditions on without collapsing, too', async () => {
    const made = await serve(
      (_req, res) => void res.set({ ETag: '"v1"', 'Cache-Control': 'no-store' }).send('body'),
      { ttl: 60, collapse: false },
    );
    for (let i = 0; i < 3; i++) {
      expect((await made.get('/x', { 'If-None-Match': '"v1"' })).status).toBe(304);
    }
    expect(made.seen).toEqual([undefined, '"v1"', '"v1"']);
  });

  it('leaves Range, If-Range, If-Match and If-Unmodified-Since to the handler', async () => {
    const made = await serve((req, res) => {
      res.set('Cache-Control', 'no-store');
      res.json(['range', 'if-range', 'if-match', 'if-unmodified-since'].map((name) => req.get(name) ?? null));
    });
    await made.get('/x');
    const kinds: Record<string, string>[] = [
      { Range: 'bytes=0-1', 'If-Range': '"v1"' },
      { 'If-Match': '"v1"' },
      { 'If-Unmodified-Since': LAST_MODIFIED },
    ];
    for (const headers of kinds) {
      const { text } = await made.get('/x', headers);
      expect(JSON.parse(text).filter(Boolean)).toEqual(Object.values(headers));
    }
  });

  it('is not extended by a 304 that passes through', async () => {
    const clock = stopClock();
    let isStorable = false;
    const made = await serve((req, res) => {
      res.set('ETag', '"v1"');
      if (!isStorable) res.set('Cache-Control', 'no-store');
      if (req.get('if-none-match') === '"v1"') res.status(304).end();
      else res.send('body');
    });
    const ask = () => made.get('/x', { 'If-None-Match': '"v1"' });
    await ask();
    isStorable = true;
    for (let i = 0; i < 3; i++) {
      clock.pass(50_000);
      await ask();
    }
    expect(made.runs()).toBe(4);
    // After two minutes the cache requests the complete response and stores it.
    expect((await ask()).status).toBe(304);
    expect((await ask()).status).toBe(304);
    expect(made.seen.at(-1)).toBe(undefined);
    expect(made.cache.stats().entries).toBe(1);
  });

  it('stores a complete response to a conditional request, and hides conditions again', async () => {
    let version = 1;
    const made = await serve((req, res) => {
      res.set('ETag', `"v${version}"`);
      if (version === 1) res.set('Cache-Control', 'no-store');
      if (req.get('if-none-match') === `"v${version}"`) res.status(304).end();
      else res.send(`body ${version}`);
    });
    await made.get('/x');
    version = 2;
    expect((await made.get('/x', { 'If-None-Match': '"v1"' })).text).toBe('body 2');
    expect((await made.get('/x')).text).toBe('body 2');
    expect((await made.get('/x', { 'If-None-Match': '"v2"' })).status).toBe(304);
    expect(made.runs()).toBe(2);
  });

  it('is not created by the `no-store` of one client [H03]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } }, requestDirectives: 'honor' },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          await nextTurn();
          res.send('body');
        }),
    });
    await made.get('/x', { 'Cache-Control': 'no-store' });
    expect(made.cache.explain({ url: '/x', headers: { host: `127.0.0.1:${made.port}` } }).hitForMiss).toBe(
      undefined,
    );
    await Promise.all(Array.from({ length: 20 }, () => made.get('/x')));
    expect(made.runs()).toBe(2);
  });
});

describe('the memory of hit-for-miss keys', () => {
  it('takes a few MB for any number of keys of any length [B14, B17]', () => {
    const memory = new HitForMiss(120);
    const kept: string[] = [];
    for (let i = 0; i < 12_000; i++) {
      const key = `GET ${i}?${'x'.repeat(15_000)}`;
      memory.remember(key, 'status'.repeat(1000));
      if (i % 1000 === 0) kept.push(key);
    }
    // The first 2,000 are evicted.
    expect(kept.map((key) => memory.has(key))).toEqual(kept.map((_, i) => i >= 2));
    expect(memory.reasonOf(kept.at(-1)!)).toHaveLength(100);
  });

  it('distinguishes keys of any length by every character [B17]', () => {
    const memory = new HitForMiss(120);
    const long = 'y'.repeat(16_000);
    memory.remember(`${long}a${long}`, 'status');
    expect(memory.has(`${long}a${long}`)).toBe(true);
    for (const other of [`${long}b${long}`, `${long}a${long}y`, `y${long}a${long}`, '']) {
      expect(memory.has(other)).toBe(false);
    }
    memory.forget(`${long}a${long}`);
    expect(memory.has(`${long}a${long}`)).toBe(false);
  });
});
