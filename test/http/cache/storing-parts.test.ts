import type { CacheRule } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { cacheApp, type Handler } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { majors } from '../../helpers/http.js';

const WHOLE = 'abcdefghijklmnopqrstuvwxyz';

afterEach(() => vi.restoreAllMocks());

describe.each(majors)('responses to a Range request (%s)', (_name, express) => {
  const app = (handler: Handler, profile: 'safe' | 'rfc9111' = 'safe', rule: CacheRule = { ttl: '1m' }) =>
    cacheApp({
      express,
      cache: { profile, routes: { '/x': rule } },
      routes: (inner, { count }) =>
        inner.get('/x', (req, res) => {
          count();
          return handler(req, res);
        }),
    });

  /** An API with pages in a custom unit, which it sends with status 200. */
  const paged: Handler = (req, res) => {
    const [, from = '0', to = '24'] = /(\d+)-(\d+)/.exec(req.get('range') ?? '') ?? [];
    res.set({ 'Last-Modified': 'Tue, 01 Jan 2019 00:00:00 GMT' }).send(`items ${from} to ${to}`);
  };

  it.each(['items=25-49', 'items', '=0-9'])(
    'are neither stored nor served from the store for units other than bytes: %s [D11, B21]',
    async (range) => {
      const made = await app(paged, 'rfc9111');
      const fill = await made.get('/x', { range });
      expect(fill.cacheStatus).toBe('hotpath; fwd=uri-miss; detail=range');
      expect((await made.get('/x')).text).toBe('items 0 to 24');
      expect((await made.get('/x', { range })).text).toBe(fill.text);
      expect((await made.get('/x')).text).toBe('items 0 to 24');
      expect(made.runs()).toBe(3);
    },
  );

  it.each(['bytes=-6', 'bytes=0-1,4-5'])(
    'are not stored when the handler sends a part with 200: %s [D11, A13]',
    async (range) => {
      const made = await app((req, res) => {
        const [, from, to] = /=(\d*)-(\d*)/.exec(req.get('range') ?? '') ?? [];
        if (from === undefined) return void res.type('text').send(WHOLE);
        const start = from === '' ? WHOLE.length - Number(to) : Number(from);
        const end = from === '' || to === '' ? WHOLE.length : Number(to) + 1;
        res.type('text').send(WHOLE.slice(start, end));
      });
      await made.get('/x', { range });
      expect((await made.get('/x')).text).toBe(WHOLE);
    },
  );

  it('are not stored when the length of the response is unknown [D11]', async () => {
    const made = await app((_req, res) => res.write(WHOLE) && res.end());
    await made.get('/x', { range: 'bytes=0-4' });
    expect(made.cache.stats().entries).toBe(0);
  });

  it('are stored when they are complete and longer than the range [D11]', async () => {
    const made = await app((_req, res) => res.type('text').send(WHOLE));
    await made.get('/x', { range: 'bytes=0-4' });
    expect((await made.get('/x')).xCache).toBe('HIT');
  });

  it.each(['Accept-Ranges', 'Content-Range'])(
    'come from the handler if the entry names the unit in %s, as explain() says [D11]',
    async (field) => {
      const made = await app((req, res) => {
        res.set(field, field === 'Accept-Ranges' ? 'items' : 'items 0-24/99');
        return paged(req, res);
      });
      await made.get('/x');
      const headers = { range: 'items=25-49' };
      const explained = made.cache.explain({ url: `http://127.0.0.1:${made.port}/x`, headers });
      expect(explained.obstacles[0]?.reason).toBe('range');
      expect((await made.get('/x', headers)).text).toBe('items 25 to 49');
      expect((await made.get('/x', { range: 'bytes=0-4' })).text).toBe('items');
      expect((await made.get('/x')).text).toBe('items 0 to 24');
    },
  );

  it('get the error of the handler, not the stale whole, if the entry names their unit [D11]', async () => {
    const clock = stopClock();
    let fails = false;
    const rule = { ttl: '1s', staleIfError: '1h' } as const;
    const handler: Handler = (req, res) =>
      fails ? res.status(503).send('down') : paged(req, res.set('Accept-Ranges', 'items'));
    const made = await app(handler, 'safe', rule);
    await made.get('/x');
    fails = true;
    clock.pass(1500);
    expect((await made.get('/x', { range: 'items=25-49' })).status).toBe(503);
    expect((await made.get('/x', { range: 'bytes=0-4' })).status).toBe(206);
  });
});
