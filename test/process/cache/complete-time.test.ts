import type { StandaloneCacheOptions } from 'hotpath/cache';
import { cacheOf } from 'hotpath/cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { cacheApp, counted } from '../../helpers/cache.js';
import { stopClock } from '../../helpers/clock.js';
import { majors, waitFor } from '../../helpers/http.js';

const hour = 3_600_000;
/** Turns `in 50 s` and `in -10 s` into dates relative to now; returns other values unchanged. */
const dated = (value: string) =>
  value.replace(/^in (-?\d+) s$/, (_, seconds) => new Date(Date.now() + seconds * 1000).toUTCString());

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe.each(majors)('lifetimes (%s)', (_, express) => {
  /** Sends these headers and the number of the run, under a rule with or without a lifetime. */
  const make = (headers: Record<string, string>, rule: { ttl?: number } = { ttl: 60 }) =>
    cacheApp({
      express,
      cache: { routes: { '/x': rule } },
      routes: (app, made) => {
        app.get('/x', (req, res) => {
          const fields = Object.entries(headers).map(([name, value]) => [name, dated(value)]);
          counted(made, Object.fromEntries(fields))(req, res);
        });
      },
    });

  it.each<[Record<string, string>]>([
    [{ 'Cache-Control': 'max-age=0' }],
    [{ 'Cache-Control': 'max-age=-1' }],
    [{ 'Cache-Control': 'max-age=abc' }],
    [{ 'Cache-Control': 'max-age=1.5' }],
    [{ 'Cache-Control': 'max-age=' }],
    [{ 'Cache-Control': 'public, s-maxage=0, max-age=60' }],
    [{ 'Cache-Control': 'max-age=60, max-age=0' }],
    [{ Expires: '0' }],
    [{ Expires: 'in -10 s' }],
    [{ Expires: 'soon' }],
    [{ 'Cache-Control': 'max-age=60', Age: '60' }],
    [{ 'Cache-Control': 'max-age=60', Date: 'in -120 s' }],
  ])('does not store %j, which has no lifetime left, under any rule [H15]', async (headers) => {
    const made = await make(headers);
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 2');
    expect(made.cache.stats().entries).toBe(0);
  });

  it.each<[Record<string, string>, number]>([
    [{ 'Cache-Control': 'public, max-age=30' }, 30],
    [{ 'Cache-Control': 'max-age=10, s-maxage=40' }, 40],
    [{ 'Cache-Control': 'public, max-age=60', Age: '20' }, 40],
    [{ 'Cache-Control': 'public', Expires: 'in 50 s' }, 50],
    [{ 'Cache-Control': 'public, max-age=99999999999999999999' }, 2 ** 31],
  ])('keeps %j fresh for %i seconds [H15]', async (headers, seconds) => {
    stopClock();
    const made = await make(headers, {});
    await made.get('/x');
    const { text, cacheStatus } = await made.get('/x');
    expect(text).toBe('run 1');
    const ttl = Number(/ttl=(-?\d+)/.exec(cacheStatus!)?.[1]);
    expect(ttl).toBeLessThanOrEqual(seconds);
    // Dates have a resolution of one second.
    expect(ttl).toBeGreaterThanOrEqual(seconds - 1);
  });

  it('ends a lifetime of a fraction of a second [H15]', async () => {
    const clock = stopClock();
    const made = await make({}, { ttl: 0.6 });
    await made.get('/x');
    clock.pass(599);
    expect((await made.get('/x')).text).toBe('run 1');
    clock.pass(2);
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it.each([
    ['back by an hour', -hour],
    ['forward by a year', 365 * 24 * hour],
  ])('makes an entry neither immortal nor old when the clock steps %s [H15]', async (_step, by) => {
    const clock = stopClock();
    const made = await make({}, { ttl: 0.6 });
    await made.get('/x');
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + by);
    const { text, headers } = await made.get('/x');
    expect(text).toBe('run 1');
    expect(Number(headers.get('age'))).toBe(0);
    clock.pass(601);
    expect((await made.get('/x')).text).toBe('run 2');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('increases Age with the time in the store, so max-age minus Age is the time left [H16]', async () => {
    const clock = stopClock();
    const made = await make({ 'Cache-Control': 'public, max-age=60', Age: '5' });
    const fill = await made.get('/x');
    expect(fill.headers.get('age')).toBe('5');
    clock.pass(1050);
    const { headers, cacheStatus } = await made.get('/x');
    expect(headers.get('cache-control')).toBe('public, max-age=60');
    const age = Number(headers.get('age'));
    expect(age).toBe(6);
    const ttl = Number(/ttl=(\d+)/.exec(cacheStatus!)?.[1]);
    expect(Math.abs(60 - age - ttl)).toBeLessThanOrEqual(1);
    expect(headers.get('date')).toBe(fill.headers.get('date'));
    expect(made.runs()).toBe(1);
  });

  it('never lengthens a lifetime beyond the rule with jitter [H16]', async () => {
    stopClock();
    const made = await cacheApp({
      express,
      cache: { routes: { '/:id': { ttl: 100, jitter: 0.5 } } },
      routes: (app) => app.get('/:id', (_req, res) => void res.end('x')),
    });
    const left = [];
    for (let i = 0; i < 40; i++) {
      await made.get(`/${i}`);
      left.push(Number(/ttl=(\d+)/.exec((await made.get(`/${i}`)).cacheStatus!)?.[1]));
    }
    expect(Math.max(...left)).toBeLessThanOrEqual(100);
    expect(Math.min(...left)).toBeGreaterThanOrEqual(49);
    expect(new Set(left).size).toBeGreaterThan(5);
  });
});

describe.each(majors)('functions from the configuration (%s)', (_, express) => {
  const fail = () => {
    throw new Error('of the hook');
  };
  const reject = () => Promise.reject(new Error('of the hook')) as never;
  type Rule = NonNullable<StandaloneCacheOptions['routes']>[string];

  it.each<[string, Rule, 'when' | 'tags' | 'partition']>([
    ['when throws', { ttl: 60, when: fail }, 'when'],
    ['when rejects', { ttl: 60, when: reject }, 'when'],
    ['when is async', { ttl: 60, when: (async () => true) as never }, 'when'],
    ['tags throws', { ttl: 60, tags: fail }, 'tags'],
    ['tags rejects', { ttl: 60, tags: reject }, 'tags'],
    ['tags returns no list', { ttl: 60, tags: () => 'a' as never }, 'tags'],
    ['tags returns an empty name', { ttl: 60, tags: () => [''] }, 'tags'],
    ['tags returns undefined', { ttl: 60, tags: () => undefined as never }, 'tags'],
    ['partition throws', { ttl: 60, partition: fail }, 'partition'],
    ['partition rejects', { ttl: 60, partition: reject }, 'partition'],
  ])(
    'calls the handler per request, stores nothing and reports it when %s [K04, I-FAILOPEN]',
    async (...given) => {
      const [, rule, name] = given;
      const made = await cacheApp({
        express,
        cache: { routes: { '/x': rule } },
        routes: (app, made) => app.get('/x', counted(made, {})),
      });
      const answers = await Promise.all(Array.from({ length: 10 }, () => made.get('/x')));
      expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
      expect(new Set(answers.map(({ text }) => text)).size).toBe(10);
      expect(made.faults.map((fault) => fault.where)).toEqual(
        Array(10).fill(`${name} of routes["/x"].cache`),
      );
      expect(made.cache.stats()).toMatchObject({ entries: 0, pending: 0 });
    },
  );

  it.each<[string, (error: unknown, where: string) => void]>([
    ['throws', fail],
    ['rejects', reject],
  ])('survives an onError that %s [K04, I-FAILOPEN]', async (_how, onError) => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60, when: fail } }, onError },
      routes: (app, made) => app.get('/x', counted(made, {})),
    });
    for (let i = 1; i < 3; i++) expect((await made.get('/x')).text).toBe(`run ${i}`);
    warned.mockRestore();
  });

  it('skips the cache, not the route, when a trust proxy function throws [K04, I-FAILOPEN]', async () => {
    const made = await cacheApp({
      express,
      before: (app) => app.set('trust proxy', fail),
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, made) => app.get('/x', counted(made, {})),
    });
    const headers = { 'X-Forwarded-Host': 'other', 'X-Forwarded-Proto': 'https' };
    for (let i = 1; i < 3; i++) expect((await made.get('/x', headers)).text).toBe(`run ${i}`);
  });

  it('emits a process warning for a fault without onError, and continues [K04]', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60, when: fail } }, onError: undefined },
      routes: (app, made) => app.get('/x', counted(made, {})),
    });
    expect((await made.get('/x')).text).toBe('run 1');
    warned.mockRestore();
  });

  it('stays below maxBytes and maxEntries in a flood of URLs, headers and tags [K11, I-BOUND]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/:id': { ttl: 60 } }, memory: { maxBytes: '256kb', maxEntries: 100 } },
      routes: (app) =>
        app.get('/:id', (req, res) => {
          cacheOf(res).tag(`tag:${req.params.id}`);
          res.set('X-Fill', 'f'.repeat(500)).vary('Accept-Language').send('b'.repeat(2000));
        }),
    });
    for (let i = 0; i < 40; i++) {
      await Promise.all(
        Array.from({ length: 10 }, (_one, n) => made.get(`/${i * 10 + n}`, { 'Accept-Language': `l${n}` })),
      );
      const { bytes, entries } = made.cache.stats();
      expect(bytes).toBeLessThanOrEqual(256 * 1024);
      expect(entries).toBeLessThanOrEqual(100);
    }
    const { bytes, entries, stores } = made.cache.stats();
    expect(stores).toBe(400);
    expect(bytes / entries).toBeGreaterThan(1000);
  });

  it('limits the variants of one URL in a flood of variants [K11]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (req, res) => {
          count();
          res.vary('Accept-Language').send(String(req.headers['accept-language']));
        }),
    });
    for (let i = 0; i < 200; i++)
      expect((await made.get('/x', { 'Accept-Language': `l${i}` })).text).toBe(`l${i}`);
    expect(made.cache.stats().entries).toBeLessThanOrEqual(40);
    expect((await made.get('/x', { 'Accept-Language': 'l199' })).text).toBe('l199');
    expect(made.runs()).toBe(200);
  });

  it('serves an entry larger than the whole tier without keeping it [K11]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } }, memory: { maxBytes: 2000 } },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          if (count() === 1) await waitFor(() => made.requests() === 10);
          res.set('X-Fill', 'f'.repeat(900)).send('b'.repeat(900));
        }),
    });
    const answers = await Promise.all(Array.from({ length: 10 }, () => made.get('/x')));
    for (const { text } of answers) expect(text).toHaveLength(900);
    expect(made.cache.stats()).toMatchObject({ entries: 0, bytes: 0, pending: 0 });
  });
});
