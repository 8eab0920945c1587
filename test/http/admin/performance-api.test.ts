import { type HotpathConfig, type HotpathError, hotpath } from 'hotpath';
import { basicAuth, health, type PerformanceApiOptions, performanceApi, shutdown } from 'hotpath/admin';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, majors, waitFor } from '../../helpers/http.js';
import { expectDocumented, expectSchema, openApi } from '../../helpers/openapi.js';

const later = closeAfterEach();
afterEach(() => vi.unstubAllEnvs());

const LOGIN = { authorization: `Basic ${Buffer.from('admin:secret').toString('base64')}` };
const CHANGE = { ...LOGIN, 'content-type': 'application/json', 'x-hotpath-request': '1' };

interface Served {
  readonly express?: typeof express5;
  readonly config?: HotpathConfig;
  readonly options?: Partial<PerformanceApiOptions>;
  /** Opens the front door. */
  readonly isAttached?: boolean;
}

async function serve({ express = express5, config, options, isAttached }: Served = {}) {
  const perf = hotpath(config);
  const app = express();
  app.use(perf);
  app.get('/items/:id', (req, res) => void res.json({ id: req.params.id, text: 'x'.repeat(2000) }));
  app.use(health());
  app.get('/metrics', perf.metrics.handler);
  app.get('/broken', (_req, res) => void res.status(503).end());
  const api = performanceApi({
    perf,
    authorize: basicAuth({ users: { admin: 'secret' } }),
    ...options,
  });
  app.use('/api/v1/performance', api);
  if (isAttached) perf.attach(app);
  const server = later(await listen(app));
  later(perf);
  later(api);
  const base = `${server.url}/api/v1/performance`;
  const read = async (path: string) => {
    const response = await fetch(`${base}${path}`, { headers: LOGIN });
    return (await expectDocumented(response, 'GET', path.split('?')[0]!)) as {
      // biome-ignore lint/suspicious/noExplicitAny: its form is checked against the file.
      [name: string]: any;
    };
  };
  const change = async (path: string, body: unknown, headers: Record<string, string> = CHANGE) => {
    const text = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const response = await fetch(`${base}${path}`, { method: 'POST', headers, body: text });
    return { status: response.status, body: (await expectDocumented(response, 'POST', path)) as object };
  };
  return { ...server, perf, api, base, read, change };
}

const RULE: HotpathConfig = { routes: { '/items/:id': { cache: { ttl: '1m', tags: ['items'] } } } };

