import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import type { CacheRule } from 'hotpath/cache';
import { cacheOf } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { joinParts, type KeyParts, RequestKeys, readCookies, variantKey } from '../../src/cache/key.js';
import { resolveCacheRule } from '../../src/config/cache.js';
import { normaliseQuery, parseNoVarySearch } from '../../src/http/no-vary-search.js';
import { cacheApp } from '../helpers/cache.js';
import { majors } from '../helpers/http.js';

// What separates, quotes and escapes anywhere, digits and `-` as our own joining uses them, and wide characters.
const ALPHABET = [
  '|',
  ':',
  ',',
  '&',
  '=',
  '?',
  '#',
  '$',
  '%',
  '\\',
  '\n',
  ' ',
  '{',
  '}',
  '-',
  '1',
  '2',
  '10',
  'a',
  'é',
  '€',
  '😀',
  '',
];
const text = fc.array(fc.constantFrom(...ALPHABET), { maxLength: 4 }).map((parts) => parts.join(''));
const maybe = fc.option(text, { nil: undefined });

const headers = fc.record({ x: maybe, y: maybe, cookie: maybe }).map((given) => {
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present) as Record<string, string>;
});
const tuples = fc.record({
  scope: fc.constantFrom('shared', 'route:1', 'route:10'),
  scheme: fc.constantFrom('http', 'https'),
  rawHost: text,
  host: text,
  path: text,
  query: fc.array(text, { maxLength: 3 }),
  rewritten: maybe,
  partition: maybe,
  headers,
});
type Tuple = typeof tuples extends fc.Arbitrary<infer T> ? T : never;

const rule = resolveCacheRule({ ttl: 60, vary: { headers: ['x', 'y'], cookies: ['a', '|'] } });
const requestWith = (given: Record<string, string>) => ({ headers: given }) as unknown as IncomingMessage;

function keyOf(tuple: Tuple): string {
  const { scope, scheme, rawHost, host, rewritten, partition } = tuple;
  const parts: KeyParts = {
    scope,
    origin: { scheme, rawHost, host },
    target: targetOf(tuple),
    rewritten,
    partition,
  };
  return new RequestKeys(parts, requestWith(tuple.headers), rule).exact;
}
const targetOf = ({ path, query }: Tuple) => `/${path}?${query.join('&')}`;
const trimmed = (value: string | undefined) => value?.trim().replace(/[ \t]*,[ \t]*/g, ',');

/** Of so many values: `expect`, which costs far more than the comparison, tells of those that differ. */
function expectSame(actual: unknown, expected: unknown): void {
  if (!Object.is(actual, expected)) expect(actual).toBe(expected);
}

/** What the tuple means, written so that nothing can run into anything else. */
function meaningOf(tuple: Tuple): string {
  const cookies = readCookies(tuple.headers.cookie);
  const { scope, scheme, rawHost, host, rewritten, partition } = tuple;
  const values = [trimmed(tuple.headers.x), trimmed(tuple.headers.y), cookies.get('a'), cookies.get('|')];
  const all = [scope, scheme, rawHost, host, targetOf(tuple), rewritten, partition, ...values];
  return JSON.stringify(all.map((part) => part ?? null));
}

