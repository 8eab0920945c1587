import { setTimeout as delay } from 'node:timers/promises';
import type { Express, Request, Response } from 'express';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import onHeaders from 'on-headers';
import { describe, expect, it } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';
import { times } from '../../helpers/times.js';

const UTM = 'params=("utm")';
const FRESH = 'public, max-age=3600';
const PROFILES: [string, StandaloneCacheOptions][] = [
  ['safe', {}],
  ['rfc9111', { profile: 'rfc9111' }],
];

describe.each(majors)('No-Vary-Search (%s)', (_name, express) => {
  /** Pages with the field that `field` returns for their URL; their body names the run and its URL. */
  const shop = (
    field: string | ((req: Request) => string | undefined),
    cache: StandaloneCacheOptions = {},
    more: { before?: (app: Express) => void; handler?: (req: Request, res: Response) => unknown } = {},
  ) =>
    cacheApp({
      express,
      cache,
      before: more.before,
      routes: (app, { count }) =>
        app.use(async (req: Request, res: Response) => {
          const run = count();
          await more.handler?.(req, res);
          const variance = typeof field === 'string' ? field : field(req);
          if (variance) res.set('No-Vary-Search', variance);
          if (!res.hasHeader('Cache-Control')) res.set('Cache-Control', FRESH);
          res.end(`run ${run}: ${req.originalUrl}`);
        }),
    });
  const texts = async (made: CacheApp, ...paths: string[]) => {
    const found: string[] = [];
    for (const path of paths) found.push((await made.get(path)).text);
    return found;
  };

  describe.each(PROFILES)('profile %s', (_profile, cache) => {
    it.each([
      [UTM, ['/x?a=1&utm=2', '/x?a=1', '/x?utm=9&a=1', '/x?a=1&utm', '/x?utm=1&a=%31']],
      ['params, except=("q")', ['/x?q=a+b', '/x?q=a%20b&x=1', '/x?y&q=a+b', '/x?&q=a+b']],
      ['key-order', ['/x?a=1&b=2', '/x?b=2&a=1', '/x?b=2&&a=1']],
      ['params', ['/x', '/x?a', '/x?a=1&b=2']],
    ])('serves all queries that are equivalent under %s from one run, in any order', async (field, paths) => {
      for (const first of paths) {
        const made = await shop(field, cache);
        const others = paths.filter((path) => path !== first);
        const answers = await texts(made, first, ...others, first);
        expect(new Set(answers)).toEqual(new Set([`run 1: ${first}`]));
        expect((await made.get(first)).xCache).toBe('HIT');
      }
    });

    it.each([
      [UTM, ['/x?a=1&utm=2', '/x?a=2&utm=2', '/x?b=1', '/x', '/y?a=1&utm=2', '/x?a=1&a=1', '/x?a=1&UTM=1']],
      ['params, except=("q")', ['/x?q=1', '/x?q=2', '/x?q=1&q=2', '/x?q=2&q=1', '/x']],
      ['key-order', ['/x?a=1&b=2', '/x?a=2&b=1', '/x?a=1&a=2', '/x?a=2&a=1']],
    ])('keeps queries apart that are not equivalent under %s [B06]', async (field, paths) => {
      const made = await shop(field, cache);
      expect(await texts(made, ...paths)).toEqual(paths.map((path, i) => `run ${i + 1}: ${path}`));
      expect(await texts(made, ...paths)).toEqual(paths.map((path, i) => `run ${i + 1}: ${path}`));
    });
  });

  it.each(['params=(utm)', 'params=("utm"', 'except=("q")', 'params=1', ''])(
    'ignores a field with invalid syntax: %s',
    async (field) => {
      const made = await shop(field);
      expect(await texts(made, '/x?utm=1', '/x?utm=2')).toEqual(['run 1: /x?utm=1', 'run 2: /x?utm=2']);
    },
  );

  it('applies the field to one host and one partition only [B01]', async () => {
    const made = await shop(UTM);
    const ask = async (host: string, path: string) =>
      String((await made.raw(`GET ${path} HTTP/1.1\nHost: ${host}\nConnection: close\n`)).body);
    expect(await ask('one.example', '/x?utm=1')).toBe('run 1: /x?utm=1');
    expect(await ask('two.example', '/x?utm=2')).toBe('run 2: /x?utm=2');
    expect(await ask('one.example', '/x?utm=3')).toBe('run 1: /x?utm=1');

    const partition = ({ req }: { req: { headers: NodeJS.Dict<string | string[]> } }) =>
      String(req.headers.user);
    const private_ = await shop(UTM, { routes: { '/*path': { ttl: '1h', partition } } });
    const read = async (user: string, path: string) => (await private_.get(path, { user })).text;
    expect(await read('ann', '/x?utm=1')).toBe('run 1: /x?utm=1');
    expect(await read('bob', '/x?utm=1')).toBe('run 2: /x?utm=1');
    expect(await read('ann', '/x?utm=2')).toBe('run 1: /x?utm=1');
    expect(await read('bob', '/x?utm=2')).toBe('run 2: /x?utm=1');
  });

  it('keeps variants by request headers apart under all equivalent queries', async () => {
    const made = await shop(UTM, {}, { handler: (_req, res) => res.vary('X-Tone') });
    const ask = async (tone: string, path: string) => (await made.get(path, { 'X-Tone': tone })).text;
    expect(await ask('red', '/x?utm=1')).toBe('run 1: /x?utm=1');
    expect(await ask('blue', '/x?utm=2')).toBe('run 2: /x?utm=2');
    expect(await ask('red', '/x?utm=3')).toBe('run 1: /x?utm=1');
    expect(await ask('blue', '/x')).toBe('run 2: /x?utm=2');
  });

  it("prefers the rule's query options over the field", async () => {
    const made = await shop(UTM, { routes: { '/*path': { ttl: '1h', ignoreQuery: ['ref'] } } });
    expect(await texts(made, '/x?ref=1&utm=1&a=1', '/x?a=1&ref=2', '/x?a=2&ref=1')).toEqual([
      'run 1: /x?utm=1&a=1',
      'run 1: /x?utm=1&a=1',
      'run 2: /x?a=2',
    ]);
    const named = await shop('params', { routes: { '/*path': { ttl: '1h', vary: { query: ['a'] } } } });
    expect(await texts(named, '/x?a=1&b=1', '/x?a=2&b=2')).toEqual(['run 1: /x?a=1', 'run 1: /x?a=1']);
  });

  it('does not apply the field to a query that an earlier middleware changed [B06]', async () => {
    const made = await shop(
      'params, except=("a")',
      {},
      {
        before: (app) =>
          app.use((req, _res, next) => {
            if (req.headers.lang) req.url += `&lang=${req.headers.lang}`;
            next();
          }),
      },
    );
    const ask = async (lang: string, path: string) => (await made.get(path, { lang })).text;
    expect(await ask('de', '/x?a=1')).toMatch(/^run 1:/);
    expect(await ask('en', '/x?a=1')).toMatch(/^run 2:/);
    expect(await ask('de', '/x?a=1')).toMatch(/^run 1:/);
    expect(await ask('en', '/x?a=1')).toMatch(/^run 2:/);
  });

  it('replaces the field of a path by a newer one, and serves nothing stored under the old', async () => {
    let field = UTM;
    const made = await shop(() => field);
    expect(await texts(made, '/x?a=1&utm=1', '/x?a=1&utm=2')).toEqual([
      'run 1: /x?a=1&utm=1',
      'run 1: /x?a=1&utm=1',
    ]);
    // Under the first field, `a=1` covers all that differ in `utm`; under this one it covers others.
    field = 'params, except=("a")';
    expect(await texts(made, '/x?b=2', '/x?a=1&b=3')).toEqual(['run 2: /x?b=2', 'run 3: /x?a=1&b=3']);
    // Also when the first field returns: responses stored then are older than those served since.
    field = UTM;
    expect(await texts(made, '/x?a=3', '/x?a=1&utm=2')).toEqual(['run 4: /x?a=3', 'run 5: /x?a=1&utm=2']);
  });

  it('serves a response without the field for its own URL only, in place of older ones', async () => {
    const made = await shop((req) => (req.query.plain === undefined ? 'params=("utm" "plain")' : undefined));
    expect(await texts(made, '/x?utm=1', '/x?b&plain', '/x?b&plain')).toEqual([
      'run 1: /x?utm=1',
      'run 2: /x?b&plain',
      'run 2: /x?b&plain',
    ]);
    // Other responses of the path remain.
    expect((await made.get('/x?utm=2')).text).toBe('run 1: /x?utm=1');
    // It is older than this response, which covers its URL too, and does not return when this one is gone.
    expect(await texts(made, '/x?b', '/x?b&plain')).toEqual(['run 3: /x?b', 'run 3: /x?b']);
    await made.cache.purge({ url: '/x?b' }, { erase: true });
    expect((await made.get('/x?b&plain')).text).toBe('run 4: /x?b&plain');
    expect((await made.get('/x?b')).text).toBe('run 5: /x?b');
  });

  it('finds a new response without the field, not the stale shared one', async () => {
    let field: string | undefined = UTM;
    const made = await shop(() => field);
    await made.get('/x?utm=1');
    await made.cache.expire({ all: true });
    field = undefined;
    expect(await texts(made, '/x?utm=1', '/x?utm=1', '/x?utm=2')).toEqual([
      'run 2: /x?utm=1',
      'run 2: /x?utm=1',
      'run 3: /x?utm=2',
    ]);
  });

  it('does not store a response whose field changes while its head is written', async () => {
    const made = await shop(
      UTM,
      {},
      {
        before: (app) =>
          app.use((_req, res, next) => {
            onHeaders(res, () => res.removeHeader('No-Vary-Search'));
            next();
          }),
      },
    );
    expect(await texts(made, '/x?utm=1', '/x?utm=1')).toEqual(['run 1: /x?utm=1', 'run 2: /x?utm=1']);
  });

  describe('purging', () => {
    it('purges the URL of an entry for all equivalent queries', async () => {
      const made = await shop(UTM);
      await texts(made, '/x?utm=1', '/x?utm=2');
      await made.cache.purge({ url: '/x?utm=1' });
      expect(await texts(made, '/x?utm=2', '/x', '/x?utm=1')).toEqual(Array(3).fill('run 2: /x?utm=2'));
    });

    it('does not serve an older equivalent response for a purged URL', async () => {
      const made = await shop(UTM);
      await made.get('/x?utm=1');
      await made.cache.purge({ url: '/x?utm=2' });
      // A use by its own URL; then its stamp is that of the purge.
      expect((await made.get('/x?utm=1')).text).toBe('run 1: /x?utm=1');
      expect((await made.get('/x?utm=2')).text).toBe('run 2: /x?utm=2');
    });

    it('makes a response stale when an equivalent URL expires', async () => {
      const made = await shop(UTM);
      await made.get('/x?utm=1');
      await made.cache.expire({ url: '/x?utm=2' });
      expect(await texts(made, '/x?utm=1', '/x?utm=2')).toEqual(['run 1: /x?utm=1', 'run 2: /x?utm=2']);
      expect((await made.get('/x?utm=1')).text).toBe('run 2: /x?utm=2');
    });

    it('invalidates equivalent responses for the URL of a write [A16]', async () => {
      const made = await shop(UTM);
      await made.get('/x?utm=1');
      await made.get('/x?utm=2', {}, { method: 'POST' });
      expect((await made.get('/x?utm=2')).text).toBe('run 3: /x?utm=2');
    });

    it.each([[{ pattern: '/x' }], [{ all: true }]] as const)('purges by %j', async (selector) => {
      const made = await shop(UTM);
      await made.get('/x?utm=1');
      await made.cache.purge(selector);
      expect((await made.get('/x?utm=2')).text).toBe('run 2: /x?utm=2');
    });

    it('erases the bytes of the response that covers the URL', async () => {
      const made = await shop(UTM);
      await texts(made, '/x?a=1&utm=1', '/x?a=2');
      expect((await made.cache.purge({ url: '/x?a=1&utm=7' }, { erase: true })).erased).toBe(1);
    });

    it('excludes requests after a purge from an older fill of an equivalent URL [H07]', async () => {
      let release = () => {};
      let isHeld = false;
      const made = await shop(
        UTM,
        { routes: { '/*path': { ttl: '1h' } } },
        {
          handler: () => {
            if (!isHeld) return;
            isHeld = false;
            return new Promise<void>((resolve) => {
              release = resolve;
            });
          },
        },
      );
      await made.get('/x?a');
      isHeld = true;
      const slow = made.get('/x?utm=1');
      await waitFor(() => made.runs() === 2);
      await made.cache.purge({ url: '/x?utm=2' });
      const late = made.get('/x?utm=2');
      await waitFor(() => made.cache.stats().pending === 1);
      release();
      expect((await slow).text).toBe('run 2: /x?utm=1');
      expect((await late).text).toBe('run 3: /x?utm=2');
    });
  });

  describe('waiting', () => {
    const held = async (field: (req: Request) => string | undefined) => {
      const releases: (() => void)[] = [];
      let holds = false;
      const made = await shop(
        field,
        { routes: { '/*path': { ttl: '1h' } } },
        {
          handler: () => {
            return holds ? new Promise<void>((resolve) => releases.push(resolve)) : undefined;
          },
        },
      );
      const hold = (on: boolean) => {
        holds = on;
        if (!on) for (const release of releases.splice(0)) release();
      };
      return { made, hold };
    };

    it('collapses concurrent requests for equivalent URLs of a known path [H01]', async () => {
      const { made, hold } = await held(() => UTM);
      await made.get('/x?first');
      hold(true);
      const pending = times(10, (i) => `/x?a=1&utm=${i}`).map((path) => made.get(path));
      await waitFor(() => made.runs() === 2);
      await delay(100);
      hold(false);
      const answers = await Promise.all(pending);
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
      expect(made.runs()).toBe(2);
    });

    it('collapses requests for one URL when its response is the first with the field [H01]', async () => {
      const { made, hold } = await held(() => UTM);
      hold(true);
      const pending = times(5, () => '/x?utm=1').map((path) => made.get(path));
      await waitFor(() => made.runs() === 1);
      await delay(100);
      hold(false);
      expect(new Set((await Promise.all(pending)).map(({ text }) => text))).toEqual(
        new Set(['run 1: /x?utm=1']),
      );
      expect(made.runs()).toBe(1);
    });

    it('serves a request whose fill failed from a response to an equivalent URL [H04]', async () => {
      let fail = () => {};
      const made = await shop(
        UTM,
        { routes: { '/*path': { ttl: '1h' } } },
        {
          handler: async (req, res) => {
            if (req.query.utm !== '1') return;
            await new Promise<void>((resolve) => {
              fail = resolve;
            });
            res.status(500);
          },
        },
      );
      const leader = made.get('/x?utm=1');
      await waitFor(() => made.runs() === 1);
      const waiter = made.get('/x?utm=1');
      await made.get('/x?utm=2');
      await delay(100);
      fail();
      expect((await leader).status).toBe(500);
      expect((await waiter).text).toBe('run 2: /x?utm=2');
      expect(made.runs()).toBe(2);
    });

    it('lets requests for equivalent URLs follow a body in flight [D06]', async () => {
      let finish = () => {};
      const made = await cacheApp({
        express,
        cache: { routes: { '/*path': { ttl: '1h' } } },
        routes: (app, { count }) =>
          app.use((_req: Request, res: Response) => {
            const run = count();
            res.set({ 'No-Vary-Search': UTM, 'Content-Length': '8' }).write(`run ${run}`);
            finish = () => res.end('end');
            if (run === 1) finish();
          }),
      });
      await made.get('/x?first');
      const leader = await fetch(`${made.url}/x?utm=1`);
      const follower = await fetch(`${made.url}/x?utm=2`);
      expect([made.runs(), follower.headers.get('x-cache')]).toEqual([2, 'HIT']);
      finish();
      expect([await leader.text(), await follower.text()]).toEqual(['run 2end', 'run 2end']);
    });

    it('runs the handler after a wait for a response that turns out not equivalent [H01]', async () => {
      const { made, hold } = await held((req) =>
        req.query.plain === undefined ? 'params=("utm" "plain")' : undefined,
      );
      await made.get('/x?first');
      hold(true);
      const leader = made.get('/x?a=1&plain');
      await waitFor(() => made.runs() === 2);
      const other = made.get('/x?a=1&utm=1');
      await delay(100);
      hold(false);
      expect((await leader).text).toBe('run 2: /x?a=1&plain');
      expect((await other).text).toBe('run 3: /x?a=1&utm=1');
    });
  });

  it('revalidates a stale response on a request for an equivalent URL', async () => {
    const made = await shop(UTM, {}, { handler: (_req, res) => res.set('ETag', '"v1"') });
    const confirmed = await cacheApp({
      express,
      cache: { routes: { '/*path': { ttl: '1h' } } },
      routes: (app, { count }) =>
        app.use((req: Request, res: Response) => {
          res.set({ 'No-Vary-Search': UTM, ETag: '"v1"' });
          if (req.headers['if-none-match'] === '"v1"') res.status(304).end();
          else res.end(`run ${count()}`);
        }),
    });
    await confirmed.get('/x?utm=1');
    await confirmed.cache.expire({ all: true });
    expect(await confirmed.get('/x?utm=2')).toMatchObject({ text: 'run 1', xCache: 'REVALIDATED' });
    expect(await confirmed.get('/x?utm=3')).toMatchObject({ text: 'run 1', xCache: 'HIT' });
    await made.get('/x?utm=1');
    const conditional = await made.get('/x?utm=2', { 'If-None-Match': '"v1"' });
    expect(conditional.status).toBe(304);
  });

  it('explain() describes the response that would be served', async () => {
    const made = await shop(UTM);
    await made.get('/x?utm=1');
    const { host } = new URL(made.url);
    const explain = () => made.cache.explain({ url: '/x?utm=2', headers: { host } });
    expect(explain()).toMatchObject({ result: 'HIT', entry: { use: 'fresh' } });
    await made.cache.purge({ url: '/x?utm=2' });
    expect(explain().result).toBe('MISS');
  });

  it('limits the bytes of fields with many names like any other entry [D01]', async () => {
    const made = await shop(
      (req) => `params=(${Array.from({ length: 100 }, (_, i) => `"${req.path.slice(1)}-${i}"`).join(' ')})`,
      { memory: { maxBytes: 200_000 } },
    );
    for (let i = 0; i < 100; i++) await made.get(`/p${i}`);
    const { bytes, entries } = made.cache.stats();
    expect(bytes).toBeLessThanOrEqual(200_000);
    expect(entries).toBeGreaterThan(2);
    expect((await made.get('/p99?p99-7=1')).text).toBe('run 100: /p99');
  });
});
