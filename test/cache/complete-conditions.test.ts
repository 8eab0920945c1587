import compression from 'compression';
import type { Express } from 'express';
import { compression as own } from 'hotpath/compression';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../helpers/cache.js';
import { majors } from '../helpers/http.js';

const page = 'page '.repeat(2000);
const modified = 'Wed, 01 Jan 2020 00:00:00 GMT';
const earlier = 'Tue, 31 Dec 2019 23:59:59 GMT';

const compressions: [name: string, mount: (app: Express) => unknown][] = [
  ['no compression', () => {}],
  ['our compression before it', (app) => app.use(own())],
  ['the compression package before it', (app) => app.use(compression() as never)],
];

describe.each(majors)('HEAD and conditions on %s', (_, express) => {
  describe.each(compressions)('with %s', (_name, before) => {
    const make = () =>
      cacheApp({
        express,
        before,
        cache: { routes: { '/x': { ttl: 60 } } },
        routes: (app, { count }) =>
          app.get('/x', (req, res) => {
            count(req.method);
            res.set('ETag', '"one"').set('Last-Modified', modified).type('text').send(page);
          }),
      });
    const encodings = ['identity', 'gzip'] as const;

    it.each(encodings)(
      'D10 HEAD, then GET accepting %s: the whole page, and HEAD had none of it',
      async (encoding) => {
        const made = await make();
        const head = await made.get('/x', { 'Accept-Encoding': encoding }, { method: 'HEAD' });
        expect([head.status, head.text]).toEqual([200, '']);
        for (let i = 0; i < 2; i++)
          expect((await made.get('/x', { 'Accept-Encoding': encoding })).text).toBe(page);
        expect([made.runs('HEAD'), made.runs('GET')]).toEqual([1, 1]);
      },
    );

    it.each(encodings)(
      'D10 GET, then HEAD accepting %s: the headers of the GET, without a body',
      async (encoding) => {
        const made = await make();
        await made.get('/x', { 'Accept-Encoding': encoding });
        const ask = (method: string) =>
          made.raw(`${method} /x HTTP/1.1\nAccept-Encoding: ${encoding}\nConnection: close`);
        const [got, head] = [await ask('GET'), await ask('HEAD')];
        expect(head.status).toBe(200);
        expect(head.wire.toString('latin1').endsWith('\r\n\r\n')).toBe(true);
        for (const name of ['content-type', 'etag', 'last-modified', 'vary', 'x-powered-by'])
          expect([name, head.header(name)]).toEqual([name, got.header(name)]);
        // Where the GET is not encoded, its length is known.
        if (!got.header('content-encoding')) expect(head.header('content-length')).toBe(String(page.length));
        expect(made.runs()).toBe(1);
      },
    );

    it('D10 a HEAD among 20 concurrent cold GETs neither waits for them nor poisons them', async () => {
      const made = await make();
      const [head, ...gets] = await Promise.all([
        made.get('/x', {}, { method: 'HEAD' }),
        ...Array.from({ length: 20 }, () => made.get('/x')),
      ]);
      expect(head!.text).toBe('');
      for (const { text } of gets) expect(text).toBe(page);
      expect(made.runs('GET')).toBe(1);
    });

    it.each(encodings)(
      'D12 a visitor who has it gets 304 from fill and hit, accepting %s, and the whole is stored',
      async (encoding) => {
        const made = await make();
        for (let i = 0; i < 2; i++) {
          const { status, text, headers } = await made.get('/x', {
            'If-None-Match': '"one"',
            'Accept-Encoding': encoding,
          });
          expect([status, text]).toEqual([304, '']);
          expect(headers.get('etag')).toMatch(/^(W\/)?"one"$/);
          expect([headers.get('content-length'), headers.get('content-encoding')]).toEqual([null, null]);
        }
        expect((await made.get('/x', { 'Accept-Encoding': encoding })).text).toBe(page);
        expect(made.runs()).toBe(1);
      },
    );
  });

  it.each([undefined, 'whole'])(
    'D10 a handler of HEAD alone that ends with %s poisons no GET',
    async (body) => {
      const made = await cacheApp({
        express,
        cache: { routes: { '/x': { ttl: 60 } } },
        routes: (app, { count }) => {
          app.head('/x', (_req, res) => void res.end(body?.toUpperCase()));
          app.get('/x', (_req, res) => {
            count();
            res.end('whole');
          });
        },
      });
      await made.get('/x', {}, { method: 'HEAD' });
      for (let i = 0; i < 2; i++) expect((await made.get('/x')).text).toBe('whole');
      expect(made.runs()).toBe(1);
    },
  );

  /** Each condition, and whether it selects 304 (RFC 9110 §13.1, §13.2.2). */
  const conditions: [headers: Record<string, string>, status: number][] = [
    [{ 'If-None-Match': '"one"' }, 304],
    [{ 'If-None-Match': 'W/"one"' }, 304],
    [{ 'If-None-Match': '"other", "one"' }, 304],
    [{ 'If-None-Match': '"a,b",W/"one"' }, 304],
    [{ 'If-None-Match': '*' }, 304],
    [{ 'If-None-Match': '"other"' }, 200],
    [{ 'If-None-Match': 'one' }, 200],
    [{ 'If-None-Match': '"one' }, 200],
    [{ 'If-None-Match': '' }, 200],
    [{ 'If-None-Match': '"other"', 'If-Modified-Since': modified }, 200],
    [{ 'If-None-Match': '"one"', 'If-Modified-Since': earlier }, 304],
    [{ 'If-Modified-Since': modified }, 304],
    [{ 'If-Modified-Since': 'Wednesday, 01-Jan-20 00:00:00 GMT' }, 304],
    [{ 'If-Modified-Since': earlier }, 200],
    [{ 'If-Modified-Since': 'yesterday' }, 200],
  ];

  it.each(conditions)(
    'D12 %j is answered with %i by fill and hit alike, and what is stored is the whole',
    async (headers, status) => {
      const made = await cacheApp({
        express,
        cache: { routes: { '/x': { ttl: 60 } } },
        routes: (app, { count }) =>
          app.get('/x', (req, res) => {
            count();
            for (const name of Object.keys(headers)) expect(req.headers[name.toLowerCase()]).toBeUndefined();
            const fields = {
              ETag: '"one"',
              'Last-Modified': modified,
              'Cache-Control': 'max-age=60',
              'X-More': '1',
            };
            res.set(fields).vary('Accept-Language').end(page);
          }),
      });
      for (let i = 0; i < 2; i++) {
        const answer = await made.get('/x', headers);
        expect([answer.status, answer.text]).toEqual([status, status === 304 ? '' : page]);
        // RFC 9110 §15.4.5
        expect(answer.headers.get('etag')).toBe('"one"');
        expect(answer.headers.get('cache-control')).toBe('max-age=60');
        expect(answer.headers.get('vary')).toBe('Accept-Language');
        expect(answer.headers.get('date')).not.toBeNull();
      }
      expect((await made.get('/x')).text).toBe(page);
      expect(made.runs()).toBe(1);
    },
  );

  it('D12 a streamed fill for a visitor who has it sends nothing and stores the whole', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          res.set('ETag', '"one"');
          res.write(page);
          setImmediate(() => res.end('the end'));
        }),
    });
    const answer = await made.raw('GET /x HTTP/1.1\nIf-None-Match: "one"\nConnection: close');
    expect(answer.status).toBe(304);
    expect(answer.wire.toString('latin1').endsWith('\r\n\r\n')).toBe(true);
    expect((await made.get('/x')).text).toBe(`${page}the end`);
    expect(made.runs()).toBe(1);
  });

  it('D12 the tag that a hit makes up is good for a 304, and goes with its body', async () => {
    let body = 'first';
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          res.end(body);
        }),
    });
    await made.get('/x');
    const etag = (await made.get('/x')).headers.get('etag')!;
    expect((await made.get('/x', { 'If-None-Match': etag })).status).toBe(304);
    body = 'second';
    await made.cache.purge({ all: true });
    await made.get('/x');
    expect(await made.get('/x', { 'If-None-Match': etag })).toMatchObject({ status: 200, text: 'second' });
    expect(made.runs()).toBe(2);
  });

  it.each(['If-Match', 'If-Unmodified-Since'])('D12 %s is the business of the handler', async (name) => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (req, res) => {
          count();
          if (req.headers[name.toLowerCase()]) return void res.status(412).end();
          res.set('ETag', '"one"').end('body');
        }),
    });
    await made.get('/x');
    expect((await made.get('/x', { [name]: '"x"' })).status).toBe(412);
    expect((await made.get('/x')).text).toBe('body');
    expect(made.runs()).toBe(2);
  });

  it.each([{}, { ignoreQuery: ['utm_*'] }])(
    'D11 D12 a request for a part keeps its If-Range, so that no part of another version is sent, under %j',
    async (rule) => {
      const made = await cacheApp({
        express,
        cache: { routes: { '/x': { ttl: 60, ...rule } } },
        routes: (app, { count }) =>
          app.get('/x', (req, res) => {
            count();
            // What a handler of ranges does: the whole where the version is another.
            if (req.headers.range && req.headers['if-range'] === '"now"')
              return void res.status(206).end('part');
            res.set('ETag', '"now"').end('whole');
          }),
      });
      const ask = (version: string) => made.get('/x?utm_a=1', { Range: 'bytes=0-3', 'If-Range': version });
      expect(await ask('"now"')).toMatchObject({ status: 206, text: 'part' });
      expect(await ask('"before"')).toMatchObject({ status: 200, text: 'whole' });
      expect((await made.get('/x')).text).toBe('whole');
    },
  );

  it("D12 the visitor's conditions are back for whoever logs the request afterwards", async () => {
    const seen: unknown[] = [];
    const made = await cacheApp({
      express,
      before: (app) =>
        app.use((req, res, next) => {
          res.once('finish', () => seen.push([req.headers['if-none-match'], req.originalUrl, req.url]));
          next();
        }),
      cache: { routes: { '/x': { ttl: 60, ignoreQuery: ['utm_*'] } } },
      routes: (app, { count }) =>
        app.get('/x', (req, res) => {
          count();
          res.end(req.originalUrl);
        }),
    });
    expect((await made.get('/x?utm_a=1&b=2', { 'If-None-Match': '"x"' })).text).toBe('/x?b=2');
    expect((await made.get('/x?utm_a=1&b=2', { 'If-None-Match': '"x"' })).text).toBe('/x?b=2');
    expect(seen).toEqual(Array(2).fill(['"x"', '/x?utm_a=1&b=2', '/x?utm_a=1&b=2']));
    expect(made.runs()).toBe(1);
  });
});
