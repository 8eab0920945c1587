import type { Request, Response } from 'express';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

describe.each(majors)('Vary: Accept-Language (%s)', (_name, express) => {
  const app = (profile: 'safe' | 'rfc9111') =>
    cacheApp({
      express,
      cache: { profile },
      routes: (routes, { count }) => {
        routes.get('/x', (req: Request, res: Response) => {
          res.set('Cache-Control', 'public, max-age=60').vary('Accept-Language');
          res.send(`run ${count()} for ${req.headers['accept-language']}`);
        });
      },
    });

  it('ignores case in profile rfc9111, RFC 9111 §4.1, RFC 4647 §2 [B05]', async () => {
    const made = await app('rfc9111');
    for (const language of ['en, de', 'EN, De', 'en,de']) {
      expect((await made.get('/x', { 'Accept-Language': language })).text).toBe('run 1 for en, de');
    }
  });

  it('keeps the order, which handlers negotiate by [B05]', async () => {
    const made = await app('rfc9111');
    await made.get('/x', { 'Accept-Language': 'en, de' });
    expect((await made.get('/x', { 'Accept-Language': 'de, en' })).text).toBe('run 2 for de, en');
  });

  it('keeps the case in the safe profile, for handlers that compare it [B05]', async () => {
    const made = await app('safe');
    await made.get('/x', { 'Accept-Language': 'EN' });
    expect((await made.get('/x', { 'Accept-Language': 'en' })).text).toBe('run 2 for en');
  });
});