describe.each(majors)('the performance API on %s', (_name, express) => {
  it('answers every resource as the OpenAPI file says, with counts that agree with the requests', async () => {
    const pool = { totalCount: 4, idleCount: 1, waitingCount: 0, options: { max: 4 } };
    const custom = { jobs: { value: () => 7, over: 5, for: '5s' } } as const;
    const config = { ...RULE, alerts: { custom } };
    const { url, read, perf } = await serve({ express, config, options: { pool } });
    for (const path of ['/items/1', '/items/1', '/items/2', '/broken', '/nowhere']) await fetch(url + path);
    await waitFor(() => perf.telemetry!.snapshot().requests.sinceStart.requests === 5);
    await perf.telemetry!.step();

    const api = await read('/api');
    expect(api.volatile.requests.sinceStart).toMatchObject({ requests: 5, clientErrors: 1, serverErrors: 1 });
    const byRoute = api.volatile.routes.map((each: { route: string; sinceStart: { requests: number } }) => [
      each.route,
      each.sinceStart.requests,
    ]);
    expect(byRoute).toEqual([
      ['/items/:id', 3],
      ['/broken', 1],
      ['unmatched', 1],
    ]);
    expect((await read('/api?limit=1')).volatile.routes).toHaveLength(1);
    expect((await read('/api?limit=1&sort=errors')).volatile.routes[0].route).toBe('/broken');
    const cache = await read('/cache');
    expect(cache.volatile.use).toMatchObject({ hits: 1, misses: 2 });
    expect(cache.volatile.topKeys).toEqual([{ url: '/items/1', hits: 1 }]);
    expect(cache.stable).toMatchObject({ isOn: true, maxEntries: 10_000 });
    const urls = async (query: string) =>
      (await read(`/cache${query}`)).volatile.list.keys.map((each: { url: string }) =>
        each.url.replace(url, ''),
      );
    expect(await urls('')).toEqual(expect.arrayContaining(['/items/1', '/items/2']));
    expect(await urls('?keys=1')).toHaveLength(1);
    expect(await urls('?prefix=/items/2&tag=items&route=/items/:id')).toEqual(['/items/2']);
    expect(await urls('?tag=none')).toEqual([]);
    const system = await read('/system');
    expect(system.volatile.process.rssBytes).toBeGreaterThan(1e7);
    expect(await read('/system?part=stable')).not.toHaveProperty('volatile');
    expect((await read('/database')).volatile.pool).toEqual({
      totalCount: 4,
      idleCount: 1,
      waitingCount: 0,
      activeCount: 3,
      isSaturated: false,
    });
    expect((await read('/warming')).volatile).toEqual({ tasks: [] });
    perf.warming.register({ name: 'items', task: () => {}, critical: true });
    expect((await read('/warming')).volatile.tasks).toMatchObject([{ name: 'items', last_run: null }]);
    await perf.warming.run('items');
    const [task] = (await read('/warming')).volatile.tasks;
    expect(task).toMatchObject({ critical: true, execution_count: 1, success_count: 1, failure_count: 0 });
    expect((await read('/advice')).volatile.advice).toBeInstanceOf(Array);
    expect((await read('/history')).volatile.process.at).not.toEqual([]);
    expect((await read(`/history?since=${Date.now() + 1000}`)).volatile.process.at).toEqual([]);
    const { alerts } = (await read('/alerts')).volatile;
    const states = alerts.map(({ name, state }: { name: string; state: string }) => [name, state]);
    expect(states).toEqual([
      ['slowRequests', 'ok'],
      ['errorRate', 'ok'],
      ['eventLoop', 'ok'],
      ['jobs', 'firing'],
    ]);
    const { instances } = (await read('/instances')).volatile;
    expect(instances).toMatchObject([{ firing: [{ name: 'jobs', value: 7 }] }]);
    for (const which of ['all', instances[0].id]) {
      const sums = await read(`/api?instance=${which}`);
      expect(sums.volatile.requests.sinceStart.requests).toBe(5);
      expect((await read(`/cache?instance=${which}`)).volatile.use.hits).toBe(1);
      expect((await read(`/alerts?instance=${which}`)).volatile.alerts).toMatchObject([
        { name: 'jobs', state: 'firing', instance: instances[0].id },
      ]);
    }
    const { resources } = await read('/');
    expect(new Set(resources.map((each: { path: string }) => each.path)).add('/')).toEqual(
      new Set(Object.keys(openApi.paths)),
    );
  });

  it('purges, expires and explains, on a body that a parser of the app has read or not', async () => {
    for (const isParsed of [false, true]) {
      const perf = hotpath(RULE);
      const app = express();
      app.use(perf);
      if (isParsed) app.use(express.json());
      let made = 0;
      app.get('/items/:id', (_req, res) => void res.json({ made: ++made }));
      app.use('/p', performanceApi({ perf, authorize: () => true }));
      const { url } = later(await listen(app));
      later(perf);
      const post = async (path: string, body: unknown) => {
        const response = await fetch(`${url}/p${path}`, {
          method: 'POST',
          headers: { ...CHANGE, 'content-type': 'application/json; charset=UTF-8' },
          body: JSON.stringify(body),
        });
        return (await expectDocumented(response, 'POST', path)) as Record<string, unknown>;
      };
      const get = async () => (await fetch(`${url}/items/1`)).headers.get('x-cache');
      expect([await get(), await get()]).toEqual(['MISS', 'HIT']);
      expect(await post('/cache/explain', { url: `${url}/items/1` })).toMatchObject({
        result: 'HIT',
        entry: { tags: ['items'] },
      });
      expect(await post('/cache/purge', { tag: 'items' })).toMatchObject({ acknowledged: true });
      expect([await get(), await get()]).toEqual(['MISS', 'HIT']);
      await post('/cache/expire', { selectors: [{ url: '/items/1' }, { pattern: '/other/:id' }] });
      expect(await get()).not.toBe('HIT');
    }
  });

  it('lists slow requests, previews a purge, and optimises, as the OpenAPI file says', async () => {
    const { url, read, change, perf } = await serve({ express, config: RULE });
    const runs: string[] = [];
    perf.warming.register({ name: 'items', task: () => void runs.push('items'), critical: true });
    perf.warming.register({ name: 'others', task: () => void runs.push('others') });
    for (const path of ['/items/1', '/items/1', '/items/2', '/broken'])
      await (await fetch(url + path)).text();
    await waitFor(() => perf.telemetry!.snapshot().requests.sinceStart.requests === 4);

    const { requests } = (await read('/slow-requests')).volatile;
    const routes = requests.map((each: { route: string; status: number }) => `${each.status} ${each.route}`);
    expect(routes.sort()).toEqual(['200 /items/:id', '200 /items/:id', '200 /items/:id', '503 /broken']);
    expect(JSON.stringify(requests)).not.toContain('/items/1');
    expect(await read('/slow-requests?part=stable')).not.toHaveProperty('volatile');

    const preview = (selector: object) => change('/cache/preview', selector);
    expect((await preview({ tag: 'items' })).body).toMatchObject({ count: 2, complete: true });
    expect((await preview({ selectors: [{ url: '/items/1' }, { tag: 'none' }] })).body).toMatchObject({
      count: 1,
      keys: [{ url: `${url}/items/1` }],
    });
    expect(perf.cache.stats()).toMatchObject({ purges: 0, entries: 2 });

    const { status, body } = await change('/optimize', {});
    expect([status, body]).toMatchObject([200, { warming: [{ name: 'items' }], encodings: { queued: 0 } }]);
    expect(runs).toEqual(['items']);
  });

  it('is never stored or served by the cache, and counts in no figure of the app [J05]', async () => {
    const config: HotpathConfig = {
      routes: { '/*path': { cache: { ttl: '1m', shared: true, vary: { cookies: [] } } } },
    };
    const { perf, base, url, api } = await serve({
      express,
      config,
      isAttached: true,
      options: { authorize: () => true },
    });
    expect(api).toBeTypeOf('function');
    for (let at = 0; at < 3; at++) {
      const response = await fetch(`${base}/system`);
      expect(response.headers.get('cache-control')).toBe('no-store');
      expect(response.headers.get('x-cache')).toMatch(/MISS|PASS|BYPASS/);
      await response.text();
      await (await fetch(`${base}/nope`)).text();
    }
    await (await fetch(`${base}/system`, { headers: { cookie: 'a=b', authorization: 'a' } })).text();
    await (await fetch(`${url}/metrics`)).text();
    await (await fetch(`${url}/readyz`)).text();
    const none = {
      entries: 0,
      hits: 0,
      stores: 0,
      misses: 0,
      passes: 0,
      bypasses: {},
      refusals: {},
      routes: {},
    };
    expect(perf.cache.stats()).toMatchObject(none);
    await (await fetch(`${url}/broken`)).text();
    await waitFor(() => perf.telemetry!.snapshot().requests.sinceStart.requests > 0);
    expect(perf.telemetry!.routes().map(({ route }) => route)).toEqual(['/broken']);
    const text = await perf.metrics.registry!.metrics();
    expect(text.match(/^http_requests_total\{.*$/gm)).toEqual([
      'http_requests_total{method="GET",path="/broken",status="503"} 1',
    ]);
  });

  it('streams one snapshot a second to all listeners, within bounds, until it is closed', async () => {
    const { base, api, perf } = await serve({ express, options: { maxListeners: 2 } });
    const open = () => fetch(`${base}/events`, { headers: { ...LOGIN, 'accept-encoding': 'gzip, br' } });
    const snapshot = vi.spyOn(perf.telemetry!, 'snapshot');
    const streams = [await open(), await open()];
    expect(Object.fromEntries(streams[0]!.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    expect(streams[0]!.headers.get('content-encoding')).toBeNull();
    const refused = await open();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    await expectDocumented(refused, 'GET', '/events');
    const received = streams.map(async (stream) => {
      let text = '';
      for await (const chunk of stream.body!) text += Buffer.from(chunk).toString();
      return text;
    });
    await waitFor(() => snapshot.mock.calls.length >= 3);
    const made = snapshot.mock.calls.length;
    api.close();
    const [first, second] = await Promise.all(received);
    const eventsOf = (text: string) =>
      text.split('\n\n').filter((part) => part.startsWith('event: snapshot\n'));
    // On a busy machine, the second client may come too late for the first event.
    expect([made, made - 1]).toContain(eventsOf(first!).length);
    expect(eventsOf(first!).slice(-1)).toEqual(eventsOf(second!).slice(-1));
    for (const event of eventsOf(first!)) expectSchema('Snapshot', JSON.parse(event.split('data: ')[1]!));
    expect((await open()).status).toBe(503);
  });
});

describe('the performance API', () => {
  it.each([
    ['GET', '/nope', 404],
    ['GET', '//system', 404],
    ['GET', '/System', 404],
    ['GET', '/%73ystem', 404],
    ['GET', '/system/', 404],
    ['GET', '/system?par=stable', 400],
    ['GET', '/system?part=stable&part=volatile', 400],
    ['GET', '/system?__proto__=1', 400],
    ['GET', '/api?limit=501', 400],
    ['GET', '/cache?keys=0', 400],
    ['GET', '/cache?tag=%00', 400],
    ['GET', '/api?instance=nope', 404],
    ['GET', '/events?x=1', 400],
    ['POST', '/system', 405],
    ['DELETE', '/cache', 405],
    ['OPTIONS', '/cache', 405],
    ['GET', '/cache/purge', 405],
    ['PUT', '/cache/purge', 405],
  ])('answers %s %s with a problem of status %i', async (method, path, status) => {
    const { base } = await serve();
    const response = await fetch(base + path, { method, headers: CHANGE });
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(response.headers.get('cache-control')).toBe('no-store');
    if (status === 405)
      expect(response.headers.get('allow')).toBe(path === '/cache/purge' ? 'POST' : 'GET, HEAD');
    expectSchema('Problem', await response.json());
  });

  it('answers HEAD with the headers of GET alone, an event stream too', async () => {
    const { base } = await serve();
    for (const path of ['/system', '/events', '/nope']) {
      const response = await fetch(base + path, { method: 'HEAD', headers: LOGIN });
      expect([response.status, await response.text()]).toEqual([path === '/nope' ? 404 : 200, '']);
    }
  });

  it.each([
    ['no JSON', '{', CHANGE, 400],
    ['no object', '[]', CHANGE, 400],
    ['bytes that are no UTF-8', Buffer.from('{"url":"/\xff"}', 'latin1'), CHANGE, 400],
    ['no selector', '{}', CHANGE, 400],
    ['two members', '{"tag":"a","all":true}', CHANGE, 400],
    ['a member of the prototype', '{"__proto__":{"all":true}}', CHANGE, 400],
    ['other members beside the list', '{"selectors":[{"tag":"a"}],"all":true}', CHANGE, 400],
    ['no selectors', '{"selectors":[]}', CHANGE, 400],
    ['too many selectors', JSON.stringify({ selectors: Array(101).fill({ tag: 'a' }) }), CHANGE, 400],
    ['a pattern of many wildcards', `{"pattern":"${'/*w'.repeat(40)}"}`, CHANGE, 400],
    ['a long pattern', `{"pattern":"/${'a'.repeat(60_000)}"}`, CHANGE, 400],
    ['a pattern of many optional parts', `{"pattern":"/a${'{/b}'.repeat(200)}"}`, CHANGE, 400],
    ['deep nesting', `${'['.repeat(30_000)}${']'.repeat(30_000)}`, CHANGE, 400],
    ['too many bytes', `{"tag":"${'a'.repeat(70_000)}"}`, CHANGE, 413],
    ['another type', '{"tag":"a"}', { ...CHANGE, 'content-type': 'text/plain' }, 415],
    ['a type that begins alike', '{"tag":"a"}', { ...CHANGE, 'content-type': 'application/jsonp' }, 415],
    [
      'another charset',
      '{"tag":"a"}',
      { ...CHANGE, 'content-type': 'application/json; charset=utf-16' },
      415,
    ],
    ['a compressed body', '{"tag":"a"}', { ...CHANGE, 'content-encoding': 'gzip' }, 415],
  ])('refuses a purge with %s, and purges nothing', async (_name, body, headers, status) => {
    const { change, perf } = await serve({ config: { sizeLimit: false } });
    expect((await change('/cache/purge', body, headers)).status).toBe(status);
    expect(perf.cache.stats().purges).toBe(0);
  });

  it.each([
    ['/cache/preview', '{"tag":"items","x":1}', CHANGE, 400],
    ['/cache/preview', '{}', CHANGE, 400],
    ['/cache/preview', '{"tag":"items"}', { ...CHANGE, 'content-type': 'text/plain' }, 415],
    ['/cache/preview', '{"tag":"items"}', { ...CHANGE, 'x-hotpath-request': '0' }, 403],
    ['/optimize', '{}', { ...CHANGE, 'content-type': 'text/plain' }, 415],
    ['/optimize', '{}', { ...CHANGE, 'x-hotpath-request': '0' }, 403],
    ['/optimize', '{"all":true}', CHANGE, 400],
  ])('refuses POST %s of %s', async (path, body, headers, status) => {
    const { change, perf } = await serve({ config: RULE });
    const task = vi.fn();
    perf.warming.register({ name: 'items', task, critical: true });
    expect((await change(path, body, headers)).status).toBe(status);
    expect(task).not.toHaveBeenCalled();
  });

  it.each([
    { url: 1 },
    { url: 'javascript:alert(1)' },
    { url: '/a', method: 'GET\r\nX: y' },
    { url: '/a', headers: { cookie: 1 } },
    { url: '/a', socket: {} },
  ])('refuses to explain %j', async (body) => {
    const { change } = await serve({ config: RULE });
    expect((await change('/cache/explain', body)).status).toBe(400);
  });

  it('says that the cache is off, and still has all other figures', async () => {
    const { change, read } = await serve({ config: { cache: false } });
    for (const path of ['/cache/purge', '/cache/expire', '/cache/preview', '/cache/explain'])
      expect((await change(path, { tag: 'a' })).status).toBe(409);
    expect((await change('/optimize', {})).body).toMatchObject({ encodings: null });
    expect(await read('/cache')).toMatchObject({ stable: { isOn: false }, volatile: { store: null } });
  });

  it('tells clients nothing of an exception, and reports it', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const { base, perf } = await serve();
    vi.spyOn(perf.telemetry!, 'system').mockImplementation(() => {
      throw new Error('secret of the app');
    });
    const response = await fetch(`${base}/system`, { headers: LOGIN });
    const text = JSON.stringify(await expectDocumented(response, 'GET', '/system'));
    expect([response.status, text.includes('secret')]).toEqual([500, false]);
    expect(JSON.stringify(warn.mock.calls)).toContain('secret of the app');
    warn.mockRestore();
  });

  it('is refused at its creation with every mistake', () => {
    const wrong = { perf: hotpath({ telemetry: false }), authorise: 1, pool: {}, maxListeners: 0 };
    const mistakes = (options: unknown) => {
      try {
        return performanceApi(options as never);
      } catch (error) {
        return (error as HotpathError).problems?.map(({ path, message }) => `${path}: ${message}`);
      }
    };
    expect(mistakes(wrong)).toEqual([
      expect.stringMatching(/^performanceApi\.authorise: .*did you mean 'authorize'/),
      expect.stringMatching(/^performanceApi\.perf: expected an instance with telemetry/),
      expect.stringMatching(/^performanceApi\.pool: expected a pool of pg/),
      expect.stringMatching(/^performanceApi\.maxListeners: expected a whole number/),
    ]);
    expect(mistakes({})).toEqual([
      expect.stringMatching(/^performanceApi\.perf: expected an instance of hotpath/),
    ]);
    expect(mistakes(undefined)).toHaveLength(1);
  });

  it.each(['shutdown', 'close of the instance'])('ends its event streams by %s', async (way) => {
    const { base, perf, server } = await serve();
    const stream = await fetch(`${base}/events`, { headers: LOGIN });
    const ended = way === 'shutdown' ? shutdown(server, { unreadyFor: 0 }) : perf.close();
    await stream.text();
    await ended;
  });
});
