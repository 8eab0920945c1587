import type { CacheRule } from 'hotpath/cache';
import { cacheOf } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../helpers/cache.js';
import { majors } from '../helpers/http.js';

const PROTOTYPE = ['__proto__', 'constructor', 'hasOwnProperty', 'toString', 'valueOf', 'prototype'];
const HUGE = 'x'.repeat(10 * 1024 ** 2);

describe.each(majors)('names and functions of the user, on %s', (_name, express) => {
  it.each(PROTOTYPE)(
    'B16 %s is a path, a parameter, a tag, a partition, a header and a cookie like any other',
    async (name) => {
      const routes: Record<string, CacheRule> = {
        '/tag/:id': { ttl: '1m', tags: ({ params }) => [String(params.id)] },
        '/partition/:id': { ttl: '1m', partition: ({ params }) => String(params.id) },
        '/header/:id': { ttl: '1m', vary: { headers: [name === '__proto__' ? 'x-proto' : name] } },
        '/cookie/:id': { ttl: '1m', vary: { cookies: [name] } },
        '/query/:id': { ttl: '1m', vary: { query: [name] } },
        '/*path': { ttl: '1m' },
      };
      const made = await cacheApp({
        express,
        cache: { routes },
        routes: (app) =>
          app.use((req, res) => {
            made.count(req.path);
            if (req.path.startsWith('/vary')) res.vary(name);
            cacheOf(res).tag(name);
            res.send(
              `${req.originalUrl} ${req.get(name === '__proto__' ? 'x-proto' : name) ?? ''} ${req.headers.cookie ?? ''}`,
            );
          }),
      });
      for (const place of ['tag', 'partition', 'header', 'cookie', 'query', 'vary', 'plain']) {
        const path = `/${place}/${name}`;
        const first = await made.get(path);
        expect(first.status).toBe(200);
        expect((await made.get(path)).text).toBe(first.text);
        expect([place, made.runs(path)]).toEqual([place, 1]);
      }
      expect((await made.get(`/cookie/${name}`, { cookie: `${name}=1` })).text).toContain(`${name}=1`);
      expect((await made.get(`/query/${name}?${name}=1`)).text).toContain(`?${name}=1`);
      await made.cache.purge({ tag: name });
      await made.get(`/plain/${name}`);
      expect(made.runs(`/plain/${name}`)).toBe(2);
      // And what has another tag alone was not touched; nor was anything that all objects share.
      expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('1');
      expect(made.faults).toEqual([]);
    },
  );

  it('B16 a request header called __proto__ changes nothing', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1m', vary: { headers: ['constructor'] } } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          res.vary('__proto__').send('x');
        }),
    });
    const ask = (header: string) => made.raw(`GET /x HTTP/1.1\n${header}\nConnection: close`);
    for (const header of ['__proto__: evil', 'X-A: 1', '__proto__: other'])
      expect((await ask(header)).text).toBe('x');
    expect(made.runs()).toBe(1);
    expect((await ask('constructor: 1')).text).toBe('x');
    expect(made.runs()).toBe(2);
  });

  const ODD: [string, () => unknown][] = [
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
    [
      'throws nothing at all',
      () => {
        throw undefined;
      },
    ],
    ['answers undefined', () => undefined],
    ['answers null', () => null],
    ["answers ''", () => ''],
    ['answers NaN', () => Number.NaN],
    ['answers an object', () => ({ toString: () => 'same' })],
    ['answers a list', () => ['a', 'b']],
    ['answers a function', () => () => 'a'],
    ['answers a symbol', () => Symbol('a')],
    ['answers a promise', async () => 'a'],
    [
      'answers a promise that fails',
      async () => {
        throw new Error('late');
      },
    ],
    ['answers 10 MB', () => HUGE],
  ];

  /** Under a rule that holds such a function. */
  const under = (odd: object) =>
    cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1m', ...odd } } },
      routes: (app, { count }) => app.get('/x', (_req, res) => void res.send(`run ${count()}`)),
    });

  it.each(ODD)('B20 a partition that %s means that the cache is bypassed', async (_case, partition) => {
    const made = await under({ partition });
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
    expect(await made.get('/x')).toMatchObject({
      text: 'run 2',
      cacheStatus: 'hotpath; fwd=bypass; detail=no-partition',
    });
    expect(made.cache.stats().entries).toBe(0);
  });

  it.each(ODD)('B20 a `when` that %s means that the rule does not apply', async (_case, when) => {
    const made = await under({ when });
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
    expect((await made.get('/x')).text).toBe('run 2');
    expect(made.cache.stats().entries).toBe(0);
  });

  it.each<[string, () => unknown]>([
    ...ODD.filter(([name]) => name !== 'answers a list'),
    ["answers a list with ''", () => ['a', '']],
    ['answers a list with an object', () => ['a', {}]],
    ['answers a tag of 10 MB', () => [HUGE]],
    ['answers 100,000 tags', () => Array.from({ length: 100_000 }, (_, i) => `tag ${i}`)],
  ])(
    'B20 a response whose tags function %s is not stored, since it could not be purged',
    async (_case, tags) => {
      const made = await under({ tags });
      expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
      expect((await made.get('/x')).text).toBe('run 2');
      expect(made.cache.stats()).toMatchObject({ entries: 0, pending: 0 });
      expect(made.faults.map(({ where }) => where)).toEqual(['store', 'store']);
    },
  );

  it('B20 functions see the request as it came, at odd targets too', async () => {
    const seen: string[] = [];
    const made = await cacheApp({
      express,
      cache: {
        routes: {
          '{/*path}': {
            ttl: '1m',
            when({ url }) {
              seen.push(url.href);
              return true;
            },
          },
        },
      },
      routes: (app) => app.use((_req, res) => void res.send('x')),
    });
    for (const target of ['//evil.example/x', '/a//b', '/x?u=http://evil.example', '//']) {
      await made.raw(`GET ${target} HTTP/1.1\nHost: good.example\nConnection: close`);
      expect(seen.at(-1)).toBe(`http://good.example${target}`);
    }
    expect(made.faults).toEqual([]);
  });
});
