import type { Express, Request, Response } from 'express';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import onHeaders from 'on-headers';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors, waitFor } from '../../helpers/http.js';

type Fields = Record<string, string>;

const BY_STANDARD = { profile: 'rfc9111' } as const;
const SAFE = { targets: ['CDN-Cache-Control'] } as const;

describe.each(majors)('targeted fields, RFC 9213 (%s)', (_name, express) => {
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
      ['over Pragma only', { Pragma: 'no-cache' }],
      ['over an expired Expires', { Expires: past }],
      ['over an invalid Expires', { Expires: '0' }],
    ])('takes the lifetime from CDN-Cache-Control %s', async (_case, fields) => {
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
    ])('does not reuse a response with %j in CDN-Cache-Control, despite Cache-Control', async (value) => {
      const until = new Date(Date.now() + 3_600_000).toUTCString();
      const open = { 'Cache-Control': 'public, max-age=3600', Expires: until };
      const made = await app(cache, { ...open, 'CDN-Cache-Control': value });
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 2');
    });

    it('treats a response older than its targeted lifetime as stale', async () => {
      const made = await app(cache, { 'CDN-Cache-Control': long, Age: '7200' });
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 2');
    });

    it.each(['max-age=60, &&&', 'max-age="60"', 'max-age =60', 'MaX-aGe=60', ''])(
      'ignores an invalid field %j and applies Cache-Control',
      async (value) => {
        const closed = await app(cache, { 'Cache-Control': 'no-store', 'CDN-Cache-Control': value });
        await closed.get('/x');
        expect((await closed.get('/x')).text).toBe('run 2');
        const open = await app(cache, { 'Cache-Control': 'public, max-age=60', 'CDN-Cache-Control': value });
        await open.get('/x');
        expect((await open.get('/x')).text).toBe('run 1');
      },
    );

    it('forwards all fields unchanged, from handler and store', async () => {
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
      'applies a field %j that is added in writeHead',
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

    it('applies Cache-Control when the targeted field is removed in writeHead', async () => {
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

    it('ignores a stricter Cache-Control added in writeHead while a targeted field remains', async () => {
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

    it('does not share responses to credentials because of a targeted lifetime [A01]', async () => {
      const made = await app(cache, { 'CDN-Cache-Control': long });
      await made.get('/x', { Authorization: 'Basic dTpw' });
      await made.get('/x', { Authorization: 'Basic dTpw' });
      expect(made.runs()).toBe(2);
      const shared = await app(cache, { 'Cache-Control': 'private', 'CDN-Cache-Control': `public, ${long}` });
      await shared.get('/x', { Authorization: 'Basic dTpw' });
      expect((await shared.get('/x')).text).toBe('run 1');
    });
  });

  it('is off in the safe profile, as the field may be for a CDN in front of the app', async () => {
    const made = await app({}, { 'CDN-Cache-Control': long, 'Surrogate-Control': long });
    await made.get('/x');
    expect(await made.get('/x')).toMatchObject({
      text: 'run 2',
      cacheStatus: 'hotpath; fwd=uri-miss; detail=not-public',
    });
  });

  it('is off in profile rfc9111 with `targets: []`', async () => {
    const fields = { 'Cache-Control': 'no-store', 'CDN-Cache-Control': long, 'Surrogate-Control': long };
    const made = await app({ ...BY_STANDARD, targets: [] }, fields, {
      seen: (req) => expect(req.headers['surrogate-capability']).toBeUndefined(),
    });
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('applies the first valid field of the list, and no other', async () => {
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
    'parses Surrogate-Control: %s by its own syntax',
    async (value) => {
      const made = await app(BY_STANDARD, { 'Cache-Control': 'no-store', 'Surrogate-Control': value });
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 1');
    },
  );

  it('ignores Surrogate-Control for another device', async () => {
    const fields = { 'Cache-Control': 'max-age=0', 'Surrogate-Control': 'max-age=3600;not-for-you' };
    const made = await app(BY_STANDARD, fields);
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('adds the Surrogate-Capability of hotpath for handlers and removes it afterwards', async () => {
    const seen: unknown[] = [];
    const after: unknown[] = [];
    const made = await app(
      BY_STANDARD,
      {},
      {
        seen: (req) => seen.push(req.headers['surrogate-capability']),
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
    expect(seen).toEqual(['hotpath="Surrogate/1.0"', 'edge="Surrogate/1.0", hotpath="Surrogate/1.0"']);
    expect(after).toEqual([undefined, 'edge="Surrogate/1.0"']);
  });
});
