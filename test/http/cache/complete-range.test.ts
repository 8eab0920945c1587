import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const WHOLE = 'abcdefghij'.repeat(20);

describe.each(majors)('range requests (%s)', (_name, express) => {
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

  it('passes the range to the handler and never stores its part as the whole [D11]', async () => {
    const made = await files();
    const part = await made.get('/file', { range: 'bytes=0-4' });
    expect(part).toMatchObject({ status: 206, text: WHOLE.slice(0, 5) });
    expect(await made.get('/file')).toMatchObject({ status: 200, text: WHOLE });
    expect(made.cache.stats().stores).toBe(1);
  });

  it.each<[string, number, string, string | null]>([
    ['bytes=0-4', 206, WHOLE.slice(0, 5), 'bytes 0-4/200'],
    ['bytes=-5', 206, WHOLE.slice(-5), 'bytes 195-199/200'],
    ['bytes=-99999999999999999999', 206, WHOLE, 'bytes 0-199/200'],
    ['bytes=190-', 206, WHOLE.slice(190), 'bytes 190-199/200'],
    ['bytes=200-', 416, '', 'bytes */200'],
    ['bytes=5-2', 200, WHOLE, null],
    [`bytes=${'0-,'.repeat(200)}0-`, 200, WHOLE, null],
    ['items=0-1', 200, WHOLE, null],
  ])(
    'responds to %s from a complete stored response with %i [D11]',
    async (range, status, text, contentRange) => {
      const made = await files();
      await made.get('/file');
      const answer = await made.get('/file', { range });
      expect(answer).toMatchObject({ status, text });
      expect(answer.headers.get('content-range')).toBe(contentRange);
      expect(made.runs()).toBe(1);
      expect(await made.get('/file')).toMatchObject({ status: 200, text: WHOLE });
    },
  );

  it('sends several parts as multipart/byteranges [D11]', async () => {
    const made = await files();
    await made.get('/file');
    const answer = await made.get('/file', { range: 'bytes=0-1,10-11' });
    const type = answer.headers.get('content-type') ?? '';
    const boundary = /^multipart\/byteranges; ?boundary="?([^"]+)/.exec(type)?.[1];
    expect(answer.status).toBe(206);
    expect(answer.text.split(`--${boundary}`)).toHaveLength(4);
    expect(answer.text).toContain('bytes 10-11/200');
  });

  it('sends the whole body for If-Range with a weak or different ETag [D11]', async () => {
    const made = await files();
    const etag = (await made.get('/file')).headers.get('etag') ?? '';
    expect(etag).toMatch(/^W\//);
    for (const condition of [etag, '"other"', 'Sat, 01 Jan 2000 00:00:00 GMT']) {
      const answer = await made.get('/file', { range: 'bytes=0-4', 'if-range': condition });
      expect(answer).toMatchObject({ status: 200, text: WHOLE });
    }
  });
});
