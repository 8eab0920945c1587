import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Request, RequestHandler, Response } from 'express';
import express from 'express';
import { type Hotpath, type HotpathConfig, hotpath, isHotpathError, type WarmingEvent } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { warming } from 'hotpath/warming';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { answerFrom } from '../../helpers/cache.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { gate } from '../../helpers/gate.js';
import { listen, majors, waitFor } from '../../helpers/http.js';

const later = closeAfterEach();
afterEach(() => {
  vi.restoreAllMocks();
});

const ORIGIN = 'http://shop.example';
const host = { Host: 'shop.example' };
const TEXT = 'a text that compresses well. '.repeat(100);

/** The message of the error that a call throws. */
function messageFrom(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (isHotpathError(error)) return error.message;
    throw error;
  }
  return 'no error';
}

/** Process warnings until the end of the test. */
function warnings(): string[] {
  const heard: string[] = [];
  const spy = vi.spyOn(process, 'emitWarning');
  spy.mockImplementation((text) => void heard.push(String(text)));
  return heard;
}

describe.each(majors)('warming on %s', (_name, major) => {
  /** An app that does not listen. `runs` counts by path. */
  function shop(config: HotpathConfig = {}, before: RequestHandler[] = []) {
    const runs: Record<string, number> = {};
    const ran = (path: string) => {
      runs[path] = (runs[path] ?? 0) + 1;
    };
    const perf = later(
      hotpath({ routes: { '/items/:id': { cache: { ttl: '1h', shared: true } } }, ...config }),
    );
    const app = major();
    app.use(perf);
    perf.attach(app);
    for (const each of before) app.use(each);
    app.get('/items/:id', (req, res) => {
      ran(req.originalUrl);
      res.type('text').send(TEXT);
    });
    app.get('/beside', perf.cache.route({ ttl: '1h' }), (req, res) => {
      ran(req.originalUrl);
      res.type('text').send(TEXT);
    });
    return { perf, app, runs, ran };
  }

  const warmed = (perf: Hotpath, urls: string[], more = {}) => {
    perf.warming.register({ name: 'items', urls, critical: true, retries: 0, ...more });
    return perf.warming.start({ origins: [ORIGIN] });
  };

  it.each(['br', 'gzip', 'identity'])(
    'serves the first client of each URL from the cache, in the coding %s',
    async (coding) => {
      const { perf, app, runs } = shop();
      await warmed(perf, ['/items/1', `${ORIGIN}/items/caf\u00e9?a=1`, '/beside']);
      const { port } = later(await listen(app));
      for (const path of ['/items/1', '/items/caf%C3%A9?a=1', '/beside']) {
        const answer = await answerFrom(port, { path, headers: { ...host, 'Accept-Encoding': coding } });
        expect(answer).toMatchObject({ status: 200, xCache: 'HIT' });
        expect(answer.headers.get('content-encoding') ?? 'identity').toBe(coding);
        // A body that is encoded while it is sent has no length.
        expect(answer.headers.has('content-length')).toBe(true);
      }
      expect(runs).toEqual({ '/items/1': 1, '/items/caf%C3%A9?a=1': 1, '/beside': 1 });
    },
  );

  it('warms every origin apart, because the key holds scheme and host', async () => {
    const { perf, app, runs } = shop();
    await warmed(perf, ['/items/1'], { origins: [ORIGIN, 'https://shop.example', 'http://other.example'] });
    expect(runs).toEqual({ '/items/1': 3 });
    const { port } = later(await listen(app));
    const answer = await answerFrom(port, { path: '/items/1', headers: { Host: 'other.example' } });
    expect(answer.xCache).toBe('HIT');
  });

  it('counts no warming request, in the cache or in the metrics', async () => {
    const { perf } = shop();
    warnings();
    await warmed(perf, ['/items/1', '/items/2', '/beside', '/none']);
    await perf.warming.run();
    const { hits, misses, passes, bypasses, collapsed, routes, memory } = perf.cache.stats();
    expect({ hits, misses, passes, bypasses, collapsed, routes, memory }).toEqual({
      ...{ hits: 0, misses: 0, passes: 0, bypasses: {}, collapsed: 0, routes: {} },
      memory: { hits: 0, misses: 0 },
    });
    const text = await perf.metrics.registry!.metrics();
    expect(text).not.toMatch(/^http_requests_total\{/m);
    expect(perf.telemetry?.snapshot().requests.sinceStart.requests).toBe(0);
  });

  it('runs no handler again for entries that stay fresh until the next run', async () => {
    const { perf, runs } = shop();
    await warmed(perf, ['/items/1', '/beside']);
    expect(await perf.warming.run('items')).toMatchObject([{ name: 'items', state: 'succeeded' }]);
    expect(runs).toEqual({ '/items/1': 1, '/beside': 1 });
  });

  it('refreshes entries that expire before the next run, and those that were purged or expired', async () => {
    const { perf, runs } = shop({
      routes: { '/items/:id': { cache: { ttl: '10m', tags: ['items'] } } },
    });
    await warmed(perf, ['/items/1'], { every: '20m' });
    await perf.warming.run();
    expect(runs['/items/1']).toBe(2);
    await perf.warming.stop();
    const other = shop();
    await warmed(other.perf, ['/items/1']);
    await other.perf.cache.purge({ url: '/items/1' });
    await other.perf.warming.run();
    await other.perf.cache.expire({ all: true });
    await other.perf.warming.run();
    expect(other.runs['/items/1']).toBe(3);
  });

  it('waits for a fill of a client in place of a second run of the handler', async () => {
    const { opened, open } = gate();
    const { perf, app, ran, runs } = shop({ routes: { '/slow': { cache: { ttl: '1h' } } } });
    app.get('/slow', async (_req, res) => {
      ran('/slow');
      await opened;
      res.send('slow');
    });
    const { port } = later(await listen(app));
    const client = answerFrom(port, { path: '/slow', headers: host });
    await waitFor(() => runs['/slow'] === 1);
    perf.warming.register({ name: 'slow', urls: ['/slow'], critical: true });
    let arrived = 0;
    const observed: typeof app = ((req: Request, res: Response) => {
      arrived++;
      app(req, res);
    }) as never;
    const started = perf.warming.start({ origins: [ORIGIN], app: observed });
    await waitFor(() => arrived === 1);
    await nextTurn();
    open();
    expect(await started).toMatchObject([{ state: 'succeeded' }]);
    expect((await client).xCache).toBe('MISS');
    expect(runs['/slow']).toBe(1);
  });

  it('lets a client wait for its fill, and lead itself when the app refuses it', async () => {
    warnings();
    const { opened, open } = gate();
    const { perf, app, ran, runs } = shop({ routes: { '/slow{/:id}': { cache: { ttl: '1h' } } } });
    app.get(['/slow', '/slow/refused'], async (req, res) => {
      ran(req.path);
      await opened;
      const { hotpath: mark } = req as { hotpath?: { internal?: boolean } };
      if (mark?.internal && req.path !== '/slow') res.sendStatus(401);
      else res.send('slow');
    });
    const { port } = later(await listen(app));
    const started = warmed(perf, ['/slow', '/slow/refused']);
    await waitFor(() => runs['/slow'] === 1 && runs['/slow/refused'] === 1);
    const clients = ['/slow', '/slow/refused'].map((path) => answerFrom(port, { path, headers: host }));
    await waitFor(() => perf.cache.stats().memory.misses === 2);
    open();
    expect(await started).toMatchObject([{ state: 'failed' }]);
    const answers = await Promise.all(clients);
    expect(answers.map(({ status, xCache }) => [status, xCache])).toEqual([
      [200, 'HIT'],
      [200, 'MISS'],
    ]);
    expect(runs).toEqual({ '/slow': 1, '/slow/refused': 2 });
  });

  /** A route whose first runs are each ended by a purge. */
  function purgedShop(purges: number, record: 'purge' | 'expire' = 'purge') {
    const made = shop({ routes: { '/purged': { cache: { ttl: '1h', tags: ['rows'] } } } });
    made.app.get('/purged', async (_req, res) => {
      made.ran('/purged');
      if (made.runs['/purged']! <= purges) await made.perf.cache[record]({ tag: 'rows' });
      res.type('text').send(TEXT);
    });
    return made;
  }

  it.each([
    ['a purge', 'purge'],
    ['an expiry', 'expire'],
  ] as const)(
    'uses up no retry when %s comes while the handler runs, but asks again',
    async (_what, record) => {
      const { perf, app, runs } = purgedShop(2, record);
      expect(await warmed(perf, ['/purged'])).toMatchObject([{ state: 'succeeded' }]);
      expect(runs).toEqual({ '/purged': 3 });
      const { port } = later(await listen(app));
      expect((await answerFrom(port, { path: '/purged', headers: host })).xCache).toBe('HIT');
    },
  );

  it('gives way to purges that come faster than the handler responds, and tries again later', async () => {
    const heard = warnings();
    const { perf, runs } = purgedShop(5);
    expect(await warmed(perf, ['/purged'], { retries: 1 })).toMatchObject([{ state: 'succeeded' }]);
    expect(runs).toEqual({ '/purged': 6 });
    const always = purgedShop(Number.POSITIVE_INFINITY);
    const [result] = await warmed(always.perf, ['/purged']);
    expect(result).toMatchObject({ state: 'failed', error: expect.stringContaining('(purged; see') });
    expect(always.runs).toEqual({ '/purged': 3 });
    expect(heard.filter((text) => text.includes('has failed'))).toHaveLength(1);
  });

  it('tries again after a response from a stale result of a cached function', async () => {
    const { perf, app } = shop({ routes: { '/page': { cache: { ttl: '1h', tags: 'inherit' } } } });
    let value = 0;
    const price = perf.cache.cached(() => ++value, {
      name: 'price',
      ttl: '1h',
      staleWhileRevalidate: '1h',
    });
    app.get('/page', async (_req, res) => void res.send(String(await price())));
    await price();
    await perf.cache.expire({ tag: 'function:price' });
    expect(await warmed(perf, ['/page'], { retries: 10 })).toMatchObject([{ state: 'succeeded' }]);
    expect(value).toBe(2);
  });

  const gates: [what: string, middleware: RequestHandler, words: RegExp][] = [
    ['a login redirect', (_, res) => res.redirect('/login'), /302 to \/login: a login page/],
    [
      'a redirect to https',
      (_, res) => res.redirect(301, 'https://shop.example/items/1'),
      /301 .* another scheme or host; warm the origin https:\/\/shop\.example/,
    ],
    ['authentication', (_, res) => void res.sendStatus(401), /401: authentication/],
    ['an access check', (_, res) => void res.sendStatus(403), /403: an access check/],
    ['a list of hosts', (_, res) => void res.sendStatus(421), /421: is shop\.example in the app's list/],
    ['a rate limiter', (_, res) => void res.sendStatus(429), /429: a rate limiter/],
    ['load shedding', (_, res) => void res.sendStatus(503), /503: the app sheds load/],
    ['a broken handler', (_, _res, next) => next(new Error('broken')), /500: the handler failed/],
    ['an uncacheable response', (_, res) => void res.set('Cache-Control', 'no-store').send('x'), /no-store/],
    ['a destroyed socket', (req) => void req.socket.destroy(), /aborted before its response was complete/],
  ];
  it.each(gates)('fails with the name of the likely gate: %s', async (_what, middleware, words) => {
    const heard = warnings();
    const { perf } = shop({}, [middleware]);
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const [result] = await warmed(perf, ['/items/1']);
    expect(result).toMatchObject({ name: 'items', state: 'failed', error: expect.stringMatching(words) });
    expect(heard.filter((text) => text.includes('critical warming task "items" has failed'))).toHaveLength(1);
    // Ready, and the reason is shown.
    expect(perf.warming.check()).toEqual({ status: 'warn', reason: `items: ${result?.error}` });
    expect(perf.warming.tasks()).toMatchObject([
      {
        execution_count: 1,
        success_count: 0,
        failure_count: 1,
        last_success: null,
        last_error: result?.error,
      },
    ]);
  });

  it('names a redirect of a stored response, and a partition beside a handler', async () => {
    warnings();
    const { perf, app } = shop();
    app.get('/own', perf.cache.route({ ttl: '1h', partition: () => 'me' }), (_, res) => void res.send('own'));
    app.get('/body', (_, res) => void res.send('x'));
    const [result] = await warmed(perf, ['/own', '/body']);
    expect(result?.error).toMatch(
      /2 of 2 URLs failed: .*\/own → 200: the rule of its route has a `partition`/,
    );
    expect(result?.error).toMatch(/\/body → 200: the response was not stored/);
  });

  it('passes a gate with cache.refreshHeaders, with headers of the task, or by its mark', async () => {
    const check: RequestHandler = (req, res, next) => {
      const { hotpath: mark } = req as { hotpath?: { internal?: boolean } };
      const isIn = req.get('x-key') === 'secret' || req.get('x-own') === 'own' || req.query.mark === 'yes';
      isIn && mark?.internal ? next() : res.sendStatus(403);
    };
    const { perf } = shop({ cache: { refreshHeaders: { 'X-Key': 'secret' } } }, [check]);
    expect(await warmed(perf, ['/items/1'])).toMatchObject([{ state: 'succeeded' }]);
    const other = shop({}, [check]);
    const started = warmed(other.perf, ['/items/1', '/items/2?mark=yes'], { headers: { 'X-Own': 'own' } });
    expect(await started).toMatchObject([{ state: 'succeeded' }]);
  });

  it('warms the variant of the headers that the task names', async () => {
    const { perf, app, ran, runs } = shop({ routes: { '/hello': { cache: { ttl: '1h' } } } });
    app.get('/hello', (req, res) => {
      ran('/hello');
      res.vary('Accept-Language').send(req.get('accept-language'));
    });
    await warmed(perf, ['/hello'], { headers: { 'Accept-Language': 'de' } });
    const { port } = later(await listen(app));
    const headers = { ...host, 'Accept-Language': 'de' };
    expect(await answerFrom(port, { path: '/hello', headers })).toMatchObject({ xCache: 'HIT', text: 'de' });
    expect(runs['/hello']).toBe(1);
  });

  it('never requests more URLs at once than concurrency says, however long the list is', async () => {
    const { opened, open } = gate();
    let most = 0;
    let now = 0;
    const { perf, app } = shop({ routes: { '/slow/:id': { cache: { ttl: '1h' } } } });
    app.get('/slow/:id', async (_req, res) => {
      most = Math.max(most, ++now);
      await opened;
      await nextTurn();
      now--;
      res.send('x');
    });
    const urls = Array.from({ length: 50 }, (_, id) => `/slow/${id}`);
    const started = warmed(perf, urls, { concurrency: 3 });
    await waitFor(() => now === 3);
    open();
    expect(await started).toMatchObject([{ state: 'succeeded' }]);
    expect(most).toBe(3);
  });

  it('aborts a request that never ends at the time-out of the task, and frees its handler', async () => {
    warnings();
    const { perf, app } = shop({ routes: { '/forever{/:id}': { cache: { ttl: '1h' } } } });
    let opened = 0;
    let closed = 0;
    app.get('/forever', (_req, res) => {
      opened++;
      res.type('text').write('x');
      const timer = setInterval(() => res.write('x'), 1);
      res.on('close', () => {
        closed++;
        clearInterval(timer);
      });
    });
    app.get('/forever/silent', (_req, res) => {
      opened++;
      res.on('close', () => closed++);
    });
    const [result] = await warmed(perf, ['/forever', '/forever/silent'], { timeout: '100ms' });
    expect(result).toMatchObject({
      state: 'failed',
      error: expect.stringMatching(/^did not end within 0\.1 s: 0 of 2 URLs were done$/),
    });
    await waitFor(() => closed === opened);
  });

  it('lets a response through that is longer than an entry may be, and says so', async () => {
    warnings();
    const { perf, app } = shop({
      cache: { maxEntryBytes: '10kb' },
      routes: { '/big': { cache: { ttl: '1h' } } },
    });
    app.get('/big', (_req, res) => {
      const timer = setInterval(() => res.write('x'.repeat(5000)), 1);
      res.type('text').on('close', () => clearInterval(timer));
    });
    const [result] = await warmed(perf, ['/big']);
    expect(result?.error).toMatch(/\/big → 200: the response was not stored \(too-large/);
  });

  it('asks a function for the URLs of each run, and names a wrong one', async () => {
    warnings();
    const { perf, runs } = shop();
    let urls: unknown = ['/items/1', '/items/1', '/items/2'];
    perf.warming.register({ name: 'top', urls: () => urls as string[], critical: true, retries: 0 });
    expect(await perf.warming.start({ origins: [ORIGIN] })).toMatchObject([{ state: 'succeeded' }]);
    expect(runs).toEqual({ '/items/1': 1, '/items/2': 1 });
    urls = ['//items'];
    expect((await perf.warming.run('top'))[0]?.error).toMatch(/`urls` returned '\/\/items'; expected a path/);
    urls = 'items';
    expect((await perf.warming.run('top'))[0]?.error).toBe('`urls` returned no list');
  });

  it('publishes the beginning and the end of each run', async () => {
    const heard: WarmingEvent[] = [];
    const listener = (message: unknown) => void heard.push(message as WarmingEvent);
    subscribe('hotpath:warming', listener);
    const { perf } = shop();
    await warmed(perf, ['/items/1', '/items/2']);
    unsubscribe('hotpath:warming', listener);
    expect(heard).toMatchObject([
      { task: 'items', state: 'started', requested: 0, seconds: expect.any(Number) },
      { task: 'items', state: 'finished', requested: 2, seconds: expect.any(Number) },
    ]);
  });

  it('shows its counts as metrics, until it is closed', async () => {
    const { perf } = shop();
    await warmed(perf, ['/items/1']);
    const text = await perf.metrics.registry!.metrics();
    expect(text).toContain('hotpath_warming_executions_total{task="items"} 1');
    expect(text).toContain('hotpath_warming_failures_total{task="items"} 0');
    expect(text).toMatch(/^hotpath_warming_last_success_timestamp_seconds\{task="items"\} 1\d{9}/m);
  });

  it('warms a cache and an app that are used without hotpath()', async () => {
    const cache = later(responseCache({ routes: { '/x': { ttl: '1h' } } }));
    const app = major();
    app.use(cache);
    app.get('/x', (_req, res) => void res.send('x'));
    const alone = later(warming({ cache }));
    alone.register({ name: 'x', urls: ['/x'], origins: [ORIGIN], critical: true });
    expect(await alone.start({ app })).toMatchObject([{ state: 'succeeded' }]);
    const { port } = later(await listen(app));
    expect((await answerFrom(port, { path: '/x', headers: host })).xCache).toBe('HIT');
  });
});

describe('the registration of warming tasks', () => {
  const perf = hotpath({
    routes: {
      '/me': { cache: { ttl: '1m', partition: () => 'me' } },
      '/never': { cache: false },
    },
  });
  perf.warming.register({ name: 'taken', task: () => {} });
  const refused: [what: string, task: object, words: string][] = [
    ['a name that is taken', { name: 'taken', task() {} }, 'this name is taken'],
    ['no name', { task() {} }, 'name: expected a string that is not empty'],
    ['no kind', { name: 'a' }, 'needs one of `task`, `urls` and `topKeys`'],
    ['two kinds', { name: 'a', task() {}, urls: ['/a'] }, 'urls: conflicts with `task`'],
    ['a partition', { name: 'a', urls: ['/me?x'] }, 'has a `partition`'],
    ['a path that is never cached', { name: 'a', urls: ['/never'] }, '`cache: false`'],
    ['a fragment', { name: 'a', urls: ['/a#b'] }, 'without user name, password and fragment'],
    ['a password, which is masked', { name: 'a', urls: ['http://u:geheim@h/'] }, "received 'http://***@h/'"],
    ['a host in place of a path', { name: 'a', urls: ['//h/a'] }, 'expected a path'],
    ['a backslash', { name: 'a', urls: ['/\\h/a'] }, 'expected a path'],
    ['another scheme', { name: 'a', urls: ['ftp://h/a'] }, 'expected a path'],
    ['an origin with a path', { name: 'a', urls: ['/a'], origins: ['http://h/a'] }, 'without a path'],
    ['no list', { name: 'a', urls: '/a' }, 'a list of URLs'],
    ['a period of 0', { name: 'a', task() {}, every: 0 }, 'greater than 0, or false'],
    ['too many at once', { name: 'a', urls: ['/a'], concurrency: 101 }, 'from 1 to 100'],
    ['concurrency of a function', { name: 'a', task() {}, concurrency: 1 }, 'no effect with `task`'],
    ['a header of its own', { name: 'a', urls: ['/a'], headers: { host: 'h' } }, 'not one of `Host`'],
    ['top keys that nothing remembers', { name: 'a', topKeys: 5 }, 'needs a file'],
    ['an unknown option', { name: 'a', url: ['/a'] }, "did you mean 'urls'"],
  ];
  it.each(refused)('is refused for %s', (_what, task, words) => {
    expect(messageFrom(() => perf.warming.register(task as never))).toContain(words);
    expect(perf.warming.tasks().map(({ name }) => name)).toEqual(['taken']);
  });

  it('says how to name an origin and an app', async () => {
    const own = hotpath({ metrics: false });
    own.warming.register({ name: 'a', urls: ['/a'] });
    await expect(own.warming.start({ origins: [ORIGIN] })).rejects.toThrow(/call perf\.attach\(app\) before/);
    const app = express();
    own.attach(app);
    await expect(own.warming.start()).rejects.toThrow(/'\/a' has no origin.*origins: \['https:/);
    await expect(own.warming.run('b')).rejects.toThrow(/no task of this name; registered are: 'a'/);
    await own.close();
    await expect(own.warming.start({ origins: [ORIGIN] })).rejects.toMatchObject({
      code: 'HOTPATH_WARMING_INVALID',
    });
  });

  it('refuses URLs while the cache is off, and keeps functions', async () => {
    const off = hotpath({ cache: false, metrics: false });
    expect(messageFrom(() => off.warming.register({ name: 'a', urls: ['/a'] }))).toContain(
      'the cache is off',
    );
    let runs = 0;
    off.warming.register({ name: 'b', task: () => runs++, critical: true });
    expect(await off.warming.start()).toMatchObject([{ name: 'b', state: 'succeeded' }]);
    expect(runs).toBe(1);
    await off.close();
  });
});
