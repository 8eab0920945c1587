import type { Express, Request, Response } from 'express';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import onHeaders from 'on-headers';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../helpers/cache.js';
import { majors, waitFor } from '../helpers/http.js';

type Fields = Record<string, string>;

const BY_STANDARD = { profile: 'rfc9111' } as const;
const SAFE = { targets: ['CDN-Cache-Control'] } as const;

describe.each(majors)('targeted fields (RFC 9213) on %s', (_name, express) => {
  const app = (
    cache: StandaloneCacheOptions,
    fields: Fields,
    more: { before?: (app: Express) => void; seen?: (req: Request) => void } = {},
  ) =>
    cacheApp({
      express,
      cache,
      before: more.before,
      routes: (app, { count }) =>
        app.use((req: Request, res: Response) => {
          more.seen?.(req);
          res.set(fields).end(`run ${count()}`);
        }),
    });

  const profiles: [string, StandaloneCacheOptions][] = [
    ['rfc9111', BY_STANDARD],
    ['safe', SAFE],
  ];
  const long = 'max-age=3600';
  const past = 'Sun, 06 Nov 1994 08:49:37 GMT';

  describe.each(profiles)('profile %s', (_profile, cache) => {
    it.each<[string, Fields]>([
      ['alone', {}],
      ['over a shorter Cache-Control', { 'Cache-Control': 'max-age=0' }],
      ['over no-store', { 'Cache-Control': 'no-store' }],
      ['over private', { 'Cache-Control': 'private' }],
      ['over no-cache and Pragma', { 'Cache-Control': 'no-cache', Pragma: 'no-cache' }],
      ['over Pragma alone', { Pragma: 'no-cache' }],
      ['over an Expires that has passed', { Expires: past }],
      ['over an Expires that is no date', { Expires: '0' }],
    ])('a lifetime in CDN-Cache-Control counts, %s', async (_case, fields) => {
      const made = await app(cache, { ...fields, 'CDN-Cache-Control': long });
      expect((await made.get('/x')).text).toBe('run 1');
      expect(await made.get('/x')).toMatchObject({ text: 'run 1', xCache: 'HIT' });
    });

    it.each([
      'no-store',
      'private',
      'no-cache',
      'max-age=0',
      's-maxage=0, max-age=60',
      'max-age=60, no-store',
      'must-understand, private',
    ])(
      '%j in CDN-Cache-Control keeps a response from being used again, whatever Cache-Control says',
      async (value) => {
        const until = new Date(Date.now() + 3_600_000).toUTCString();
        const open = { 'Cache-Control': 'public, max-age=3600', Expires: until };
        const made = await app(cache, { ...open, 'CDN-Cache-Control': value });
        await made.get('/x');
        expect((await made.get('/x')).text).toBe('run 2');
      },
    );

    it('a response that is older than its targeted lifetime is stale', async () => {
      const made = await app(cache, { 'CDN-Cache-Control': long, Age: '7200' });
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 2');
    });

    it.each(['max-age=60, &&&', 'max-age="60"', 'max-age =60', 'MaX-aGe=60', ''])(
      'an invalid field, %j, is passed over: Cache-Control counts',
      async (value) => {
        const closed = await app(cache, { 'Cache-Control': 'no-store', 'CDN-Cache-Control': value });
        await closed.get('/x');
        expect((await closed.get('/x')).text).toBe('run 2');
        const open = await app(cache, { 'Cache-Control': 'public, max-age=60', 'CDN-Cache-Control': value });
        await open.get('/x');
        expect((await open.get('/x')).text).toBe('run 1');
      },
    );

    it('all fields go on to the client as the app wrote them, from the handler and from the store', async () => {
      const fields = {
        'Cache-Control': 'max-age=1, private',
        'CDN-Cache-Control': 'max-age=3600, foo;bar',
        'Surrogate-Control': 'content="ESI/1.0"',
        Expires: past,
      };
      const made = await app(cache, fields);
      for (const answer of [await made.get('/x'), await made.get('/x')]) {
        expect(answer.text).toBe('run 1');
        for (const [name, value] of Object.entries(fields)) expect(answer.headers.get(name)).toBe(value);
      }
    });

    it.each(['no-store', 'private', 'max-age=0'])(
      'one that comes when the headers go, %j, is looked at as well',
      async (value) => {
        const made = await app(
          cache,
          { 'Cache-Control': 'public, max-age=60' },
          {
            before: (app) =>
              app.use((_req, res, next) => {
                onHeaders(res, () => res.setHeader('CDN-Cache-Control', value));
                next();
              }),
          },
        );
        await made.get('/x');
        expect((await made.get('/x')).text).toBe('run 2');
      },
    );

    it('where it is taken away when the headers go, Cache-Control counts again', async () => {
      const made = await app(
        cache,
        { 'Cache-Control': 'no-store', 'CDN-Cache-Control': long },
        {
          before: (app) =>
            app.use((_req, res, next) => {
              onHeaders(res, () => res.removeHeader('CDN-Cache-Control'));
              next();
            }),
        },
      );
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 2');
    });

    it('where it stays, a stricter Cache-Control that comes when the headers go does not count', async () => {
      const made = await app(
        cache,
        { 'CDN-Cache-Control': long },
        {
          before: (app) =>
            app.use((_req, res, next) => {
              onHeaders(res, () => res.setHeader('Cache-Control', 'no-store'));
              next();
            }),
        },
      );
      await made.get('/x');
      const hit = await made.get('/x');
      expect([hit.text, hit.headers.get('cache-control')]).toEqual(['run 1', 'no-store']);
    });

    it('A01 a lifetime for this cache does not make a response to a visitor with credentials everybody’s', async () => {
      const made = await app(cache, { 'CDN-Cache-Control': long });
      await made.get('/x', { Authorization: 'Basic dTpw' });
      await made.get('/x', { Authorization: 'Basic dTpw' });
      expect(made.runs()).toBe(2);
      const shared = await app(cache, { 'Cache-Control': 'private', 'CDN-Cache-Control': `public, ${long}` });
      await shared.get('/x', { Authorization: 'Basic dTpw' });
      expect((await shared.get('/x')).text).toBe('run 1');
    });
  });

  it('the safe profile reads none unless it is told to: the field may be meant for a CDN before the app', async () => {
    const made = await app({}, { 'CDN-Cache-Control': long, 'Surrogate-Control': long });
    await made.get('/x');
    expect(await made.get('/x')).toMatchObject({
      text: 'run 2',
      cacheStatus: 'hotpath; fwd=uri-miss; detail=not-public',
    });
  });

  it('with `targets: []` the standard profile reads none either', async () => {
    const fields = { 'Cache-Control': 'no-store', 'CDN-Cache-Control': long, 'Surrogate-Control': long };
    const made = await app({ ...BY_STANDARD, targets: [] }, fields, {
      seen: (req) => expect(req.headers['surrogate-capability']).toBeUndefined(),
    });
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('the first valid field of the list counts, and none that is not on it', async () => {
    const cache = { ...BY_STANDARD, targets: ['Shop-Cache-Control', 'CDN-Cache-Control'] };
    const fields = { 'CDN-Cache-Control': 'no-store', 'Surrogate-Control': 'no-store' };
    const ours = await app(cache, { ...fields, 'Shop-Cache-Control': long });
    await ours.get('/x');
    expect((await ours.get('/x')).text).toBe('run 1');
    const invalid = await app(cache, { ...fields, 'Shop-Cache-Control': 'max-age=' });
    await invalid.get('/x');
    expect((await invalid.get('/x')).text).toBe('run 2');
  });

  it.each(['MaX-aGe=3600', 'max-age=3600;hotpath', 'max-age=0, max-age=3600;hotpath', 'max-age=99999999999'])(
    'Surrogate-Control: %s is read as its own syntax wants',
    async (value) => {
      const made = await app(BY_STANDARD, { 'Cache-Control': 'no-store', 'Surrogate-Control': value });
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 1');
    },
  );

  it('Surrogate-Control for another device does not count here', async () => {
    const fields = { 'Cache-Control': 'max-age=0', 'Surrogate-Control': 'max-age=3600;not-for-you' };
    const made = await app(BY_STANDARD, fields);
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('handlers are told the name to address us by, beside those of the caches before; afterwards it is gone', async () => {
    const told: unknown[] = [];
    const after: unknown[] = [];
    const made = await app(
      BY_STANDARD,
      {},
      {
        seen: (req) => told.push(req.headers['surrogate-capability']),
        before: (app) =>
          app.use((req, res, next) => {
            res.on('close', () => after.push(req.headers['surrogate-capability']));
            next();
          }),
      },
    );
    await made.get('/x');
    await made.get('/x', { 'Surrogate-Capability': 'edge="Surrogate/1.0"' });
    await waitFor(() => after.length === 2);
    expect(told).toEqual(['hotpath="Surrogate/1.0"', 'edge="Surrogate/1.0", hotpath="Surrogate/1.0"']);
    expect(after).toEqual([undefined, 'edge="Surrogate/1.0"']);
  });
});
