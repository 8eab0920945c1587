import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { Response } from 'express';
import { cacheOf } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { type StoppedClock, stopClock } from '../../helpers/clock.js';
import { gate } from '../../helpers/gate.js';
import { crowdOf, majors, raw, waitFor } from '../../helpers/http.js';
import { times } from '../../helpers/times.js';

const rule = { '/x': { ttl: 60 } } as const;
/** Releases its callers once `size` of them wait; then it starts again. */
function assembly(size: number): () => Promise<void> {
  let here = 0;
  let { opened, open } = gate();
  return () => {
    const gone = opened;
    if (++here === size) {
      open();
      here = 0;
      ({ opened, open } = gate());
    }
    return gone;
  };
}

afterEach(() => void vi.restoreAllMocks());

describe.each(majors)('collapsing (%s)', (major, express) => {
  const crowd = crowdOf(major);
  it(`runs the handler once for ${crowd} concurrent GETs of a cold entry [H01]`, async () => {
    const { opened, open } = gate();
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 60 },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          await opened;
          res.send('body');
        }),
    });
    let answered = 0;
    const answers = times(crowd, () => made.get('/x'));
    for (const answer of answers) void answer.then(() => answered++);
    await waitFor(() => made.requests() === crowd);
    expect([answered, made.runs()]).toEqual([0, 1]);
    open();
    for (const { status, text } of await Promise.all(answers)) expect([status, text]).toEqual([200, 'body']);
    expect(made.runs()).toBe(1);
    expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 1, hits: crowd - 1, misses: 1 });
  });

  it(`runs the handler once for ${crowd} concurrent GETs of a streamed body [H01]`, async () => {
    const body = Buffer.concat(times(40, (i) => Buffer.alloc(1000, i)));
    const whole = body.toString();
    const { opened, open } = gate();
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 60 },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          res.set('Content-Length', String(body.length));
          for (let at = 0; at < body.length; at += 10_000) {
            if (at === 10_000) await opened;
            await new Promise(setImmediate);
            res.write(body.subarray(at, at + 10_000));
          }
          res.end();
        }),
    });
    const answers = times(crowd, () => made.get('/x'));
    await waitFor(() => made.requests() === crowd);
    open();
    for (const { text } of await Promise.all(answers)) if (text !== whole) expect(text).toBe(whole);
    expect(made.runs()).toBe(1);
    expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 1, collapsed: crowd - 1, misses: 1 });
  }, 300_000);

  it.each<[string, (made: CacheApp, clock: StoppedClock) => unknown]>([
    ['the end of its lifetime', (_made, clock) => clock.pass(600)],
    ['a purge', ({ cache }) => cache.purge({ tag: 'x' })],
    ['an expiry', ({ cache }) => cache.expire({ url: '/x' })],
  ])('runs the handler once more for 100 concurrent GETs after %s [H01]', async (when, happen) => {
    const clock = stopClock();
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60, tags: ['x'] } } },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          const n = count();
          await delay(20);
          if (n === 1 && when === 'the end of its lifetime') cacheOf(res).ttl(0.5);
          res.send(`run ${n}`);
        }),
    });
    expect((await made.get('/x')).text).toBe('run 1');
    await happen(made, clock);
    const answers = await Promise.all(times(100, () => made.get('/x')));
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['run 2']));
    expect(made.runs()).toBe(2);
  });

  it.each<[string, (res: Response, n: number) => void]>([
    ['a cookie', (res, n) => res.cookie('sid', `sid-${n}`).send(`own ${n}`)],
    ['private', (res, n) => res.set('Cache-Control', 'private, max-age=60').send(`own ${n}`)],
    ['no-store', (res, n) => res.set('Cache-Control', 'no-store').send(`own ${n}`)],
    ['Vary: Cookie', (res, n) => res.vary('Cookie').send(`own ${n}`)],
    [
      'private, in pieces',
      (res, n) => {
        res.writeHead(200, { 'Cache-Control': 'private' });
        res.write('own ');
        setImmediate(() => res.end(String(n)));
      },
    ],
  ])('gives each of 50 concurrent clients a separate response with %s [H02]', async (_what, answer) => {
    const made = await cacheApp({
      express,
      cache: { routes: rule },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          const n = count();
          await delay(10);
          answer(res, n);
        }),
    });
    const answers = await Promise.all(times(50, () => made.get('/x')));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(50);
    expect(new Set(answers.flatMap(({ setCookie }) => setCookie)).size).toBe(
      answers.flatMap(({ setCookie }) => setCookie).length,
    );
    expect(made.runs()).toBe(50);
    expect(made.cache.stats()).toMatchObject({ pending: 0, stores: 0, entries: 0 });
  });

  it('serves a waiting request only the variant that it matches [H02]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: rule },
      routes: (app, { count }) =>
        app.get('/x', async (req, res) => {
          count();
          await delay(10);
          res.vary('Accept-Language').send(String(req.headers['accept-language']));
        }),
    });
    const languages = ['de', 'fr', 'en'];
    const wanted = times(60, (i) => languages[i % 3]!);
    const answers = await Promise.all(
      wanted.map((language) => made.get('/x', { 'Accept-Language': language })),
    );
    expect(answers.map(({ text }) => text)).toEqual(wanted);
    expect(made.runs()).toBeLessThan(60);
    expect(made.cache.stats().pending).toBe(0);
  });

  it('runs 100 concurrent requests of a known uncacheable route in parallel [H03]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 60 },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          // No response is sent before all requests are here: with a waiting request, that would never happen.
          if (count() > 1) await waitFor(() => made.runs() === 101);
          res.set('Cache-Control', 'no-store').send('mine');
        }),
    });
    expect((await made.get('/x')).text).toBe('mine');
    for (const { text } of await Promise.all(times(100, () => made.get('/x')))) expect(text).toBe('mine');
    expect(made.runs()).toBe(101);
  });

  it.each([
    [`all ${crowd} others at once, and the next burst`, '2m'],
    [`all ${crowd} others at once without hitForMiss`, 0],
  ] as const)('once the first response is refused, runs %s [H03]', async (_what, hitForMiss) => {
    const together = assembly(crowd);
    const { opened, open } = gate();
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 60, hitForMiss },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          if (count() === 1) await opened;
          // If any of them waited for another, they would never all be here.
          else await together();
          res.set('Cache-Control', 'no-store').send('mine');
        }),
    });
    const first = made.get('/x');
    await waitFor(() => made.runs() === 1);
    const others = times(crowd, () => made.get('/x'));
    await waitFor(() => made.requests() === crowd + 1);
    expect(made.runs()).toBe(1);
    open();
    for (const { text } of await Promise.all([first, ...others])) expect(text).toBe('mine');
    expect(made.runs()).toBe(crowd + 1);
    if (hitForMiss === 0) return;
    for (const { text } of await Promise.all(times(crowd, () => made.get('/x')))) expect(text).toBe('mine');
    expect(made.runs()).toBe(2 * crowd + 1);
  });

  it('collapses a route again as soon as it becomes storable [H03]', async () => {
    let storable = false;
    const made = await cacheApp({
      express,
      cache: { routes: rule },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          await delay(20);
          if (!storable) res.set('Cache-Control', 'no-store');
          res.send('body');
        }),
    });
    await made.get('/x');
    storable = true;
    await made.get('/x');
    await made.cache.purge({ all: true });
    await Promise.all(times(20, () => made.get('/x')));
    expect(made.runs()).toBe(3);
  });

  it("does not mark a route as uncacheable because of one client's credentials [H03]", async () => {
    const made = await cacheApp({
      express,
      cache: { routes: rule },
      routes: (app, { count }) =>
        app.get('/x', async (req, res) => {
          count();
          await delay(20);
          if (req.headers.authorization) res.set('Cache-Control', 'private');
          res.send(req.headers.authorization ?? 'public');
        }),
    });
    await Promise.all(times(5, (i) => made.get('/x', { Authorization: `canary-${i}` })));
    await Promise.all(times(5, () => made.get('/x', { Cookie: 'sid=1' })));
    expect(made.runs()).toBe(10);
    const answers = await Promise.all(times(50, () => made.get('/x')));
    for (const { text } of answers) expect(text).toBe('public');
    expect(made.runs()).toBe(11);
  });

  it('runs every request separately with collapse: false [H03]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60, collapse: false } } },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          // A request that came after the first was stored would be a hit.
          await waitFor(() => made.runs() === 10);
          res.send('body');
        }),
    });
    await Promise.all(times(10, () => made.get('/x')));
    expect(made.runs()).toBe(10);
    expect((await made.get('/x')).text).toBe('body');
    expect(made.runs()).toBe(10);
  });

  it.each([
    ['served from the fill', ''],
    ['that runs by itself', 'no-store'],
  ])('keeps the AsyncLocalStorage of a waiting request %s [H02]', async (_how, cacheControl) => {
    const storage = new AsyncLocalStorage<string>();
    const ended: [id: string, found: string | undefined][] = [];
    const made = await cacheApp({
      express,
      before: (app) =>
        app.use((req, res, next) => {
          const id = String(req.headers['x-id']);
          storage.run(id, () => {
            const end = res.end;
            res.end = function (this: typeof res, ...args: unknown[]) {
              ended.push([id, storage.getStore()]);
              return (end as (...args: unknown[]) => typeof res).apply(this, args);
            } as typeof res.end;
            next();
          });
        }),
      cache: { routes: rule },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          await delay(20);
          if (cacheControl) res.set('Cache-Control', cacheControl);
          res.send(storage.getStore());
        }),
    });
    const answers = await Promise.all(times(20, (i) => made.get('/x', { 'X-Id': `id-${i}` })));
    expect(ended).toHaveLength(20);
    for (const [id, found] of ended) expect(found).toBe(id);
    if (cacheControl) expect(answers.map(({ text }) => text)).toEqual(times(20, (i) => `id-${i}`));
    expect(made.runs()).toBe(cacheControl ? 20 : 1);
  });

  it('responds to a cached handler that requests its own URL, after the deadline [H13]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: rule, waitTimeout: 0.2 },
      routes: (app, { count }) =>
        app.get('/x', async (req, res) => {
          if (count() > 1) return void res.send('inner');
          const inner = await raw(req.socket.localPort!, `GET /x HTTP/1.1\nHost: ${req.headers.host}\n\n`);
          res.send(`outer of ${inner.text}`);
        }),
    });
    expect((await made.get('/x')).text).toBe('outer of inner');
    expect(made.runs()).toBe(2);
    expect(made.cache.stats().pending).toBe(0);
  });
});
