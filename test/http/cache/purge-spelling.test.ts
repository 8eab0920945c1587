import type { Express } from 'express';
import fc from 'fast-check';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { express5, majors } from '../../helpers/http.js';

const ALL = { '/*path': { ttl: 3600 } } as const;

describe.each(majors)('purging by URL (%s)', (_name, express) => {
  /** Every path sends the number of the run, and is storable without a rule. */
  const shop = (cache: StandaloneCacheOptions = { routes: ALL }, configure?: (app: Express) => void) =>
    cacheApp({
      express,
      cache,
      before: configure,
      routes: (app, { count }) =>
        app.use((_req, res) => void res.set('Cache-Control', 'public, max-age=3600').send(`run ${count()}`)),
    });
  const runOf = async (made: CacheApp, path: string, headers?: Record<string, string>) =>
    Number((await made.get(path, headers)).text.slice('run '.length));
  const isStored = async (made: CacheApp, path: string) => {
    const before = made.runs();
    await made.get(path);
    return made.runs() === before;
  };

  it.each([
    ['/wiki/Z%C3%BCrich', '/wiki/Zürich'],
    ['/wiki/%c3%a9', '/wiki/%C3%A9'],
    ['/wiki/%C3%A9', '/wiki/%c3%a9'],
    ['/wiki/New%20York', '/wiki/New York'],
    ['/wiki/C%23', '/wiki/C#'],
    ['/wiki/C', '/wiki/C#history'],
    ['/wiki/100%25', '/wiki/100%'],
    ['/users/@me', '/users/%40me'],
    ['/users/%40me', '/users/@me'],
    ['/%61%2d%7E', '/a-~'],
    ['/a"b{}', '/a%22b%7B%7D'],
    ['/%F0%9F%98%80', '/😀'],
    ['/x', '/x/'],
    ['/x/', '/x'],
    ['/x', '/X'],
    ['/X', '/x'],
    ['/x?', '/x'],
    ['/x', '/x?'],
    ['//x', '//x'],
    ['/s?q=a+b', '/s?q=a%20b'],
    ['/s?q=a%20b', '/s?q=a b'],
    ['/s?q=%C3%BC', '/s?q=ü'],
    ['/s?ids=1,2', '/s?ids=1%2C2'],
    ['/s?f[a]=1', '/s?f%5Ba%5D=1'],
    ['/%C0%AF', '/%c0%af'],
    ['/a/../b', '/a/../b'],
    [`/${'long'.repeat(60)}/%C3%BC`, `/${'long'.repeat(60)}/ü`],
  ])('purges the response to %s by %s [B08, B09]', async (target, purged) => {
    const made = await shop();
    for (const kind of ['purge', 'expire'] as const) {
      const run = await runOf(made, target);
      expect(await isStored(made, target)).toBe(true);
      await made.cache[kind]({ url: purged });
      expect(await runOf(made, target)).toBe(run + 1);
    }
    expect((await made.cache.purge({ url: purged }, { erase: true })).erased).toBe(1);
    expect(made.faults).toEqual([]);
  });

  it.each([
    ['/a', '/b'],
    ['/a', '/a/b'],
    ['/a%2Fb', '/a/b'],
    ['/a%3Fb', '/a?b'],
    ['/%C0', '/%C1'],
    ['/e%CC%81', '/%C3%A9'],
    ['/s?q=a', '/s'],
    ['/s', '/s?q=a'],
    ['/s?q=a', '/s?q=A'],
    ['/s?q=a%2Bb', '/s?q=a+b'],
    ['/s?a=1%26b', '/s?a=1&b'],
    ['/s?a=1&b=2', '/s?b=2&a=1'],
  ])('keeps the response to %s when %s is purged [B08]', async (target, purged) => {
    const made = await shop();
    await made.get(target);
    await made.cache.purge({ url: purged });
    await made.cache.expire({ url: purged });
    expect(await isStored(made, target)).toBe(true);
  });

  it('purges random URLs by any spelling, and by no other URL [B08, B09]', async () => {
    const made = await shop();
    const letter = fc.constantFrom('a', 'B', '7', '~', 'ü', '日', '😀', '@', ',', ' ', '%', '/', '"', "'");
    const segments = fc.array(fc.string({ unit: letter, minLength: 1, maxLength: 4 }), { maxLength: 3 });
    const path = (parts: readonly string[], spell: (part: string) => string) =>
      `/${parts.map(spell).join('/')}`;
    const spelled: ((part: string) => string)[] = [
      encodeURIComponent,
      (part) => encodeURIComponent(part).toLowerCase(),
      (part) => encodeURIComponent(part).replaceAll('%40', '@').replaceAll('%2C', ',').replaceAll('%22', '"'),
      (part) => part.replace(/[%/]/g, encodeURIComponent),
      (part) => Array.from(Buffer.from(part), (byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
    ];
    const sentSpelling = fc.constantFrom(...spelled.slice(0, 3), spelled[4]!);
    let prefix = 0;
    await fc.assert(
      fc.asyncProperty(
        segments,
        segments,
        sentSpelling,
        fc.constantFrom(...spelled),
        async (own, strange, one, other) => {
          const base = `/p${prefix++}`;
          const stored = base + path(own, one);
          const run = await runOf(made, stored);
          const isOther = strange.join('/').toLowerCase() !== own.join('/').toLowerCase();
          if (isOther && strange.join('') !== own.join('')) {
            await made.cache.purge({ url: base + path(strange, other) });
            expect(await runOf(made, stored)).toBe(run);
          }
          await made.cache.purge({ url: base + path(own, other) });
          expect(await runOf(made, stored)).toBe(run + 1);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('purges a full URL on its host only, in any spelling of the host', async () => {
    const made = await shop();
    const [here, there] = [{ Host: 'Shop.example' }, { Host: 'other.example:8080' }];
    const read = async () => [await runOf(made, '/x', here), await runOf(made, '/x', there)];
    expect([await read(), await read()]).toEqual([
      [1, 2],
      [1, 2],
    ]);
    await made.cache.purge({ url: 'https://shop.example:443/x' });
    expect(await read()).toEqual([3, 2]);
    await made.cache.expire({ url: 'HTTP://OTHER.example:8080/X/' });
    expect(await read()).toEqual([3, 4]);
    await made.cache.purge({ url: 'http://shop.example.:80/x' });
    expect(await read()).toEqual([5, 4]);
    await made.cache.purge({ url: 'http://other.example/x' });
    await made.cache.purge({ url: 'http://elsewhere.example/x' });
    expect(await read()).toEqual([5, 4]);
    expect((await made.cache.purge({ url: 'http://shop.example/x' }, { erase: true })).erased).toBe(1);
    await made.cache.purge({ url: '/x' });
    expect(await read()).toEqual([6, 7]);
  });

  it('compares the host that the app sees behind a trusted proxy [B02]', async () => {
    const made = await shop({ routes: ALL }, (app) => void app.set('trust proxy', true));
    const forwarded = { Host: 'inside:3000', 'X-Forwarded-Host': 'shop.example, inner.example' };
    await made.get('/x', forwarded);
    await made.cache.purge({ url: 'http://inside:3000/x' });
    expect(await runOf(made, '/x', forwarded)).toBe(1);
    await made.cache.purge({ url: 'https://shop.example/x' });
    expect(await runOf(made, '/x', forwarded)).toBe(2);
  });

  it('purges a response to equivalent queries by any spelling of any of them', async () => {
    const made = await cacheApp({
      express,
      routes: (app, { count }) =>
        app.use((_req, res) => {
          res.set({ 'Cache-Control': 'public, max-age=3600', 'No-Vary-Search': 'params=("utm")' });
          res.send(`run ${count()}`);
        }),
    });
    const [stored, other] = ['/Z%C3%BCrich?a=1&utm=1', '/Z%C3%BCrich?a=1&utm=2'];
    const host = `127.0.0.1:${made.port}`;
    for (const url of ['/zürich/?a=1&utm=2', `http://${host}/zürich?a=%31&utm=2`]) {
      const run = await runOf(made, stored);
      expect(await runOf(made, other)).toBe(run);
      await made.cache.purge({ url: 'http://other.example/zürich?a=1&utm=2' }, { erase: true });
      expect(await runOf(made, other)).toBe(run);
      await made.cache.purge({ url });
      expect(await runOf(made, other)).toBe(run + 1);
      await made.cache.purge({ all: true });
      await made.get(stored);
      expect((await made.cache.purge({ url }, { erase: true })).erased).toBe(1);
    }
  });

  it('purges the URL that explain() was given', async () => {
    const made = await shop();
    const url = `${made.url.replace('localhost', '127.0.0.1')}/wiki/Z%C3%BCrich?a=1`;
    const path = '/wiki/Z%C3%BCrich?a=1';
    const headers = { Host: new URL(url).host };
    await made.get(path, headers);
    expect(made.cache.explain({ url }).result).toBe('HIT');
    await made.cache.purge({ url });
    expect(made.cache.explain({ url }).result).toBe('MISS');
    expect(await runOf(made, path, headers)).toBe(2);
  });

  it.each([
    'h.example',
    'H.example:80',
    'h.example.:8080',
    '[0:0::1]:3000',
    'münchen.example',
    'user@h.example',
    'h,i',
    'no host',
    '',
    'h.example:99999',
    'h.example/x',
    'h?x',
    'h#x',
    'h\\x',
  ])('purges the URL that explain() shows for host "%s"', async (host) => {
    const made = await shop();
    const sent = Buffer.from(host).toString('latin1');
    for (const target of ['/', '//x/./%2e', '/x?a=1#b', '/%zz;a?q=%20+']) {
      const ask = async () =>
        (await made.raw(`GET ${target} HTTP/1.1\nHost: ${host}\nConnection: close`)).text;
      const first = await ask();
      if ((await ask()) !== first) continue; // a target that is not stored
      const { url = '' } = made.cache.explain({ url: target, headers: { host: sent } }).key ?? {};
      await made.cache.purge({ url });
      expect(await ask()).not.toBe(first);
      expect((await made.cache.purge({ url }, { erase: true })).erased).toBe(1);
    }
    expect(made.faults).toEqual([]);
  });

  it.each([
    ['/wiki/Zürich', '/wiki/Z%C3%BCrich', true],
    ['/wiki/%c3%a9/:part', '/wiki/%C3%A9/1', true],
    ['/New York/:part', '/New%20York/1', true],
    ['/@:name', '/%40me', true],
    ['/%40:name', '/@me', true],
    ['/C#/:part', '/C%23/1', true],
    ['/wiki/:page', '/wiki/a%2Fb', true],
    ['/wiki/:page', '/WIKI/x/?q=1', true],
    ['/wiki/:page/', '/wiki/x', true],
    ['/wiki/:page', '/wiki/%C0', true],
    ['/wiki/:page', '/wiki/%zz', true],
    ['/wiki{/:page}', '/wiki', true],
    ['/wiki/*pages', '/wiki/a//b', true],
    ['/wiki/*pages', '/wiki//', true],
    ['/*path', '//', true],
    ['/wiki/*pages', '/wiki/', false],
    ['/other/:page', '/wiki/%C0', false],
    ['/wiki/a/b', '/wiki/a%2Fb', false],
    ['/wiki/:page', '/wiki/a/b', false],
  ])('matches pattern %s with %s: %s [B08]', async (pattern, target, isMatch) => {
    const made = await shop();
    await made.get(target);
    expect(await isStored(made, target)).toBe(true);
    await made.cache.purge({ pattern });
    expect(await isStored(made, target)).toBe(!isMatch);
  });

  describe('under rules that leave parameters out', () => {
    const routes: StandaloneCacheOptions['routes'] = {
      '/p/:id': { ttl: 3600, ignoreQuery: ['utm_*'] },
      '/q/:id': { ttl: 3600, vary: { query: ['page'] } },
      '/caf%C3%A9/:id': { ttl: 3600, ignoreQuery: ['utm_*'] },
      '/plain/:id': { ttl: 3600 },
    };

    it.each([
      ['/p/1?utm_a=1', '/p/1?utm_a=1', true],
      ['/p/1?utm_a=1', '/p/1', true],
      ['/p/1', '/p/1?utm_b=2', true],
      ['/p/1?a=1&utm_a=1', '/P/1/?utm_x&a=1', true],
      ['/p/1?a=1', '/p/1?utm_a=1', false],
      ['/q/2?notify=1', '/q/2?notify=1', true],
      ['/q/2?page=2&notify=1', '/q/2?notify=2&page=2', true],
      ['/q/2?page=2', '/q/2?notify=2', false],
      ['/caf%C3%A9/1?utm_a=1', '/café/1?utm_b=2', true],
      ['/plain/1', '/plain/1?utm_a=1', false],
    ])('purges the response to %s by %s: %s [A16]', async (target, purged, isMatch) => {
      const made = await shop({ routes });
      const unstored = async (purge: () => Promise<unknown>) => {
        await made.get(target);
        expect(await isStored(made, target)).toBe(true);
        await purge();
        return !(await isStored(made, target));
      };
      expect(await unstored(() => made.cache.purge({ url: purged }))).toBe(isMatch);
      expect(await unstored(() => made.cache.expire({ url: purged }))).toBe(isMatch);
      expect(await unstored(() => made.cache.purge({ url: `http://127.0.0.1:${made.port}${purged}` }))).toBe(
        isMatch,
      );
      const sent = encodeURI(purged);
      expect(await unstored(() => made.get(sent, {}, { method: 'POST' }))).toBe(isMatch);
      expect(made.faults).toEqual([]);
    });

    it.each([
      ['/v1/1?utm_a=1', { '/v2/:id': { ttl: 3600, ignoreQuery: ['utm_*'] } }, true],
      ['/v1/1?utm_a=1', { '/v2/:id': { ttl: 3600, vary: { query: ['page'] } } }, true],
      // For `purge()`, the route of the URL as it was sent counts.
      ['/v1/1?utm_a=1', { '/v2/:id': { ttl: 3600, ignoreQuery: ['utm_*'] }, '/*path': { ttl: 1 } }, false],
    ] as const)(
      'purges %s where a middleware before the cache rewrites it, table %# [A16]',
      async (url, table, whole) => {
        const made = await shop({ routes: table }, (app) =>
          app.use((req, _res, next) => {
            req.url = req.url.replace('/v1/', '/v2/');
            next();
          }),
        );
        await made.get(url);
        expect(await isStored(made, '/v1/1?utm_b=2')).toBe(true);
        await made.get('/v1/1?utm_c=3', {}, { method: 'POST' });
        expect(await isStored(made, url)).toBe(false);
        await made.cache.purge({ url });
        expect(await isStored(made, url)).toBe(!whole);
        await made.get(url);
        await made.cache.purge({ url: '/v1/1' });
        expect(await isStored(made, url)).toBe(false);
      },
    );

    it('purges a path of slashes alone, which a wildcard takes [A16]', async () => {
      const rule = { ttl: 3600, ignoreQuery: ['utm_*'] };
      const made = await shop({ routes: { '/x/*rest': rule, '/*path': { ttl: 3600 } } });
      await made.get('/x//?utm_a=1');
      expect(await isStored(made, '/x//?utm_b=1')).toBe(true);
      await made.get('/x//?utm_c=1', {}, { method: 'POST' });
      expect(await isStored(made, '/x//?utm_a=1')).toBe(false);
    });

    it('purges by the URL as sent when the rule is in cache.route() [A16]', async () => {
      const made = await cacheApp({
        express,
        cache: {},
        routes: (app, { cache, count }) => {
          const rule = { ttl: 3600, ignoreQuery: ['notify'] };
          app.all('/items/:id', cache.route(rule), (_req, res) => void res.send(`run ${count()}`));
        },
      });
      expect(await runOf(made, '/items/1?notify=1')).toBe(1);
      expect(await runOf(made, '/items/1?notify=2')).toBe(1);
      await made.cache.purge({ url: '/items/1?notify=3' });
      expect(await runOf(made, '/items/1?notify=2')).toBe(2);
      await made.get('/items/1?notify=1', {}, { method: 'POST' });
      expect(await runOf(made, '/items/1?notify=2')).toBe(4);
    });
  });

  it('counts one purge for a URL with several names', async () => {
    const made = await shop({ routes: { '/*path': { ttl: 60, ignoreQuery: ['a'] } } });
    await made.cache.purge({ url: '/C#?a=1' });
    expect(made.cache.stats().purges).toBe(1);
  });
});

describe('the URL that a function of the app sees', () => {
  it('has the first of several forwarded hosts, as in Express [B02]', async () => {
    const seen: string[] = [];
    const made = await cacheApp({
      express: express5,
      before: (app) => void app.set('trust proxy', true),
      routes: (app, { cache }) => {
        const purge = cache.purgeAfter(({ url }) => {
          seen.push(url.href);
          return [];
        });
        app.use(purge, (req, res) => void res.send(req.host));
      },
    });
    const headers = { 'X-Forwarded-Host': 'shop.example, inside', 'X-Forwarded-Proto': 'https' };
    expect((await made.get('/a', headers)).text).toBe('shop.example');
    expect(seen).toEqual(['https://shop.example/a']);
  });

  it.each([
    ['/a?b=1', 'shop.example', 'http://shop.example/a?b=1'],
    ['//a', 'shop.example', 'http://shop.example//a'],
    ['http://evil.example/a?b', 'shop.example', 'http://shop.example/a?b'],
    ['HTTP://evil.example', 'shop.example', 'http://shop.example/'],
    ['*', 'shop.example', 'http://shop.example/'],
    ['/a', 'shop.example/other?x', 'http://shop.example/a'],
    ['/a', 'shop.example?', 'http://shop.example/a'],
    ['/a', 'user@shop.example#', 'http://shop.example/a'],
    ['/a', 'no host', 'http://localhost/a'],
    ['/a', '', 'http://localhost/a'],
  ])('combines target %s and host %s to %s [A16, B10]', async (target, host, expected) => {
    const seen: string[] = [];
    const made = await cacheApp({
      express: express5,
      routes: (app, { cache }) => {
        const purge = cache.purgeAfter(({ url }) => {
          seen.push(url.href);
          return [];
        });
        app.use(purge, (_req, res) => void res.send('ok'));
      },
    });
    await made.raw(`POST ${target} HTTP/1.1\nHost: ${host}\nContent-Length: 0\nConnection: close`);
    expect(seen).toEqual([expected]);
    expect(made.faults).toEqual([]);
  });
});
