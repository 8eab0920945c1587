import type { Request, Response } from 'express';
import methodOverride from 'method-override';
import { describe, expect, it } from 'vitest';
import { cacheApp } from '../../helpers/cache.js';
import { majors } from '../../helpers/http.js';

const RULE = { '/*path': { ttl: '1m' } } as const;

describe.each(majors)('storable responses (%s)', (_name, express) => {
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
    ['private beside a lifetime', 'PRIVATE , max-age=5'],
    ['two lines', ['public, max-age=60', 'no-store']],
    ['a malformed second line', ['public, max-age=60', 'public, max-age=60; no-store']],
  ])('does not store Cache-Control with %s, and forwards it unchanged [A05]', async (_case, value) => {
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
  ])('respects Cache-Control passed to writeHead as %s [A05]', async (_case, write) => {
    const made = await handled(RULE, (_req, res, run) => write(res).end(`run ${run}`));
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('does not read a directive inside a quoted string [A05]', async () => {
    const value = 'public, max-age=60, x="a,no-store"';
    const made = await handled({}, (_req, res, run) => res.set('Cache-Control', value).end(`run ${run}`));
    await made.get('/x');
    expect((await made.get('/x')).text).toBe('run 1');
  });

  it.each([
    ['an asterisk', '*'],
    ['500 names', Array.from({ length: 500 }, (_, i) => `n${i}`).join(', ')],
  ])('does not store a response whose Vary is %s [A07]', async (_case, vary) => {
    const made = await handled(RULE, (_req, res, run) => res.set('Vary', vary).end(`run ${run}`));
    const first = await made.get('/x');
    expect(first.cacheStatus).toMatch(/detail=vary/);
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it('keeps tenants apart by a header that only the response names [A08]', async () => {
    const made = await handled(RULE, (req, res) =>
      res.set('Vary', 'X-Tenant').end(`for ${req.get('x-tenant')}`),
    );
    for (const tenant of ['t1', 't2', 't1', 't2', undefined]) {
      expect((await made.get('/x', tenant ? { 'x-tenant': tenant } : {})).text).toBe(`for ${tenant}`);
    }
    expect(made.runs()).toBe(3);
  });

  it('distinguishes a missing header, an empty one and the value "undefined" [A08]', async () => {
    const made = await handled(RULE, (req, res) => res.set('Vary', 'X-T').end(`${req.get('x-t')}.`));
    expect((await made.get('/x')).text).toBe('undefined.');
    expect((await made.get('/x', { 'x-t': '' })).text).toBe('.');
    expect((await made.get('/x', { 'x-t': 'undefined' })).text).toBe('undefined.');
    expect(made.runs()).toBe(3);
  });

  it('separates by all headers when responses of one URL name different ones [A09]', async () => {
    const made = await handled(RULE, (req, res) => {
      // Only premium clients get a page that depends on the second header.
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

  it('separates by both headers when responses of one URL alternate between them [A09]', async () => {
    const made = await handled(RULE, (req, res, run) => {
      res.set('Vary', run % 2 ? 'X' : 'Y').end(`${req.get('x')} ${req.get('y')}`);
    });
    for (const [x, y] of ['a1', 'b2', 'a2', 'b1', 'a1', 'b2', 'a2', 'b1'] as unknown as [string, string][]) {
      expect((await made.get('/x', { x, y })).text).toBe(`${x} ${y}`);
    }
  });

  it('does not serve a response without Vary for those with Vary [A09]', async () => {
    const made = await handled(RULE, (req, res, run) => {
      if (run !== 2) res.set('Vary', 'X');
      res.end(`x ${req.get('x')}`);
    });
    for (const x of ['a', 'b', 'c', 'a', 'b', 'c']) expect((await made.get('/x', { x })).text).toBe(`x ${x}`);
  });

  it('does not store a 503, even with a lifetime [A10]', async () => {
    const status = 503;
    const made = await handled(RULE, (_req, res, run) => {
      res
        .set('Cache-Control', 'public, max-age=60')
        .status(run === 1 ? status : 200)
        .end(`run ${run}`);
    });
    expect((await made.get('/x')).status).toBe(status);
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'run 2' });
  });

  it('does not store an error that the handler throws [A10]', async () => {
    const made = await handled(RULE, (_req, res, run) => {
      if (run === 1) throw new Error('once');
      res.end(`run ${run}`);
    });
    expect((await made.get('/x')).status).toBe(500);
    expect((await made.get('/x')).text).toBe('run 2');
  });

  it.each([400, 404, 431])('does not store a %i that an attacker provokes [A11]', async (status) => {
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
  });

  it.each([204, 404])('stores a %i only when the rule lists it [A10, A11, A13]', async (status) => {
    const made = await handled(
      { '/listed': { ttl: '1m', statuses: [200, status] }, '/plain': { ttl: '1m' } },
      (_req, res, run) => res.status(status).set('X-Run', `${run}`).end(),
    );
    const runOf = async (path: string) => (await made.get(path)).headers.get('x-run');
    expect(await runOf('/listed')).toBe(await runOf('/listed'));
    expect(await runOf('/plain')).not.toBe(await runOf('/plain'));
    expect(await made.get('/listed')).toMatchObject({ status, xCache: 'HIT' });
  });

  it.each([
    ['before', 'a header'],
    ['after', 'a header'],
    ['before', 'a function'],
    ['after', 'a function'],
  ])('stores nothing of another method with method-override %s the cache, by %s [A12]', async (place, by) => {
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
  });

  it.each([204, 206, 304])('does not store a %i to a special request as the page [A13]', async (status) => {
    const made = await handled(RULE, (req, res) => {
      res.set('Cache-Control', 'public, max-age=60');
      if (req.get('x-special')) res.status(status).end();
      else res.send('the whole page');
    });
    expect((await made.get('/x', { 'x-special': '1' })).status).toBe(status);
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'the whole page' });
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'the whole page' });
  });

  it.each([
    ['if-none-match', '"v1"'],
    ['if-modified-since', 'Sun, 06 Nov 2044 08:49:37 GMT'],
    ['range', 'bytes=0-3'],
  ])('stores no part from a first request with %s [A13]', async (name, value) => {
    const made = await handled(RULE, (req, res) => {
      res.set({ ETag: '"v1"', 'Last-Modified': 'Sun, 06 Nov 1994 08:49:37 GMT' });
      if (req.get('range')) res.status(206).set('Content-Range', 'bytes 0-3/14').end('the ');
      else res.send('the whole page');
    });
    // Not with fetch, which adds `Cache-Control: no-cache` to a condition: Express would not send a 304.
    const first = await made.raw(`GET /x HTTP/1.1\n${name}: ${value}\nConnection: close`);
    expect([206, 304]).toContain(first.status);
    expect(await made.get('/x')).toMatchObject({ status: 200, text: 'the whole page' });
    // The entry also serves a client that has it, or that requests a part of it.
    expect([200, 206, 304]).toContain((await made.get('/x', { [name]: value })).status);
    // The condition was hidden from the handler, so the first fill is complete.
    expect(made.runs()).toBe(name === 'range' ? 2 : 1);
  });

  it('serves a redirect with a host only for requests to the same host [A14]', async () => {
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

  it('does not store a 302, which often depends on the client [A14]', async () => {
    const made = await handled(RULE, (_req, res, run) =>
      res.set('Cache-Control', 'public, max-age=60').redirect(302, `/to/${run}`),
    );
    await made.get('/old');
    expect((await made.get('/old')).headers.get('location')).toBe('/to/2');
  });

  it.each(['POST', 'PROPFIND', 'OPTIONS'])(
    'neither stores %s nor serves it from the store [A15]',
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

  it('serves HEAD from a stored GET and stores nothing from HEAD [A15]', async () => {
    const made = await handled(RULE, (req, res, run) => res.end(`${req.method} ${run}`));
    expect((await made.get('/x', {}, { method: 'HEAD' })).text).toBe('');
    expect((await made.get('/x')).text).toBe('GET 2');
    expect(await made.get('/x', {}, { method: 'HEAD' })).toMatchObject({ status: 200, text: '' });
    expect(made.runs()).toBe(2);
  });

  it("ignores the client's Cache-Control by default [A24]", async () => {
    const made = await handled(RULE, (req, res) => res.end(`run ${made.count(req.path)}`));
    for (const value of ['no-store', 'no-cache', 'max-age=0', 'only-if-cached']) {
      const asked = () => made.get(`/${value}`, { 'cache-control': value, pragma: 'no-cache' });
      expect((await asked()).text).toBe('run 1');
      expect((await made.get(`/${value}`)).text).toBe('run 1');
      expect(await asked()).toMatchObject({ status: 200, text: 'run 1' });
    }
  });
});
