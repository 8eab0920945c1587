import type { CacheRule } from 'hotpath/cache';
import { cacheOf } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const PROTOTYPE = ['__proto__', 'constructor', 'hasOwnProperty', 'toString', 'valueOf', 'prototype'];
const HUGE = 'x'.repeat(10 * 1024 ** 2);

describe.each(majors)('names and functions of the user (%s)', (_name, express) => {
  it.each(PROTOTYPE)(
    'treats %s like any other path, parameter, tag, partition, header and cookie [B16]',
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
      // Entries with other tags are unchanged, and so is `Object.prototype`.
      expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('1');
      expect(made.faults).toEqual([]);
    },
  );

  it('ignores a request header named __proto__ [B16]', async () => {
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
      'throws undefined',
      () => {
        throw undefined;
      },
    ],
    ['returns undefined', () => undefined],
    ['returns null', () => null],
    ["returns ''", () => ''],
    ['returns NaN', () => Number.NaN],
    ['returns an object', () => ({ toString: () => 'same' })],
    ['returns a list', () => ['a', 'b']],
    ['returns a function', () => () => 'a'],
    ['returns a symbol', () => Symbol('a')],
    ['returns a promise', async () => 'a'],
    [
      'returns a promise that rejects',
      async () => {
        throw new Error('late');
      },
    ],
    ['returns 10 MB', () => HUGE],
  ];

  /** An app with a rule that contains such a function. */
  const under = (odd: object) =>
    cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1m', ...odd } } },
      routes: (app, { count }) => app.get('/x', (_req, res) => void res.send(`run ${count()}`)),
    });

  it.each(ODD)('bypasses the cache for a partition that %s [B20]', async (_case, partition) => {
    const made = await under({ partition });
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
    expect(await made.get('/x')).toMatchObject({
      text: 'run 2',
      cacheStatus: 'hotpath; fwd=bypass; detail=no-partition',
    });
    expect(new Set(made.faults.map(({ where }) => where))).toEqual(
      new Set(made.faults.length > 0 ? ['partition of routes["/x"].cache'] : []),
    );
    expect(made.cache.stats().entries).toBe(0);
  });

  it.each(ODD)('does not apply the rule for a `when` that %s [B20]', async (_case, when) => {
    const made = await under({ when });
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
    expect((await made.get('/x')).text).toBe('run 2');
    expect(made.cache.stats().entries).toBe(0);
  });

  it.each<[string, () => unknown]>([
    ...ODD.filter(([name]) => name !== 'returns a list'),
    ["returns a list with ''", () => ['a', '']],
    ['returns a list with an object', () => ['a', {}]],
    ['returns a tag of 10 MB', () => [HUGE]],
    ['returns 100,000 tags', () => Array.from({ length: 100_000 }, (_, i) => `tag ${i}`)],
  ])(
    'does not store a response whose tags function %s, as no purge could reach it [B20]',
    async (_case, tags) => {
      const made = await under({ tags });
      expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
      expect((await made.get('/x')).text).toBe('run 2');
      expect(made.cache.stats()).toMatchObject({ entries: 0, pending: 0 });
      const where = 'tags of routes["/x"].cache';
      expect(made.faults.map((fault) => fault.where)).toEqual([where, where]);
    },
  );

  it('calls functions with the original request, for odd targets too [B20]', async () => {
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
