import { describe, expect, it } from 'vitest';
import { cacheApp } from '../helpers/cache.js';
import { majors } from '../helpers/http.js';

const WHOLE = 'abcdefghij'.repeat(20);

describe.each(majors)('requests for a part on %s', (_name, express) => {
  const files = () =>
    cacheApp({
      express,
      cache: { routes: { '/file': { ttl: '1h' } } },
      routes: (app, { count }) =>
        app.get('/file', (req, res) => {
          count();
          const range = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? '');
          if (!range) return void res.type('text').send(WHOLE);
          const [from, to] = [Number(range[1]), Number(range[2])];
          res.status(206).set('Content-Range', `bytes ${from}-${to}/${WHOLE.length}`);
          res.type('text').send(WHOLE.slice(from, to + 1));
        }),
    });

  it('D11 the handler sees the range, and its part is never stored as the whole', async () => {
    const made = await files();
    const part = await made.get('/file', { range: 'bytes=0-4' });
    expect(part).toMatchObject({ status: 206, text: WHOLE.slice(0, 5) });
    expect(await made.get('/file')).toMatchObject({ status: 200, text: WHOLE });
    expect(made.cache.stats().stores).toBe(1);
  });

  it.each([
    'bytes=0-4',
    'bytes=-99999999999999999999',
    'bytes=5-2',
    `bytes=${'0-,'.repeat(200)}0-`,
    'items=0-1',
  ])('D11 a stored whole is served whole to %s', async (range) => {
    const made = await files();
    await made.get('/file');
    const answer = await made.get('/file', { range });
    expect(answer).toMatchObject({ status: 200, text: WHOLE });
    expect(answer.headers.get('content-range')).toBeNull();
    expect(made.runs()).toBe(1);
  });
});
