import type { Request, Response } from 'express';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

type Rule = NonNullable<StandaloneCacheOptions['routes']>[string];

interface Case {
  profile?: 'safe' | 'rfc9111';
  rule?: Rule;
  cacheControl?: string;
  status?: number;
}

describe.each(majors)('stale responses for errors by default (%s)', (_name, express) => {
  /** A route whose first response is stale; every later one fails. */
  async function failing({ profile = 'rfc9111', rule, cacheControl, status = 503 }: Case) {
    const made = await cacheApp({
      express,
      cache: { profile, routes: { '/x': rule ?? { ttl: '1h' } } },
      routes: (app, { count }) => {
        app.get('/x', (_req: Request, res: Response) => {
          if (cacheControl !== undefined) res.set('Cache-Control', cacheControl);
          const run = count();
          res.status(run > 1 ? status : 200).send(`run ${run}`);
        });
      },
    });
    expect((await made.get('/x')).text).toBe('run 1');
    await made.cache.expire({ url: '/x' });
    return made;
  }

  it('serves a stale response in profile rfc9111, RFC 9111 §4.3.3 [H11]', async () => {
    const made = await failing({});
    const answer = await made.get('/x');
    expect(answer).toMatchObject({ status: 200, text: 'run 1', xCache: 'STALE' });
    expect(answer.cacheStatus).toContain('fwd=stale; fwd-status=503');
    expect(made.runs()).toBe(2);
  });

  it('serves none in the safe profile [H11]', async () => {
    const made = await failing({ profile: 'safe' });
    expect(await made.get('/x')).toMatchObject({ status: 503, text: 'run 2' });
  });

  it.each([
    'max-age=60, must-revalidate',
    'max-age=60, proxy-revalidate',
    'max-age=60, s-maxage=60',
    'max-age=60, stale-if-error=0',
  ])('serves none when the response forbids it: %s, RFC 9111 §4.2.4 [H11]', async (cacheControl) => {
    const made = await failing({ cacheControl });
    expect(await made.get('/x')).toMatchObject({ status: 503, text: 'run 2' });
  });

  it('serves none beyond the window of the rule [H11]', async () => {
    const made = await failing({ rule: { ttl: '1h', staleIfError: 0 } });
    expect(await made.get('/x')).toMatchObject({ status: 503, text: 'run 2' });
  });

  it.each([
    ['a response', 'that has been stale for less than a day', 80_000, 200],
    ['nothing', 'that has been stale for longer', 90_000, 503],
  ])('serves %s %s [H11]', async (_what, _when, age, status) => {
    const made = await cacheApp({
      express,
      cache: { profile: 'rfc9111' },
      routes: (app, { count }) => {
        app.get('/x', (_req: Request, res: Response) => {
          if (count() > 1) res.status(503).send('error');
          else res.set({ 'Cache-Control': 'max-age=60', Age: String(age) }).send('old already');
        });
      },
    });
    await made.get('/x');
    expect((await made.get('/x')).status).toBe(status);
    expect(made.runs()).toBe(2);
  });

  it('serves none for a status outside 5xx [H11]', async () => {
    const made = await failing({ status: 999 });
    expect((await made.raw('GET /x HTTP/1.1\r\n')).status).toBe(999);
  });

  it('serves none that is an error itself [H11]', async () => {
    const made = await cacheApp({
      express,
      cache: { profile: 'rfc9111' },
      routes: (app, { count }) => {
        app.get('/x', (_req: Request, res: Response) => {
          res
            .set('Cache-Control', 'max-age=60')
            .status(500 + count())
            .send('error');
        });
      },
    });
    expect((await made.get('/x')).status).toBe(501);
    await made.cache.expire({ url: '/x' });
    expect((await made.get('/x')).status).toBe(502);
  });
});
