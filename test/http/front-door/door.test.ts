import { createServer, type IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Request, Response } from 'express';
import { type HotpathConfig, HotpathError, hotpath } from 'hotpath';
import { describe, expect, it } from 'vitest';
import { bytesOf, head, type SiteOptions, site } from '../../front/helper.js';
import { listen, majors, raw, waitFor } from '../../helpers/http.js';
import { askMany } from '../../helpers/pipelined.js';

const shared = { ttl: 600, shared: true } as const;
const config: HotpathConfig = { routes: { '/:name': { cache: shared } } };
const routes: SiteOptions['routes'] = (app, count) =>
  app.get('/:name', (_req: Request, res: Response) => void res.send(`run ${count()}`));

describe.each(majors)('front door of an Express app (%s)', (_, express) => {
  const open = (options: Partial<SiteOptions> = {}) =>
    site({ express, way: 'door', config, routes, ...options });

  it('serves a hit before any middleware of the app runs', async () => {
    let seen = 0;
    const made = await open({
      before: (app) =>
        app.use((_req: IncomingMessage, _res: ServerResponse, next: () => void) => {
          seen++;
          next();
        }),
    });
    expect((await made.ask(head('/a'))).header('x-cache')).toBe('MISS');
    expect([(await made.ask(head('/a'))).text, seen, made.runs()]).toEqual(['run 1', 1, 1]);
    expect(made.perf.cache.stats()).toMatchObject({
      frontDoor: { hits: 1 },
      hits: 1,
      memory: { hits: 1, misses: 1 },
    });
  });

  it.each([
    ['Authorization', 'Bearer x'],
    ['Proxy-Authorization', 'Basic x'],
    ['X-Api-Key', 'x'],
    ['Cookie', 'sid=1'],
    ['X-Secret', 'x'],
  ])('skips a request with %s, even for a public response', async (name, value) => {
    const credentials = ['authorization', 'cookie', 'x-api-key', 'proxy-authorization', 'x-secret'];
    const made = await open({
      config: { cache: { credentials } },
      routes: (app, count) =>
        app.get(
          '/a',
          (_req, res) => void res.set('Cache-Control', 'public, max-age=60').send(`run ${count()}`),
        ),
    });
    await made.ask(head('/a'));
    await made.ask(head('/a'));
    expect(made.perf.cache.stats().frontDoor.hits).toBe(1);
    const answer = await made.ask(head('/a', { [name]: value }));
    // Inside Express, an explicitly public response is shared with every client.
    expect([answer.header('x-cache'), made.perf.cache.stats().frontDoor.hits]).toEqual(['HIT', 1]);
  });

  it('serves shared and public responses only; Express handles the rest', async () => {
    const made = await open({
      config: {
        routes: {
          '/shared': { cache: shared },
          '/private-rule': { cache: { ttl: 600 } },
          '/each': { cache: { ttl: 600, partition: ({ req }) => String(req.headers['x-user']) } },
          '/when': { cache: { ttl: 600, when: () => true } },
        },
      },
      routes: (app) => {
        app.get('/public', (_req, res) => void res.set('Cache-Control', 'public, max-age=60').send('public'));
        app.get('/:name', (_req, res) => void res.send('said nothing'));
      },
    });
    const byDoor = async (path: string) => {
      for (let i = 0; i < 2; i++) await made.ask(head(path, { 'X-User': 'u' }));
      const before = made.perf.cache.stats().frontDoor.hits;
      const answer = await made.ask(head(path, { 'X-User': 'u' }));
      return [answer.header('x-cache'), made.perf.cache.stats().frontDoor.hits - before];
    };
    expect(await byDoor('/shared')).toEqual(['HIT', 1]);
    expect(await byDoor('/public')).toEqual(['HIT', 1]);
    expect(await byDoor('/private-rule')).toEqual(['HIT', 0]);
    expect(await byDoor('/each')).toEqual(['HIT', 0]);
    expect(await byDoor('/when')).toEqual(['HIT', 0]);
    expect(await byDoor('/other')).toEqual(['PASS', 0]);
  });

  it('leaves a response with upstream headers to Express, which names the reason', async () => {
    let n = 0;
    const made = await open({
      before: (app) =>
        app.use((_req: Request, res: Response, next: () => void) => {
          res.set('X-RateLimit-Remaining', String(100 - n++));
          next();
        }),
    });
    await made.ask(head('/a'));
    const answers = [await made.ask(head('/a')), await made.ask(head('/a'))];
    expect(answers.map((answer) => answer.header('x-ratelimit-remaining'))).toEqual(['99', '98']);
    expect(answers[1]!.header('cache-status')).toMatch(/^hotpath; hit; ttl=\d+; detail=upstream-headers$/);
    expect(made.perf.cache.stats()).toMatchObject({ frontDoor: { hits: 0 }, hits: 2 });
  });

  it('never replays header fields that middlewares after hotpath set per request', async () => {
    let n = 0;
    const made = await open({
      routes: (app) => {
        app.use((_req: Request, res: Response, next: () => void) => {
          res.set({ 'RateLimit-Remaining': String(n++), 'X-Request-Id': `app-${n}` });
          next();
        });
        app.get('/:name', (_req, res) => void res.send('a'));
      },
    });
    await made.ask(head('/a'));
    const hit = await made.ask(head('/a'));
    expect(made.perf.cache.stats().frontDoor.hits).toBe(1);
    expect(hit.header('ratelimit-remaining')).toBeUndefined();
    expect(hit.header('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('applies a purge at once and leaves stale responses to Express', async () => {
    const made = await open({
      config: { routes: { '/:name': { cache: { ...shared, staleWhileRevalidate: 60, tags: ['x'] } } } },
    });
    const ask = async () => (await made.ask(head('/a'))).header('x-cache');
    expect([await ask(), await ask(), await ask()]).toEqual(['MISS', 'HIT', 'HIT']);
    await made.perf.cache.purge({ tag: 'x' });
    expect([await ask(), await ask()]).toEqual(['MISS', 'HIT']);
    await made.perf.cache.expire({ tag: 'x' });
    expect(await ask()).toBe('STALE');
    await waitFor(async () => (await ask()) === 'HIT');
    expect(made.runs()).toBe(3);
  });

  it('counts, times and reports its hits as the middlewares do', async () => {
    const slow: unknown[] = [];
    const made = await open({
      config: { ...config, timing: { slow: 0.000001, onSlow: (request) => slow.push(request) } },
      before: (app) => app.set('trust proxy', true),
    });
    const fields = { 'X-Forwarded-For': '203.0.113.7', 'X-Request-Id': 'given' };
    for (let i = 0; i < 3; i++) await made.ask(head('/a?x=1', fields));
    await waitFor(() => slow.length === 3);
    const [miss, ...hits] = slow as Record<string, unknown>[];
    for (const hit of hits) expect({ ...hit, seconds: 0 }).toEqual({ ...miss, seconds: 0 });
    expect(miss).toMatchObject({
      route: '/:name',
      path: '/a',
      clientAddress: '203.0.113.7',
      requestId: 'given',
    });
    const { registry } = made.perf.metrics;
    const text = await registry!.metrics();
    expect(text).toContain('http_requests_total{method="GET",path="/:name",status="200"} 3');
    expect(text).toContain('http_request_duration_seconds_count{method="GET",path="/:name"} 3');
    expect(text).toMatch(/http_requests_in_progress\{method="GET"\} 0/);
    expect(made.perf.cache.stats().frontDoor.hits).toBe(2);
  });

  it('counts an aborted large hit as 499 and no longer as in progress', async () => {
    // More than the buffers of both ends hold.
    const body = Buffer.alloc(20 * 1024 ** 2, 'x');
    const made = await open({
      config: { ...config, cache: { maxEntryBytes: '40mb' }, compression: false },
      routes: (app) => app.get('/:name', (_req, res) => void res.type('text').send(body)),
    });
    await (await fetch(`${made.url}/a`)).arrayBuffer();
    const { registry } = made.perf.metrics;
    const socket = connect(made.port, '127.0.0.1');
    socket.write(`${head('/a', { Host: `127.0.0.1:${made.port}` })}\r\n\r\n`);
    await new Promise((resolve) => socket.once('data', resolve));
    expect(await registry!.metrics()).toMatch(/http_requests_in_progress\{method="GET"\} 1/);
    socket.destroy();
    await waitFor(async () => (await registry!.metrics()).includes('status="499"} 1'));
    expect(await registry!.metrics()).toMatch(/http_requests_in_progress\{method="GET"\} 0/);
    expect(made.perf.cache.stats().frontDoor.hits).toBe(1);
  });

  it('keeps the order of pipelined hits and misses', async () => {
    const made = await open();
    await made.ask(head('/a'));
    const requests = ['/a', '/b', '/a', '/c', '/a'];
    const wire = (
      await raw(
        made.port,
        requests.map((path, i) => `${head(path, i === 4 ? { Connection: 'close' } : {})}\r\n\r\n`),
      )
    ).wire.toString('latin1');
    expect(wire.match(/run \d/g)).toEqual(['run 1', 'run 2', 'run 1', 'run 3', 'run 1']);
    expect(made.perf.cache.stats().frontDoor.hits).toBe(3);
  });

  it('works for a mounted app, attached once or twice, until it is closed', async () => {
    const app = express();
    const perf = hotpath({ routes: { '/*path': { cache: shared } } });
    const server = await listen(createServer(app));
    const inner = express();
    let runs = 0;
    inner.get('/x', (_req, res) => void res.send(`run ${++runs}`));
    app.use(perf);
    app.use('/inner', inner);
    perf.attach(app);
    perf.attach(app); // has no effect
    try {
      for (let i = 0; i < 3; i++) expect(await (await fetch(`${server.url}/inner/x`)).text()).toBe('run 1');
      expect(perf.cache.stats().frontDoor.hits).toBe(2);
    } finally {
      await perf.close();
      // When closed, every request goes on to Express.
      expect(await (await fetch(`${server.url}/inner/x`)).text()).toBe('run 2');
      await server.close();
    }
  });

  it.each([
    ['a second app', () => undefined, /another app/],
    ['an app without cache', () => ({ cache: false }), /the cache is off/],
    [
      'a shared rule with a function that needs the Express request',
      () => ({ routes: { '/a': { cache: { ttl: 1, shared: true, when: () => true } } } }),
      /routes\["\/a"\]\.cache\.when/,
    ],
    ['a compression filter', () => ({ compression: { filter: () => true } }), /compression\.filter/],
  ] as [string, () => HotpathConfig | undefined, RegExp][])('rejects %s', (_what, made, message) => {
    const perf = hotpath(made());
    if (message.source.startsWith('another')) perf.attach(express());
    const attach = () => perf.attach(express());
    expect(attach).toThrow(HotpathError);
    expect(attach).toThrow(message);
  });

  it('rejects values that are not an app, and an app mounted in another', () => {
    const perf = hotpath();
    for (const wrong of [undefined, {}, () => {}, express.Router()]) {
      expect(() => perf.attach(wrong as never)).toThrow(/expected an app made by express\(\), received/);
    }
    const server = createServer();
    expect(() => perf.attach(server as never)).toThrow(
      /received a server; pass the app: perf\.attach\(app\)/,
    );
    const inner = express();
    express().use(inner);
    expect(() => perf.attach(inner)).toThrow(/mounted in another/);
  });

  it.each([0, 1, 255, 256, 4095, 4096, 4097, 16_384, 100_000])(
    'sends a body of %i bytes unchanged, pipelined or alone',
    async (length) => {
      const bytes = bytesOf(length);
      const made = await open({
        routes: (app) =>
          app.get('/:name', (_req: Request, res: Response) => void res.type('bin').send(bytes)),
      });
      await made.ask(head('/a'));
      expect((await made.ask(head('/a'))).body.equals(bytes)).toBe(true);
      // All at once, so that each response but the first waits until the one before it is sent.
      const bodies = await askMany(made.port, Array<string>(21).fill('/a'));
      expect(bodies.every((body) => bytes.equals(Buffer.from(body, 'latin1')))).toBe(true);
      expect(made.perf.cache.stats().frontDoor.hits).toBe(22);
    },
  );

  it.each([10, 10_000])('sends a body of %i bytes when Node enforces its content length', async (length) => {
    const made = await open({
      routes: (app) => app.get('/:name', (_req, res) => void res.type('text').send('x'.repeat(length))),
    });
    made.server.prependListener('request', (_req, res) => {
      res.strictContentLength = true;
    });
    await made.ask(head('/a'));
    expect((await made.ask(head('/a'))).text).toBe('x'.repeat(length));
    expect(made.perf.cache.stats().frontDoor.hits).toBe(1);
  });

  it('sends the same response, inside Express, when Node has no _storeHeader', async () => {
    const made = await open();
    await made.ask(head('/a'));
    const asText = await made.ask(head('/a'));
    const { _storeHeader: storeHeader } = ServerResponse.prototype as unknown as { _storeHeader: unknown };
    let isRead = false;
    // As if it were missing for hotpath alone: Node itself still reads it.
    Object.defineProperty(ServerResponse.prototype, '_storeHeader', {
      configurable: true,
      get() {
        const isOurs = !isRead;
        isRead = true;
        return isOurs ? undefined : storeHeader;
      },
    });
    const asFields = await made
      .ask(head('/a'))
      .finally(() => Reflect.deleteProperty(ServerResponse.prototype, '_storeHeader'));
    const names = (answer: typeof asText) => answer.headers.map(([name]) => name).sort();
    expect([names(asFields), asFields.text]).toEqual([names(asText), asText.text]);
    expect(isRead).toBe(true);
    expect(made.perf.cache.stats().frontDoor).toEqual({ hits: 1, skipped: { patched: 1 } });
  });

  it('lets an app without any middleware or route answer 404', async () => {
    const app = express();
    const perf = hotpath();
    perf.attach(app);
    const server = await listen(app);
    try {
      expect((await fetch(server.url)).status).toBe(404);
    } finally {
      await server.close();
      await perf.close();
    }
  });
});
