import { setTimeout as delay } from 'node:timers/promises';
import type { NextFunction, Request, Response } from 'express';
import type { CacheRule } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { majors, waitFor } from '../../helpers/http.js';

afterEach(() => vi.restoreAllMocks());

const isRefresh = (req: unknown) => (req as { hotpath?: { internal?: boolean } }).hotpath?.internal === true;

type Slow = (req: Request, res: Response, next: NextFunction) => unknown;

/** A rule whose stale entries only a client's own request may refresh. */
const PARTITIONED: CacheRule = { ttl: 10, staleIfError: 1000, timeout: 0.05, partition: () => 'one' };

describe.each(majors)("a client's own request whose handler is slower than `timeout` (%s)", (_, express) => {
  /** Has a stale entry and a slow handler. */
  async function appWith(slow: Slow, rule: CacheRule = {}) {
    const clock = stopClock();
    const world = { isSlow: false };
    const made = await cacheApp({
      express,
      // Nobody waits until then.
      cache: {
        waitTimeout: '1h',
        routes: { '/:id': { ttl: 10, staleIfError: 1000, timeout: 0.05, ...rule } },
      },
      routes: (app, { count }) => {
        app.get('/:id', (req, res, next) => {
          // Marks the key, so that the client's own request leads.
          if (isRefresh(req)) return void res.status(403).end();
          const run = count();
          if (world.isSlow) return void slow(req, res, next);
          res.set('ETag', `"${run}"`).send(`run ${run}`);
        });
        // As Express's own error handler.
        app.use((error: unknown, req: Request, res: Response, next: NextFunction) => {
          if (res.headersSent) req.socket.destroy();
          else next(error);
        });
      },
    });
    await made.get('/x');
    clock.pass(11_000);
    await made.get('/x');
    await waitFor(() => made.cache.stats().pending === 0);
    await made.get('/x');
    expect(made.runs()).toBe(2);
    clock.pass(11_000);
    world.isSlow = true;
    return { made, world, clock, stored: 'run 2' };
  }

  it.each<[string, CacheRule]>([
    ['of a marked key', {}],
    ['of a marked key, also while revalidating', { staleWhileRevalidate: 500 }],
    ['of a partition', PARTITIONED],
  ])('gets the stale response %s, within its window [H10, H11]', async (_what, rule) => {
    const { made, stored } = await appWith(() => undefined, rule);
    const before = made.runs();
    const leader = await made.get('/x');
    expect(leader).toMatchObject({ status: 200, text: stored, xCache: 'STALE' });
    expect(leader.cacheStatus).toMatch(/detail=timeout$/);
    // The next ones do not wait for the same handler, nor run it.
    for (let i = 0; i < 5; i++) expect((await made.get('/x')).xCache).toBe('STALE');
    expect(made.runs()).toBe(before + 1);
  });

  it('waits for its handler where the window is over, or the entry was purged [H10, B01]', async () => {
    const { made, clock } = await appWith((_req, res) => void setTimeout(() => res.send('late'), 150));
    const first = made.get('/x');
    await waitFor(() => made.runs() === 3);
    await made.cache.purge({ all: true });
    expect(await first).toMatchObject({ text: 'late', xCache: 'MISS' });
    clock.pass(2_000_000);
    expect(await made.get('/x')).toMatchObject({ text: 'late', xCache: 'MISS' });
  });

  it('ignores what the handler does later, and stores nothing of it [H10]', async () => {
    let late: unknown;
    const { made, world, clock, stored } = await appWith(async (_req, res) => {
      res.status(500).set('X-Unfinished', '1').type('text/csv');
      await new Promise((resolve) => res.once('close', resolve));
      try {
        res.set('Set-Cookie', 'sid=1');
        res.status(200).cookie('a', 'b').json({ late: true });
        res.destroy();
        late = 'done';
      } catch (error) {
        late = error;
      }
    });
    const answer = await made.get('/x');
    expect(answer).toMatchObject({ status: 200, text: stored, xCache: 'STALE', setCookie: [] });
    expect(answer.headers.get('x-unfinished')).toBeNull();
    expect(answer.headers.get('content-type')).toMatch(/^text\/html/);
    await waitFor(() => late !== undefined);
    expect(late).toBe('done');
    expect((await made.get('/x')).text).toBe(stored);
    world.isSlow = false;
    // After the window, nobody waits for the handler of the first client.
    clock.pass(1_000_000);
    expect((await made.get('/x')).text).toMatch(/^run \d$/);
  });

  it('does not lose its other requests when the handler fails after all [H10]', async () => {
    let fail = () => {};
    const { made } = await appWith((_req, _res, next) => {
      fail = () => next(new Error('the database did not answer'));
    });
    expect((await made.get('/x')).xCache).toBe('STALE');
    made.app.get('/y/slow', (_req, res) => void setTimeout(() => res.send('whole'), 50));
    const other = made.get('/y/slow');
    await delay(10);
    fail();
    expect((await other).text).toBe('whole');
  });

  it('gets a 304 for the conditions that it sent [H10]', async () => {
    const { made } = await appWith(() => undefined);
    expect((await made.get('/x', { 'if-none-match': '"2"' })).status).toBe(304);
  });

  it('keeps a response that has begun in time [H10]', async () => {
    const { made } = await appWith(async (_req, res) => {
      res.write('a long ');
      await delay(120);
      res.end('response');
    });
    expect(await made.get('/x')).toMatchObject({ text: 'a long response', xCache: 'MISS' });
  });

  it('waits for its handler without a `timeout` [H10]', async () => {
    const { made } = await appWith((_req, res) => void setTimeout(() => res.send('late'), 120), {
      timeout: undefined,
    });
    expect((await made.get('/x')).text).toBe('late');
  });
});