describe('B06 the key', () => {
  it('B06 of 100,000 random tuples two have one key exactly when they are the same', () => {
    const byKey = new Map<string, string>();
    const byMeaning = new Map<string, string>();
    fc.assert(
      fc.property(tuples, (tuple) => {
        const key = keyOf(tuple);
        const meaning = meaningOf(tuple);
        expectSame(byKey.get(key) ?? meaning, meaning);
        expectSame(byMeaning.get(meaning) ?? key, key);
        byKey.set(key, meaning);
        byMeaning.set(meaning, key);
      }),
      { numRuns: 100_000, seed: 20_261 },
    );
    expect(byKey.size).toBe(byMeaning.size);
    expect(byKey.size).toBeGreaterThan(50_000);
  }, 300_000);

  it('B06 where one part ends and the next begins can be told, whatever they hold', () => {
    const parts = fc.array(maybe, { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(parts, fc.nat({ max: 4 }), fc.nat({ max: 4 }), (one, at, length) => {
        // The same characters in the same order, cut elsewhere: what a joining that is not injective mixes up.
        const other = [...one];
        const [left = '', right = ''] = [one[at], one[at + 1]];
        const cut = Math.max(0, left.length - length);
        other[at] = left.slice(0, cut);
        other[at + 1] = left.slice(cut) + right;
        expectSame(joinParts(one) === joinParts(other), JSON.stringify(one) === JSON.stringify(other));
      }),
      { numRuns: 50_000, seed: 7 },
    );
  });

  it('B06 two requests share a key for equivalent queries exactly when they differ in these alone, and no other key', () => {
    const noteOf = (generation: number, field: string) =>
      ({ kind: 'variance', generation, variance: parseNoVarySearch(field)! }) as const;
    const notes = [noteOf(1, 'params=("a" "1")'), noteOf(2, 'key-order'), noteOf(10, 'params=("a" "1")')];
    const pair = fc.constantFrom('a=1', 'a=2', 'b=1', '1=a', 'b', '', '1:/', '-:', 'a&b=1');
    const request = fc.record({
      scope: fc.constantFrom('shared', 'route:1'),
      path: fc.constantFrom('/', '/x', '/1:', '/x/-:', '/path:/x'),
      query: fc.option(
        fc.array(pair, { maxLength: 3 }).map((pairs) => pairs.join('&')),
        { nil: undefined },
      ),
      rewritten: fc.constantFrom(undefined, '/r', '/r?a=1', '/x', '1:/x?'),
      note: fc.constantFrom(...notes),
    });
    const seen = new Map<string, string>();
    const learn = (key: string, meaning: string) => {
      expectSame(seen.get(key) ?? meaning, meaning);
      seen.set(key, meaning);
    };
    const origin = { scheme: 'http', rawHost: 'h', host: 'h' };
    fc.assert(
      fc.property(request, ({ scope, path, query, rewritten, note }) => {
        const target = query === undefined ? path : `${path}?${query}`;
        const keys = new RequestKeys(
          { scope, origin, target, rewritten, partition: undefined },
          requestWith({}),
          rule,
        );
        const [madePath, madeQuery] = rewritten?.split('?') ?? [];
        const made = madeQuery === query ? madePath : rewritten;
        const { generation, variance } = note;
        learn(keys.exact, JSON.stringify(['exact', scope, target, rewritten]));
        learn(keys.path, JSON.stringify(['path', scope, path, madePath]));
        learn(
          keys.under(note),
          JSON.stringify(['under', scope, path, normaliseQuery(query, variance), generation, made]),
        );
      }),
      { numRuns: 20_000, seed: 9530 },
    );
    expect(new Set(seen.values()).size).toBe(seen.size);
    expect(seen.size).toBeGreaterThan(1_000);
  });

  it('B06 a variant has the key of its values: same names and values, same key, and never that of another', () => {
    const names = fc.uniqueArray(fc.constantFrom('x', 'y', 'cookie', 'x-y'), { maxLength: 3 });
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(text, names, headers, (primary, listed, given) => {
        const sorted = [...listed].sort();
        // The primary key is length-prefixed itself, so it can't be the beginning of another with names.
        const key = variantKey(joinParts([primary]), sorted, requestWith(given));
        const meaning = JSON.stringify([primary, sorted.map((name) => [name, trimmed(given[name]) ?? null])]);
        expectSame(seen.get(key) ?? meaning, meaning);
        seen.set(key, meaning);
      }),
      { numRuns: 30_000, seed: 11 },
    );
    expect(seen.size).toBeGreaterThan(10_000);
  });
});

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
  ]; // prettier-ignore

  it.each(ODD)('B20 a partition that %s means that the cache is bypassed', async (_case, partition) => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1m', partition: partition as never } } },
      routes: (app, { count }) => app.get('/x', (_req, res) => void res.send(`run ${count()}`)),
    });
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 1' });
    expect(await made.get('/x')).toMatchObject({
      text: 'run 2',
      cacheStatus: 'hotpath; fwd=bypass; detail=no-partition',
    });
    expect(made.cache.stats().entries).toBe(0);
  });

  it.each(ODD)('B20 a `when` that %s means that the rule does not apply', async (_case, when) => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: '1m', when: when as never } } },
      routes: (app, { count }) => app.get('/x', (_req, res) => void res.send(`run ${count()}`)),
    });
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
      const made = await cacheApp({
        express,
        cache: { routes: { '/x': { ttl: '1m', tags: tags as never } } },
        routes: (app, { count }) => app.get('/x', (_req, res) => void res.send(`run ${count()}`)),
      });
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
