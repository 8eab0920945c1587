import type { Request, Response } from 'express';
import methodOverride from 'method-override';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../helpers/cache.js';
import { majors } from '../helpers/http.js';

const RULE = { '/*path': { ttl: '1m' } } as const;

describe.each(majors)('what may be stored, on %s', (_name, express) => {
  const handled = (
    routes: NonNullable<Parameters<typeof cacheApp>[0]['cache']>['routes'],
    handler: (req: Request, res: Response, run: number) => unknown,
  ) =>
    cacheApp({
      express,
      cache: { routes },
      routes: (app, made) => app.use((req, res) => handler(req, res, made.count())),
    });

  it.each<[string, string | string[]]>([
    ['private in any case', 'Private'],
    ['white space before a comma', 'PRIVATE , max-age=5'],
    ['no-store beside public', 'no-store,public'],
    ['private with a field', 'public, max-age=60, private="set-cookie"'],
    ['no-cache after a lifetime', 'max-age=60,no-cache'],
    ['no-cache with a field', 'public, max-age=60, no-cache="x-a"'],
    ['two lines', ['public, max-age=60', 'no-store']],
    ['a trailing comma', 'private,'],
    ['a tab', 'public,\tno-store'],
    ['an argument that it does not have', 'public, max-age=60, no-store=1'],
    ['a lifetime that is no number', 'public, max-age=abc'],
    ['no lifetime left', 'public, max-age=0'],
    ['a lifetime of none for shared caches', 'public, max-age=60, s-maxage=0'],
  ])('A05 Cache-Control with %s is not stored, and goes out as the app wrote it', async (_case, value) => {
    const made = await handled(RULE, (_req, res, run) =>
      res.setHeader('Cache-Control', value).end(`run ${run}`),
    );
    const first = await made.get('/x');
    expect(first.headers.get('cache-control')).toBe([value].flat().join(', '));
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it.each([
    ['object', (res: Response) => res.writeHead(200, { 'Cache-Control': 'private' })],
    ['flat array', (res: Response) => res.writeHead(200, ['Cache-Control', 'no-store'])],
  ])('A05 Cache-Control given to writeHead as %s counts', async (_case, write) => {
    const made = await handled(RULE, (_req, res, run) => write(res).end(`run ${run}`));
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it.each([
    ['a directive inside a quoted string', 'public, max-age=60, x="a,no-store"'],
    ['an unknown directive that begins alike', 'public, max-age=60, no-store-really, privateer'],
  ])('A05 %s is no directive', async (_case, value) => {
    const made = await handled({}, (_req, res, run) => res.set('Cache-Control', value).end(`run ${run}`));
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 1');
  });

  it.each(['max-age=60', '', 'must-revalidate'])(
    'A05 without a rule a response that says only "%s" is not stored',
    async (value) => {
      const made = await handled({}, (_req, res, run) => res.set('Cache-Control', value).end(`run ${run}`));
      await made.get('/x');
      expect((await made.get('/x')).text).toBe('run 2');
    },
  );

  it.each([
    ['an asterisk', '*'],
    ['an asterisk in a list', 'accept, *'],
    ['no list of names', 'foo bar'],
    ['a name of 200 characters', 'a'.repeat(200)],
    ['500 names', Array.from({ length: 500 }, (_, i) => `n${i}`).join(', ')],
    ['31 names', Array.from({ length: 31 }, (_, i) => `n${i}`).join(', ')],
  ])('A07 Vary that is %s is not stored', async (_case, vary) => {
    const made = await handled(RULE, (_req, res, run) => res.set('Vary', vary).end(`run ${run}`));
    const first = await made.get('/x');
    expect(first.cacheStatus).toMatch(/detail=vary/);
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it.each([
    ['only commas', ',,,'],
    ['empty', ''],
  ])('A07 Vary that is %s names nothing', async (_case, vary) => {
    const made = await handled(RULE, (_req, res, run) => res.set('Vary', vary).end(`run ${run}`));
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 1');
  });

  it('A08 a header that only the response names keeps tenants apart', async () => {
    const made = await handled(RULE, (req, res) =>
      res.set('Vary', 'X-Tenant').end(`for ${req.get('x-tenant')}`),
    );
    for (const tenant of ['t1', 't2', 't1', 't2', undefined]) {
      expect((await made.get('/x', tenant ? { 'x-tenant': tenant } : {})).text).toBe(`for ${tenant}`);
    }
    expect(made.runs()).toBe(3);
  });

  it('A08 an absent header, an empty one and its own name are three values', async () => {
    const made = await handled(RULE, (req, res) => res.set('Vary', 'X-T').end(`${req.get('x-t')}.`));
    expect((await made.get('/x')).text).toBe('undefined.');
    expect((await made.get('/x', { 'x-t': '' })).text).toBe('.');
    expect((await made.get('/x', { 'x-t': 'undefined' })).text).toBe('undefined.');
    expect(made.runs()).toBe(3);
  });

  it('A09 when the responses of one URL name different headers, all of them count', async () => {
    const made = await handled(RULE, (req, res) => {
      // Only premium visitors get a page that depends on the second header.
      const premium = req.get('x') === 'premium';
      res
        .set('Vary', premium ? 'X, Y' : 'X')
        .end(premium ? `x ${req.get('x')} y ${req.get('y')}` : `x ${req.get('x')}`);
    });
    const see = async (x: string, y: string) => (await made.get('/x', { x, y })).text;
    expect(await see('a', '1')).toBe('x a');
    expect(await see('premium', '1')).toBe('x premium y 1');
    expect(await see('premium', '2')).toBe('x premium y 2');
    expect(await see('premium', '1')).toBe('x premium y 1');
    expect(await see('a', '1')).toBe('x a');
    const runs = made.runs();
    expect(await see('a', '1')).toBe('x a');
    expect(await see('premium', '2')).toBe('x premium y 2');
    expect(made.runs()).toBe(runs);
  });

  it('A09 when the responses of one URL name now one header, now another, both count', async () => {
    const made = await handled(RULE, (req, res, run) => {
      res.set('Vary', run % 2 ? 'X' : 'Y').end(`${req.get('x')} ${req.get('y')}`);
    });
    for (const [x, y] of ['a1', 'b2', 'a2', 'b1', 'a1', 'b2', 'a2', 'b1'] as unknown as [string, string][]) {
      expect((await made.get('/x', { x, y })).text).toBe(`${x} ${y}`);
    }
  });

  it('A09 a response without Vary does not answer for those that had one', async () => {
    const made = await handled(RULE, (req, res, run) => {
      if (run !== 2) res.set('Vary', 'X');
      res.end(`x ${req.get('x')}`);
    });
    for (const x of ['a', 'b', 'c', 'a', 'b', 'c']) expect((await made.get('/x', { x })).text).toBe(`x ${x}`);
  });

  it.each([500, 502, 503, 504])('A10 a %i is not stored, whatever it says', async (status) => {
    const made = await handled(RULE, (_req, res, run) => {
      res
        .set('Cache-Control', 'public, max-age=60')
        .status(run === 1 ? status : 200)
        .end(`run ${run}`);
    });
    expect((await made.get('/x')).status).toBe(status);
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 2' });
  });

  it('A10 an error that the handler throws is not stored', async () => {
    const made = await handled(RULE, (_req, res, run) => {
      if (run === 1) throw new Error('once');
      res.end(`run ${run}`);
    });
    expect((await made.get('/x')).status).toBe(500);
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it.each([400, 401, 403, 404, 405, 410, 413, 414, 429, 431, 451, 501])(
    'A11 a %i that an attacker provokes does not become the page',
    async (status) => {
      const made = await handled(RULE, (req, res) => {
        const attacked = (req.get('x-big')?.length ?? 0) > 4000 || req.get('x-meta')?.includes('\t');
        res
          .set('Cache-Control', 'public, max-age=60')
          .status(attacked ? status : 200)
          .end(attacked ? 'error' : 'page');
      });
      expect((await made.get('/x', { 'x-big': 'a'.repeat(5000) })).status).toBe(status);
      expect((await made.get('/x', { 'x-meta': 'a\tb' })).status).toBe(status);
      expect(await made.get('/x')).toMatchObject({ status: 200, text: 'page' });
      expect(made.cache.stats().entries).toBe(1);
    },
  );

  it('A11 a 404 is stored only where the rule lists it', async () => {
    const made = await handled(
      { '/listed': { ttl: '1m', statuses: [200, 404] }, '/plain': { ttl: '1m' } },
      (_req, res, run) => res.status(404).end(`run ${run}`),
    );
    expect((await made.get('/listed')).text).toBe((await made.get('/listed')).text);
    expect((await made.get('/plain')).text).not.toBe((await made.get('/plain')).text);
  });

  it.each([
    ['before', 'a header'],
    ['after', 'a header'],
    ['before', 'a function'],
    ['after', 'a function'],
  ])(
    'A12 method-override mounted %s the cache, with %s, stores nothing of the other method',
    async (place, by) => {
      const getter = (req: { headers: Record<string, unknown> }) =>
        String(req.headers['x-http-method-override'] ?? '');
      const override = methodOverride(by === 'a header' ? 'X-HTTP-Method-Override' : (getter as never), {
        methods: null as unknown as string[],
      });
      const made = await cacheApp({
        express,
        cache: { routes: RULE },
        before: (app) => void (place === 'before' && app.use(override)),
        routes: (app, { count }) => {
          if (place === 'after') app.use(override);
          app.delete('/item', (_req, res) =>
            res.set('Cache-Control', 'public, max-age=60').send(`deleted ${count('delete')}`),
          );
          app.get('/item', (_req, res) =>
            res.set('Cache-Control', 'public, max-age=60').send(`item ${count('get')}`),
          );
          app.put('/item', (_req, res) => res.status(405).end());
        },
      });
      expect((await made.get('/item', { 'x-http-method-override': 'PUT' })).status).toBe(405);
      expect((await made.get('/item', { 'x-http-method-override': 'DELETE' })).text).toBe('deleted 1');
      expect(made.cache.stats().stores).toBe(0);
      expect(await made.get('/item')).toMatchObject({ status: 200, text: 'item 1' });
      expect((await made.get('/item')).text).toBe('item 1');
    },
  );

  it.each([201, 202, 203, 204, 205, 206, 300, 302, 303, 304, 307])(
    'A13 a %i to a special request does not become the page',
    async (status) => {
      const made = await handled(RULE, (req, res) => {
        res.set('Cache-Control', 'public, max-age=60');
        if (req.get('x-special')) res.status(status).end();
        else res.send('the whole page');
      });
      expect((await made.get('/x', { 'x-special': '1' })).status).toBe(status);
      expect(await made.get('/x')).toMatchObject({ status: 200, text: 'the whole page' });
      expect(await made.get('/x')).toMatchObject({ status: 200, text: 'the whole page' });
    },
  );

  it.each([
    ['if-none-match', '"v1"'],
    ['if-modified-since', 'Sun, 06 Nov 2044 08:49:37 GMT'],
    ['range', 'bytes=0-3'],
  ])('A13 a first request with %s does not leave a part for those who come after', async (name, value) => {
    const made = await handled(RULE, (req, res) => {
      res.set({ ETag: '"v1"', 'Last-Modified': 'Sun, 06 Nov 1994 08:49:37 GMT' });
      if (req.get('range')) res.status(206).set('Content-Range', 'bytes 0-3/14').end('the ');
      else res.send('the whole page');
    });
    // Not with fetch, which adds `Cache-Control: no-cache` to a condition: Express would not answer it with 304.
    const first = await made.raw(`GET /x HTTP/1.1\n${name}: ${value}\nConnection: close`);
    expect([206, 304]).toContain(first.status);
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'the whole page' });
    // And to whoever has it, or wants a part of it, the stored one is an answer too.
    expect([200, 206, 304]).toContain((await made.get('/x', { [name]: value })).status);
    // A condition was kept from the handler, so the first fill already recorded the whole.
    expect(made.runs()).toBe(name === 'range' ? 2 : 1);
  });

  it('A14 a redirect that names the host goes to those of the same host alone', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: RULE },
      before: (app) => app.set('trust proxy', true),
      routes: (app, { count }) =>
        app.get('/old', (req, res) => {
          count();
          res.redirect(301, `${req.protocol}://${(req as { host?: string }).host ?? req.hostname}/new`);
        }),
    });
    const location = async (headers: string) =>
      (await made.raw(`GET /old HTTP/1.1\n${headers}\nConnection: close`)).header('location');
    expect(await location('Host: evil.example')).toContain('http://evil.example');
    expect(await location('Host: good.example\nX-Forwarded-Host: evil.example')).toContain(
      'http://evil.example',
    );
    expect(await location('Host: good.example\nX-Forwarded-Proto: https')).toContain('https://good.example');
    expect(await location('Host: good.example')).toContain('http://good.example');
    expect(await location('Host: good.example')).toContain('http://good.example');
    expect(made.runs()).toBe(4);
  });

  it.each([302, 303, 307])('A14 a %i, which often depends on who asks, is not stored', async (status) => {
    const made = await handled(RULE, (_req, res, run) =>
      res.set('Cache-Control', 'public, max-age=60').redirect(status, `/to/${run}`),
    );
    await made.get('/old');
    expect((await made.get('/old')).headers.get('location')).toBe('/to/2');
  });

  it.each(['DELETE', 'POST', 'PUT', 'PATCH', 'PROPFIND', 'OPTIONS', 'REPORT'])(
    'A15 %s is neither stored nor answered from the store',
    async (method) => {
      const made = await handled(RULE, (req, res) => {
        made.count(req.method);
        res.set('Cache-Control', 'public, max-age=60').end(`m ${req.method}`);
      });
      const send = () => made.get('/x', {}, { method });
      expect((await send()).text).toBe(`m ${method}`);
      expect((await made.get('/x')).text).toBe('m GET');
      expect((await send()).text).toBe(`m ${method}`);
      expect((await made.get('/x')).text).toBe('m GET');
      expect(made.runs(method)).toBe(2);
    },
  );

  it('A15 HEAD is answered from what GET stored, and stores nothing itself', async () => {
    const made = await handled(RULE, (req, res, run) => res.end(`${req.method} ${run}`));
    expect((await made.get('/x', {}, { method: 'HEAD' })).text).toBe('');
    expect((await made.get('/x')).text).toBe('GET 2');
    expect(await made.get('/x', {}, { method: 'HEAD' })).toMatchObject({ status: 200, text: '' });
    expect(made.runs()).toBe(2);
  });

  it.each(['no-store', 'no-cache', 'max-age=0', 'only-if-cached'])(
    "A24 a visitor's own Cache-Control: %s forces no run, as the default promises",
    async (value) => {
      const made = await handled(RULE, (_req, res, run) => res.end(`run ${run}`));
      expect((await made.get('/x', { 'cache-control': value, pragma: 'no-cache' })).text).toBe('run 1');
      expect((await made.get('/x')).text).toBe('run 1');
      expect(await made.get('/x', { 'cache-control': value, pragma: 'no-cache' })).toMatchObject({
        status: 200,
        text: 'run 1',
      });
    },
  );
});
