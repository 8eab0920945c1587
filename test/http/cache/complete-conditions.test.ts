import compression from 'compression';
import type { Express } from 'express';
import { compression as own } from 'hotpath/compression';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const page = 'page '.repeat(2000);
const modified = 'Wed, 01 Jan 2020 00:00:00 GMT';
const earlier = 'Tue, 31 Dec 2019 23:59:59 GMT';

const compressions: [name: string, mount: (app: Express) => unknown][] = [
  ['no compression', () => {}],
  ['hotpath compression before it', (app) => app.use(own())],
  ['the compression package before it', (app) => app.use(compression() as never)],
];

describe.each(majors)('HEAD and conditional requests (%s)', (_, express) => {
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
      'serves the whole page to a GET after a HEAD without a body, encoded as %s [D10]',
      async (encoding) => {
        const made = await make();
        const head = await made.get('/x', { 'Accept-Encoding': encoding }, { method: 'HEAD' });
        expect([head.status, head.text]).toEqual([200, '']);
        for (let i = 0; i < 2; i++)
          expect((await made.get('/x', { 'Accept-Encoding': encoding })).text).toBe(page);
        expect([made.runs('HEAD'), made.runs('GET')]).toEqual([1, 1]);
      },
    );

    it.each(encodings)('serves a HEAD from a stored GET, encoded as %s [D10]', async (encoding) => {
      const made = await make();
      await made.get('/x', { 'Accept-Encoding': encoding });
      const ask = (method: string) =>
        made.raw(`${method} /x HTTP/1.1\nAccept-Encoding: ${encoding}\nConnection: close`);
      const [got, head] = [await ask('GET'), await ask('HEAD')];
      expect(head.status).toBe(200);
      expect(head.wire.toString('latin1').endsWith('\r\n\r\n')).toBe(true);
      for (const name of ['content-type', 'etag', 'last-modified', 'vary', 'x-powered-by'])
        expect([name, head.header(name)]).toEqual([name, got.header(name)]);
      // The length of an unencoded GET is known.
      if (!got.header('content-encoding')) expect(head.header('content-length')).toBe(String(page.length));
      expect(made.runs()).toBe(1);
    });

    it('lets a HEAD among 20 concurrent cold GETs neither wait for them nor spoil them [D10]', async () => {
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
      'sends 304 from fill and hit, encoded as %s, and stores the whole page [D12]',
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
    'stores nothing for GET from a HEAD-only handler that ends with %s [D10]',
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

  /** Each condition, and the status that it selects (RFC 9110 §13.1, §13.2.2). */
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
    'responds to %j with %i from fill and hit, and stores the whole page [D12]',
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

  it('sends 304 without a body from a streamed fill and stores the whole body [D12]', async () => {
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

  it('matches its generated ETag until the body changes [D12]', async () => {
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

  it.each(['If-Match', 'If-Unmodified-Since'])('leaves %s to the origin handler [D12]', async (name) => {
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
    'keeps If-Range of a range request under %j, so versions never mix [D11, D12]',
    async (rule) => {
      const made = await cacheApp({
        express,
        cache: { routes: { '/x': { ttl: 60, ...rule } } },
        routes: (app, { count }) =>
          app.get('/x', (req, res) => {
            count();
            // As range handlers do: the whole body if the version differs.
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

  it("restores the client's conditions for middlewares that log the request later [D12]", async () => {
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
