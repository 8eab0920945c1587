import type { Request, Response } from 'express';
import type { CacheRule, StandaloneCacheOptions } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { type Gate, gate } from '../../helpers/gate.js';
import { majors, waitFor } from '../../helpers/http.js';

afterEach(() => vi.restoreAllMocks());

type Page = (res: Response) => unknown;

/** Responses that supersede the stored one. */
const ENDS: readonly (readonly [what: string, page: Page])[] = [
  ['a 404', (res) => res.status(404).send('gone')],
  ['a 410', (res) => res.status(410).send('gone')],
  ['a redirect', (res) => res.redirect('/login')],
  ['private', (res) => res.set('Cache-Control', 'private').send('gone')],
  ['no-store', (res) => res.set('Cache-Control', 'no-store').send('gone')],
  ['Vary: *', (res) => res.vary('*').send('gone')],
];
const GONE = ENDS[1]![1];
const NO_CACHE = { 'Cache-Control': 'no-cache' };

const isRefresh = (req: Request) => (req as { hotpath?: { internal?: boolean } }).hotpath?.internal === true;
const settled = (made: CacheApp) => waitFor(() => made.cache.stats().pending === 0);

describe.each(majors)(
  'what a fill brings that began before a stored response ended (%s)',
  (_major, express) => {
    interface Shown {
      readonly made: CacheApp;
      /** The inputs that handlers read from now on. */
      show(page: Page): void;
      /** Sends a request whose handler reads the page at once, and answers when the gate is opened. */
      start(held: Gate, headers?: Record<string, string>): Promise<{ answer: ReturnType<CacheApp['get']> }>;
      /** Holds the handler of the next refresh likewise. */
      holdRefresh(held: Gate): void;
    }

    /** An app with the page `/x`. */
    async function appWith(rule: CacheRule, cache: StandaloneCacheOptions = {}): Promise<Shown> {
      let shown: Page = (res) => res.set('ETag', '"old"').send('old');
      let refreshes: Gate | undefined;
      const held = new Map<string, Gate>();
      const made = await cacheApp({
        express,
        cache: { requestDirectives: 'honor', ...cache, routes: { '/x': rule } },
        routes: (app, { count }) => {
          app.get('/x', async (req, res) => {
            const page = shown;
            const wait = isRefresh(req) ? refreshes : held.get(req.headers['x-held'] as string);
            count();
            await wait?.opened;
            page(res);
          });
        },
      });
      return {
        made,
        show(page) {
          shown = page;
        },
        async start(gateOfIt, headers = {}) {
          const name = `${held.size}`;
          held.set(name, gateOfIt);
          const before = made.runs();
          const answer = made.get('/x', { 'X-Held': name, ...headers });
          await waitFor(() => made.runs() > before);
          return { answer };
        },
        holdRefresh(gateOfIt) {
          refreshes = gateOfIt;
        },
      };
    }

    describe.each(ENDS)('by %s', (_what, page) => {
      it('is not stored where another ran beside it [H07]', async () => {
        const { made, show, start } = await appWith({ ttl: '1h', collapse: false });
        await made.get('/x');
        await made.cache.expire({ all: true });
        const slow = gate();
        const { answer } = await start(slow);
        show(page);
        expect((await made.get('/x')).text).not.toBe('old');
        slow.open();
        expect((await answer).text).toBe('old');
        await settled(made);
        expect((await made.get('/x')).text).not.toBe('old');
      });

      it('is not stored either where nothing was before [H07]', async () => {
        const { made, show, start } = await appWith({ ttl: '1h' });
        const slow = gate();
        const { answer } = await start(slow);
        show(page);
        expect((await made.get('/x', NO_CACHE)).text).not.toBe('old');
        slow.open();
        expect((await answer).text).toBe('old');
        await settled(made);
        expect((await made.get('/x')).text).not.toBe('old');
      });

      it('goes when the end is complete, if it was stored in the meantime [H07]', async () => {
        const { made, show, start } = await appWith({ ttl: '1h', collapse: false });
        await made.get('/x');
        await made.cache.expire({ all: true });
        const [first, second] = [gate(), gate()];
        const { answer } = await start(first);
        show(page);
        const { answer: end } = await start(second);
        first.open();
        expect((await answer).text).toBe('old');
        second.open();
        await end;
        await settled(made);
        expect((await made.get('/x')).text).not.toBe('old');
      });
    });

    it('is not waited for by those who come after the end [H07]', async () => {
      const { made, show, start } = await appWith({ ttl: '1h' });
      await made.get('/x');
      await made.cache.expire({ all: true });
      const slow = gate();
      const { answer } = await start(slow);
      show(GONE);
      expect((await made.get('/x', NO_CACHE)).status).toBe(410);
      const before = made.requests();
      const later = made.get('/x');
      await waitFor(() => made.requests() > before);
      slow.open();
      expect([(await answer).text, (await later).status]).toEqual(['old', 410]);
    });

    it('is not stored when it revalidates the stored response with a 304 [H07]', async () => {
      const { made, show, start } = await appWith({ ttl: '1h', collapse: false });
      await made.get('/x');
      await made.cache.expire({ all: true });
      const slow = gate();
      show((res) => res.status(304).set('ETag', '"old"').end());
      const { answer } = await start(slow);
      show(GONE);
      expect((await made.get('/x')).status).toBe(410);
      slow.open();
      expect((await answer).text).toBe('old');
      expect((await made.get('/x')).status).toBe(410);
    });

    it('is not stored after a HEAD that differs from what was stored [H07]', async () => {
      const { made, show, start } = await appWith({ ttl: '1h' });
      await made.get('/x');
      await made.cache.expire({ all: true });
      const slow = gate();
      const { answer } = await start(slow);
      show((res) => res.set('ETag', '"new"').send('new'));
      await made.get('/x', {}, { method: 'HEAD' });
      slow.open();
      expect((await answer).text).toBe('old');
      expect((await made.get('/x')).text).toBe('new');
    });

    it('is not stored after a purge [H07]', async () => {
      const { made, show, start } = await appWith({ ttl: '1h' });
      const slow = gate();
      const { answer } = await start(slow);
      show((res) => res.send('new'));
      await made.cache.purge({ url: '/x' });
      slow.open();
      expect((await answer).text).toBe('old');
      expect((await made.get('/x')).text).toBe('new');
    });

    describe.each([
      ['ended', GONE],
      ['refused', (res: Response) => res.status(403).send('no')],
    ] as const)('by a refresh that is %s', (result, page) => {
      const RULE: CacheRule = { ttl: 10, staleWhileRevalidate: 10_000 };

      async function withEndedRefresh(isStoredMeanwhile: boolean) {
        const clock = stopClock();
        const app = await appWith(RULE);
        const { made, show, start, holdRefresh } = app;
        await made.get('/x');
        clock.pass(11_000);
        const [slow, refresh] = [gate(), gate()];
        const { answer } = await start(slow, NO_CACHE);
        holdRefresh(refresh);
        show(page);
        expect((await made.get('/x')).xCache).toBe('STALE');
        await waitFor(() => made.runs() === 3);
        const both = [slow, refresh];
        for (const each of isStoredMeanwhile ? both : both.reverse()) {
          each.open();
          if (each === slow) expect((await answer).text).toBe('old');
          else await waitFor(() => made.cache.stats().refreshResults[result] === 1);
        }
        await settled(made);
        // Both the lifetime and the pause of refreshes are over.
        clock.pass(1_000_000);
        return made.get('/x');
      }

      it('is not served stale, stored before the end [H11]', async () => {
        expect(await withEndedRefresh(true)).not.toMatchObject({ xCache: 'STALE' });
      });

      it('is not served stale, stored after the end [H11]', async () => {
        expect(await withEndedRefresh(false)).not.toMatchObject({ xCache: 'STALE' });
      });
    });
  },
);
