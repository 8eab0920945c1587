import { setTimeout as delay } from 'node:timers/promises';
import type { Express } from 'express';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors, partOn4, waitFor } from '../../helpers/http.js';

const isRefresh = (req: unknown) => (req as { hotpath?: { internal?: boolean } }).hotpath?.internal === true;

describe.each(majors)('a background refresh that an access check refuses (%s)', (major, express) => {
  const gates: Record<string, (app: Express) => void> = {
    'an origin-verify header': (app) =>
      void app.use((req, res, next) =>
        req.headers['x-origin-verify'] === 's' ? next() : void res.status(403).send('not by the CDN'),
      ),
    'an IP allowlist': (app) =>
      void app.use((req, res, next) =>
        /127\.0\.0\.1$/.test(req.ip ?? '') ? next() : void res.status(403).send('not from there'),
      ),
    'a limiter with one counter for all': (app) =>
      void app.use((req, res, next) =>
        isRefresh(req) ? void res.status(429).set('Retry-After', '1').end() : next(),
      ),
    'a login redirect': (app) =>
      void app.use((req, res, next) => (req.headers.cookie ? next() : void res.redirect('/login'))),
  };
  const places = ['before', 'after'] as const;
  const cases = Object.keys(gates).flatMap((gate) => places.map((place) => [gate, place] as const));

  it.each(partOn4(major, cases, cases.slice(0, 4)))(
    'by %s %s the cache allows one handler run at a time and serves nothing stale [H11]',
    async (gate, place) => {
      let now = 0;
      let most = 0;
      const made = await cacheApp({
        express,
        // Cached by the response's own headers, as static site generators do; for clients with cookies as well.
        cache: { statusHeader: true },
        before: place === 'before' ? gates[gate] : undefined,
        routes: (app, { count }) => {
          if (place === 'after') gates[gate]!(app);
          app.get('/x', async (_req, res) => {
            const run = count();
            most = Math.max(most, ++now);
            await delay(20);
            now--;
            res
              .set('Cache-Control', 'public, s-maxage=3600, stale-while-revalidate=31535999')
              .send(`run ${run}`);
          });
        },
      });
      const client = { 'x-origin-verify': 's', cookie: 'sid=1' };
      await made.get('/x', client);
      await made.cache.expire({ all: true });
      expect((await made.get('/x', client)).xCache).toBe('STALE');
      await waitFor(() => made.cache.stats().pending === 0); // the refresh is refused
      for (let run = 2; run <= 6; run++) {
        const all = await Promise.all(Array.from({ length: 50 }, () => made.get('/x', client)));
        expect(new Set(all.map(({ text }) => text))).toEqual(new Set([`run ${run}`]));
        expect(all.some(({ xCache }) => xCache === 'STALE')).toBe(false);
        await made.cache.expire({ all: true });
      }
      expect([made.runs(), most]).toEqual([6, 1]);
    },
  );
});
