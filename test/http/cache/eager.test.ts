import type { Request, Response } from 'express';
import type { CacheRule } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { gate } from '../../helpers/gate.js';
import { majors, waitFor } from '../../helpers/http.js';

/** The age of each response when it arrives: with lifetimes of 100 s, this share has passed. */
const AGE = '60';

describe.each(majors)('eager refresh (%s)', (_, express) => {
  const make = (
    rule: Partial<CacheRule>,
    handler: (run: number, req: Request, res: Response) => unknown = (run, _req, res) =>
      res.set('Age', AGE).send(`run ${run}`),
  ) =>
    cacheApp({
      express,
      cache: { routes: { '/:id': { ttl: 100, ...rule }, '/eager/:id': { ttl: 100, eagerRefresh: 0.5 } } },
      routes: (app, { count }) =>
        app.get(['/:id', '/eager/:id'], (req, res, next) => {
          Promise.resolve(handler(count(req.path), req, res)).catch(next);
        }),
    });

  it('serves a hit past the share as it is and starts one refresh, which replaces it', async () => {
    const { opened, open } = gate();
    const made = await make({ eagerRefresh: 0.5 }, async (run, _req, res) => {
      if (run === 2) await opened;
      res.set('Age', run === 1 ? AGE : '0').send(`run ${run}`);
    });
    await made.get('/x');
    const answers = await Promise.all(Array.from({ length: 20 }, () => made.get('/x')));
    for (const { text, xCache } of answers) expect([text, xCache]).toEqual(['run 1', 'HIT']);
    await waitFor(() => made.runs() === 2);
    expect((await made.get('/x')).text).toBe('run 1');
    open();
    await waitFor(async () => (await made.get('/x')).text === 'run 2');
    expect((await made.get('/x')).xCache).toBe('HIT');
    expect(made.runs()).toBe(2);
    expect(made.cache.stats()).toMatchObject({ refreshes: 1, stale: 0, misses: 1, pending: 0 });
  });

  it.each<[string, Partial<CacheRule>]>([
    ['before the share', { eagerRefresh: 0.7 }],
    ['without the option', {}],
    ['of a partition', { eagerRefresh: 0.5, partition: () => 'mine' }],
  ])('starts no refresh for a hit %s', async (_what, rule) => {
    const made = await make(rule);
    for (let i = 0; i < 5; i++) expect((await made.get('/x')).text).toBe('run 1');
    // A refresh that began later has ended.
    for (let i = 0; i < 2; i++) await made.get('/eager/x');
    await waitFor(() => made.runs('/eager/x') === 2 && made.cache.stats().pending === 0);
    expect(made.runs('/x')).toBe(1);
    expect(made.cache.stats()).toMatchObject({ hits: 5, refreshes: 1 });
  });

  it.each<[string, (res: Response) => unknown]>([
    ['a 500', (res) => res.status(500).send('error')],
    ['no-store', (res) => res.set('Cache-Control', 'no-store').send('mine')],
    ['a break', (res) => res.destroy()],
  ])(
    'keeps the response after a refresh that ends in %s, without refreshing it again',
    async (_what, fail) => {
      const made = await make({ eagerRefresh: 0.5 }, (run, _req, res) =>
        run === 1 ? res.set('Age', AGE).send('run 1') : fail(res),
      );
      await made.get('/x');
      await made.get('/x');
      await waitFor(() => made.runs() === 2 && made.cache.stats().pending === 0);
      for (let i = 0; i < 5; i++)
        expect(await made.get('/x')).toMatchObject({ text: 'run 1', xCache: 'HIT' });
      expect(made.runs()).toBe(2);
    },
  );

  it('refreshes without the credentials of the client [H12]', async () => {
    const seen: unknown[] = [];
    const made = await make({ eagerRefresh: 0.5 }, (_run, req, res) => {
      seen.push([req.headers.cookie, req.headers.authorization]);
      res.set({ Age: AGE, 'Cache-Control': 'public' }).send('public');
    });
    await made.get('/x');
    const personal = { Cookie: 'sid=canary', Authorization: 'Bearer canary' };
    expect((await made.get('/x', personal)).xCache).toBe('HIT');
    await waitFor(() => made.runs() === 2);
    expect(seen).toEqual([
      [undefined, undefined],
      [undefined, undefined],
    ]);
  });

  it('spreads the refreshes of entries stored together when jitter is set [G33]', async () => {
    const made = await make({ eagerRefresh: 0.75, jitter: 0.35 });
    const paths = Array.from({ length: 60 }, (_, i) => `/${i}`);
    for (const path of paths) await made.get(path);
    for (const path of paths) await made.get(path);
    await waitFor(() => made.cache.stats().pending === 0);
    // With lifetimes between 65 and 100 s, an age of 60 s exceeds the share for those up to 80 s.
    const refreshed = paths.filter((path) => made.runs(path) === 2).length;
    expect(refreshed).toBeGreaterThan(5);
    expect(refreshed).toBeLessThan(55);
  });
});
