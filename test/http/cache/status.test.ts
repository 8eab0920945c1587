import type { Request, Response } from 'express';
import { type CacheRule, responseCache, type StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { parseList } from '../../../src/http/structured-fields.js';
import { cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';

type Handle = (run: number, req: Request, res: Response) => unknown;

describe.each(majors)('Cache-Status, RFC 9211 (%s)', (_name, express) => {
  const make = (rule: CacheRule, handle: Handle, cache: StandaloneCacheOptions = {}) =>
    cacheApp({
      express,
      cache: { routes: { '/x': rule }, ...cache },
      routes: (app, { count }) => app.get('/x', (req, res) => handle(count(), req, res)),
    });
  const answer: Handle = (run, _req, res) => res.send(`run ${run}`);
  const known: Handle = (_run, req, res) =>
    req.headers['if-none-match'] === '"v"' ? res.status(304).end() : res.set('ETag', '"v"').send('x');

  it('names the lifetime of a stored response on a miss, and the time left on a hit', async () => {
    const made = await make({ ttl: 600 }, answer);
    expect((await made.get('/x')).cacheStatus).toBe('hotpath; fwd=uri-miss; stored; ttl=600');
    expect((await made.get('/x')).cacheStatus).toMatch(/^hotpath; hit; ttl=(?:600|59\d)$/);
  });

  it('names no lifetime for a response that is not stored', async () => {
    const made = await make({ ttl: 600 }, (_run, _req, res) => res.cookie('a', '1').send('x'));
    expect((await made.get('/x')).cacheStatus).toBe('hotpath; fwd=uri-miss; detail=set-cookie');
  });

  it('contains fwd-status when the client gets another status than the handler sent', async () => {
    const made = await make({ ttl: 600 }, known);
    // The handler got an unconditional request; the client has the response already.
    const first = await made.get('/x', { 'if-none-match': '"v"' });
    expect([first.status, first.cacheStatus]).toEqual([
      304,
      'hotpath; fwd=uri-miss; fwd-status=200; stored; ttl=600',
    ]);
    await made.cache.expire({ all: true });
    const second = await made.get('/x');
    expect([second.status, second.cacheStatus]).toEqual([
      200,
      'hotpath; fwd=stale; fwd-status=304; stored; ttl=600',
    ]);
    await made.cache.expire({ all: true });
    const third = await made.get('/x', { 'if-none-match': '"v"' });
    expect([third.status, third.cacheStatus]).toEqual([304, 'hotpath; fwd=stale; stored; ttl=600']);
  });

  it('reports a stale response instead of an error as forwarded, not as a hit [§2.1]', async () => {
    const made = await make({ ttl: 600, staleIfError: 600 }, (run, _req, res) =>
      run > 1 ? res.status(503).send('error') : res.send('x'),
    );
    await made.get('/x');
    await made.cache.expire({ all: true });
    const stale = await made.get('/x');
    expect(stale.cacheStatus).toMatch(/^hotpath; fwd=stale; fwd-status=503; ttl=-\d+; detail=error$/);
    expect([stale.status, stale.xCache]).toEqual([200, 'STALE']);
  });

  it('reports a response served stale during a refresh as a hit with negative ttl [§3]', async () => {
    const made = await make({ ttl: 600, staleWhileRevalidate: 600 }, answer);
    await made.get('/x');
    await made.cache.expire({ all: true });
    expect((await made.get('/x')).cacheStatus).toMatch(/^hotpath; hit; ttl=-\d+$/);
  });

  it("names the handler's status for a refresh that the request waited for", async () => {
    const made = await make({ ttl: 600, staleIfError: 600 }, known);
    await made.get('/x');
    await made.cache.expire({ all: true });
    expect((await made.get('/x')).cacheStatus).toMatch(
      /^hotpath; fwd=stale; fwd-status=(?:200|304); stored; ttl=(?:600|599)$/,
    );
  });

  it.each<[string, (res: Response) => unknown, RegExp]>([
    ['served from it', (res) => res.send('x'), /^hotpath; fwd=uri-miss; collapsed; ttl=(?:600|599)$/],
    [
      'refused',
      (res) => res.cookie('a', '1').send('x'),
      /^hotpath; fwd=uri-miss; stored; collapsed=\?0; ttl=600; detail=collapse-refused$/,
    ],
  ])('reports a request that waited for another and was %s [§2.6]', async (_what, first, expected) => {
    let arrived = 0;
    let release = () => {};
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 600 } } },
      before: (app) =>
        app.use((_req, _res, next) => {
          arrived++;
          next();
        }),
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          if (count() > 1) res.send('x');
          else release = () => first(res);
        }),
    });
    const leader = made.get('/x');
    await waitFor(() => made.runs() === 1);
    const waiter = made.get('/x');
    await waitFor(() => arrived === 2);
    release();
    await leader;
    expect((await waiter).cacheStatus).toMatch(expected);
  });

  it.each<[string, Record<string, string>, string]>([
    [
      'no-cache on a fresh response',
      { 'cache-control': 'no-cache' },
      'hotpath; fwd=request; stored; ttl=600',
    ],
    [
      'max-age=0 on a fresh response',
      { 'cache-control': 'max-age=0' },
      'hotpath; fwd=request; fwd-status=304; stored; ttl=600',
    ],
    ['another language', { 'accept-language': 'fr' }, 'hotpath; fwd=vary-miss; stored; ttl=600'],
  ])('names %s as the reason', async (_what, headers, expected) => {
    const made = await make({ ttl: 600 }, (_run, _req, res) => res.set('Vary', 'Accept-Language').send('x'), {
      requestDirectives: 'honor',
    });
    await made.raw('GET /x HTTP/1.1\n');
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\n`);
    expect((await made.raw(`GET /x HTTP/1.1\n${lines.join('')}`)).header('cache-status')).toBe(expected);
  });

  it('names stale as the reason for no-cache on a stale response', async () => {
    const made = await make({ ttl: 600 }, answer, { requestDirectives: 'honor' });
    await made.get('/x');
    await made.cache.expire({ all: true });
    expect((await made.get('/x', { 'cache-control': 'no-cache' })).cacheStatus).toContain('fwd=stale');
  });

  it('has neither hit nor fwd for only-if-cached without a stored response', async () => {
    const made = await make({ ttl: 600 }, answer, { requestDirectives: 'honor' });
    const { status, cacheStatus } = await made.get('/x', { 'cache-control': 'only-if-cached' });
    expect([status, cacheStatus]).toEqual([504, 'hotpath; detail=only-if-cached']);
  });

  describe("statusHeader: 'key'", () => {
    const cases: [string, Record<string, string>][] = [
      ['/x?a=1&utm_source=mail', { 'x-user': 'CANARY1', cookie: 'lang=CANARY2' }],
      ['/x?a=%22quoted%22', { authorization: 'CANARY3' }],
    ];
    it.each(cases)(
      'names scheme, host, path and relevant query of %s, on misses and hits',
      async (path, headers) => {
        const made = await make(
          {
            ttl: 600,
            ignoreQuery: ['utm_*'],
            vary: { headers: ['authorization'], cookies: ['lang'] },
            partition: ({ req }) => `p${req.headers['x-user']}`,
          },
          answer,
          { statusHeader: 'key' },
        );
        for (const xCache of ['MISS', 'HIT']) {
          const answered = await made.get(path, headers);
          expect(answered.xCache).toBe(xCache);
          const [member] = parseList(answered.cacheStatus!) ?? [];
          expect(member!.parameters.get('key')).toEqual({
            kind: 'string',
            value: made.url + path.replace(/&utm.*/, ''),
          });
          expect(answered.cacheStatus).not.toContain('CANARY');
        }
      },
    );

    it('is absent for a request without a key', async () => {
      const made = await make({ ttl: 600, when: () => false }, answer, { statusHeader: 'key' });
      expect((await made.get('/x')).cacheStatus).toBe('hotpath; fwd=bypass; detail=when');
    });

    it('is returned by explain() as well', async () => {
      const made = await make({ ttl: 600 }, answer, { statusHeader: 'key' });
      const { status, cacheStatus } = made.cache.explain({ url: `${made.url}/x` });
      expect(status.key).toBe(`${made.url}/x`);
      expect(cacheStatus).toBe(`hotpath; fwd=uri-miss; key="${made.url}/x"`);
    });

    it('is absent by default', async () => {
      const made = await make({ ttl: 600 }, answer);
      expect((await made.get('/x')).cacheStatus).not.toContain('key');
    });
  });
});

it.each(['yes', 1, null])('rejects statusHeader: %j and names the accepted values', (statusHeader) => {
  expect(() => responseCache({ statusHeader: statusHeader as never })).toThrow(/true, false or 'key'/);
});
