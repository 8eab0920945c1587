import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Express, NextFunction, Request, Response } from 'express';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { majors, raw, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();
/** The head of a request after which the server closes the connection. */
const head = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
const text = (req: Request, res: Response) => void res.send(`text of ${req.path}`);
const pass = (_req: Request, _res: Response, next: NextFunction) => next();
const off = { metrics: false, compression: false } as const;

/** A mistake: the app, the paths that a newcomer requests, and the warning that names the remedy. */
interface Mistake {
  readonly config?: HotpathConfig;
  readonly setUp: (app: Express, perf: Hotpath, express: (typeof majors)[number][1]) => void;
  readonly paths?: readonly string[];
  /** Lines of the head of each request. */
  readonly headers?: string;
  readonly code: string;
  readonly says: RegExp;
}

const rule = (path: string, cache: object = { ttl: '1h' }): HotpathConfig => ({
  routes: { [path]: { cache } },
});

const mistakes: Record<string, Mistake> = {
  'a route is mounted first': {
    setUp: (app, perf) => void app.get('/a', text).use(perf),
    code: 'HOTPATH_NOT_FIRST',
    says: /the route "\/a" is mounted before hotpath.*app\.use\(perf\)/,
  },
  'every route is mounted first': {
    setUp: (app, perf) => void app.get('/a', text).get('/api/x', text).get('/api/b', text).use(perf),
    code: 'HOTPATH_NOT_FIRST',
    says: /the route "\/a" is mounted before hotpath.*app\.use\(perf\)/,
  },
  'a middleware that responds is mounted first': {
    setUp: (app, perf) => void app.use(text).use(perf),
    code: 'HOTPATH_NOT_FIRST',
    says: /the middleware "text" is mounted before hotpath/,
  },
  'a route is mounted before an attached instance': {
    config: rule('/b', { ttl: '1h', shared: true }),
    setUp(app, perf) {
      perf.attach(app);
      app.get('/a', text).get('/api/x', text).get('/api/b', text).use(perf).get('/b', text);
    },
    code: 'HOTPATH_NOT_FIRST',
    says: /the route "\/a" is mounted before hotpath/,
  },
  'a router with routes is mounted first': {
    setUp: (app, perf, express) => void app.use('/r', express.Router().get('/a', text)).use(perf),
    code: 'HOTPATH_NOT_FIRST',
    says: /a router is mounted before hotpath.*mount hotpath first/,
  },
  'express.static is mounted first': {
    setUp: (app, perf, express) => void app.use(express.static(import.meta.dirname)).use(perf),
    code: 'HOTPATH_NOT_FIRST',
    says: /express\.static\(\) is mounted before hotpath.*mount hotpath first/,
  },
  'a middleware that sets headers is mounted first': {
    setUp(app, perf) {
      app.use((_req, res, next) => {
        res.set('X-Frame-Options', 'DENY');
        next();
      });
      app.use(perf).get('/a', text);
    },
    code: 'HOTPATH_NOT_FIRST',
    says: /\(x-frame-options\).*mount hotpath first/,
  },
  'a middleware that replaces res.end is mounted first': {
    setUp(app, perf) {
      app.use((_req, res, next) => {
        const { end } = res;
        res.end = function (this: Response, ...args: unknown[]) {
          return end.apply(this, args as never);
        } as typeof res.end;
        next();
      });
      app.use(perf).get('/a', text);
    },
    code: 'HOTPATH_NOT_FIRST',
    says: /replaced res\.write or res\.end.*mount hotpath first/,
  },
  'it is mounted twice': {
    setUp: (app, perf) => void app.use(perf).use(perf).get('/a', text),
    code: 'HOTPATH_MOUNTED_TWICE',
    says: /mount one instance once/,
  },
  'it is mounted again at a path': {
    setUp: (app, perf) => void app.use(perf).use('/api', perf).get('/a', text),
    code: 'HOTPATH_MOUNTED_TWICE',
    says: /"\/api".*mount one instance once/,
  },
  'it is mounted again in a router': {
    setUp: (app, perf, express) =>
      void app.use(perf).use('/api', express.Router().use(perf).get('/b', text)).get('/a', text),
    code: 'HOTPATH_MOUNTED_TWICE',
    says: /"\/api".*mount one instance once/,
  },
  'two instances are mounted': {
    setUp: (app, perf) => void app.use(perf).use(hotpath(off)).get('/a', text),
    code: 'HOTPATH_MOUNTED_TWICE',
    says: /mount one instance once/,
  },
  'it is attached and not mounted': {
    config: rule('/a', { ttl: '1h', shared: true }),
    setUp(app, perf) {
      perf.attach(app);
      app.get('/a', text);
    },
    code: 'HOTPATH_NOT_USED',
    says: /add app\.use\(perf\)/,
  },
  'it is attached and no rule is shared': {
    config: rule('/a'),
    setUp(app, perf) {
      perf.attach(app);
      app.use(perf).get('/a', text);
    },
    code: 'HOTPATH_NOTHING_SHARED',
    says: /`shared: true`/,
  },
  'it is attached without any rule': {
    setUp(app, perf) {
      perf.attach(app);
      app.use(perf).get('/a', text);
    },
    paths: ['/a', '/a', '/a', '/a', '/a'],
    code: 'HOTPATH_NOTHING_SHARED',
    says: /`shared: true`/,
  },
  'a rule is for no route': {
    config: rule('/produkts'),
    setUp: (app, perf) => void app.use(perf).get('/products', text),
    code: 'HOTPATH_RULE_UNMATCHED',
    says: /routes\["\/produkts"\].*did you mean "\/products"\?/,
  },
  'a rule is for no route, in an app with a 404 handler': {
    config: rule('/produkts/:id'),
    setUp: (app, perf) =>
      void app
        .use(perf)
        .get('/products/:product', text)
        .use((_req, res) => void res.status(404).end()),
    code: 'HOTPATH_RULE_UNMATCHED',
    says: /did you mean "\/products\/:product"\?/,
  },
  'a rule is for a path unlike those of the app': {
    config: rule('/nowhere/near/it'),
    setUp: (app, perf) => void app.use(perf).get('/products', text).get('/a', text),
    code: 'HOTPATH_RULE_UNMATCHED',
    says: /The paths of the app: \/products, \/a/,
  },
  'a rule lacks the path of a mount': {
    config: rule('/products/:id'),
    setUp: (app, perf, express) =>
      void app.use(perf).use('/api', express.Router().get('/products/:id', text)),
    code: 'HOTPATH_RULE_UNMATCHED',
    says: /full path.*did you mean "\/api\/products\/:id"\?/,
  },
  'a rule has the path of a mount by mistake': {
    config: rule('/api/products'),
    setUp: (app, perf, express) =>
      void app.use(perf).use('/assets', pass).use(express.Router().get('/products', text)),
    code: 'HOTPATH_RULE_UNMATCHED',
    says: /did you mean "\/products"\?/,
  },
  'a rule is written in another case': {
    config: rule('/Products'),
    setUp: (app, perf) => void app.use(perf).get('/products', text),
    code: 'HOTPATH_RULE_UNMATCHED',
    says: /did you mean "\/products"\?/,
  },
  'a partition is empty, because the user is not known yet': {
    config: rule('/me', { ttl: '1h', partition: ({ req }: { req: { user?: string } }) => req.user }),
    setUp(app, perf) {
      app.use(perf);
      app.use((req, _res, next) => {
        Object.assign(req, { user: 'ann' });
        next();
      });
      app.get('/me', text);
    },
    paths: ['/me', '/me', '/me'],
    code: 'HOTPATH_PARTITION_EMPTY',
    says: /routes\["\/me"\]\.cache.*authenticate, perf\.cache\.route\(/,
  },
  'a partition beside a handler is empty': {
    setUp: (app, perf) =>
      void app.use(perf).get('/me', perf.cache.route({ ttl: '1h', partition: () => undefined }), text),
    paths: ['/me', '/me', '/me'],
    code: 'HOTPATH_PARTITION_EMPTY',
    says: /cache\.route\(\) at \/me/,
  },
  'a rule is for pages that set a cookie each time': {
    config: rule('/a', { ttl: '1h', cookies: 'ignore' }),
    setUp: (app, perf) => void app.use(perf).get('/a', (_req, res) => void res.cookie('sid', '1').send('a')),
    paths: ['/a', '/a', '/a'],
    code: 'HOTPATH_RULE_STORES_NOTHING',
    says: /first 5 responses of routes\["\/a"\]\.cache \(detail=set-cookie\).*saveUninitialized/,
  },
  'a session is saved for each client, and its requests have cookies': {
    config: rule('/a', { ttl: '1h', cookies: 'ignore' }),
    setUp(app, perf) {
      app.use(perf);
      app.get('/a', (req, res) => void (req.headers.cookie ? res : res.cookie('sid', '1')).send('a'));
    },
    headers: 'Cookie: sid=1\r\n',
    paths: ['/a', '/a', '/a', '/a', '/a'],
    code: 'HOTPATH_RULE_STORES_NOTHING',
    says: /detail=no-anonymous-fill.*saveUninitialized/,
  },
  'a middleware keeps the pages of a rule out of all caches': {
    config: rule('/a'),
    setUp: (app, perf) =>
      void app.use(perf).get('/a', (_req, res) => void res.set('Cache-Control', 'no-store').send('a')),
    paths: ['/a', '/a', '/a'],
    code: 'HOTPATH_RULE_STORES_NOTHING',
    says: /detail=no-store.*remove it on this path/,
  },
  'a rule has no ttl': {
    config: rule('/a', {}),
    setUp: (app, perf) => void app.use(perf).get('/a', text),
    code: 'HOTPATH_RULE_NO_TTL',
    says: /routes\["\/a"\]\.cache has no `ttl`.*add a ttl/,
  },
  'a rule has no lifetime, and Cache-Status is off': {
    config: { ...rule('/a', {}), cache: { statusHeader: false } },
    setUp: (app, perf) => void app.use(perf).get('/a', text),
    code: 'HOTPATH_RULE_NO_TTL',
    says: /routes\["\/a"\]\.cache has no `ttl`/,
  },
  'case sensitive routing is set late': {
    setUp: (app, perf) => void app.use(perf).enable('case sensitive routing').get('/a', text),
    code: 'HOTPATH_SETTING_LATE',
    says: /'case sensitive routing'.*before app\.use\(hotpath\(\)\)/,
  },
  'strict routing is set late': {
    setUp: (app, perf) => void app.use(perf).enable('strict routing').get('/a', text),
    code: 'HOTPATH_SETTING_LATE',
    says: /'strict routing'.*before app\.use\(hotpath\(\)\)/,
  },
};

describe.each(majors)('the check of the set-up, on %s', (_name, express) => {
  const warnings: { code: string; message: string }[] = [];
  beforeEach(() => {
    warnings.length = 0;
    vi.spyOn(process, 'emitWarning').mockImplementation((message, options) => {
      warnings.push({ code: String((options as { code?: string }).code), message: String(message) });
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  });

  /** Serves an app and requests its paths, one after the other, until all responses are closed. */
  async function run({
    config,
    setUp,
    paths = ['/a'],
    headers = '',
  }: Omit<Mistake, 'code' | 'says'>): Promise<void> {
    const perf = hotpath({ ...off, ...config });
    const app = express();
    let closed = 0;
    setUp(app, perf, express);
    const { port, server } = await serve(app);
    server.prependListener('request', (_req, res) => void res.once('close', () => closed++));
    for (const path of paths) await raw(port, head(path).replace('Connection', `${headers}Connection`));
    await waitFor(() => closed === paths.length);
    await perf.close();
  }

  it.each(Object.entries(mistakes))('warns once with the remedy when %s', async (_mistake, mistake) => {
    await run({ ...mistake, paths: [...(mistake.paths ?? ['/a']), '/a', '/a', '/api/x', '/api/b'] });
    expect(warnings.map(({ code }) => code)).toEqual([mistake.code]);
    expect(warnings[0]!.message).toMatch(mistake.says);
  });

  it.each(Object.entries(mistakes))('is silent in production when %s', async (_mistake, mistake) => {
    vi.stubEnv('NODE_ENV', 'production');
    await run(mistake);
    expect(warnings).toEqual([]);
  });

  it('is silent about a sound app', async () => {
    const config: HotpathConfig = {
      cache: { credentials: ['authorization'] },
      routes: {
        '/api/items/top': { cache: { ttl: '1h', shared: true } },
        '/api/items/:id': { cache: { ttl: '1h' } },
        '/files/*path': { cache: { ttl: '1h' } },
        '/graphql': { cache: { ttl: '1m' } },
        '/sub/thing/:id': { cache: { ttl: '1m' } },
        '/list{/:page}': { cache: { ttl: '1m' } },
        '/own': { cache: {} },
        '/mail': { cache: { ttl: '1m', partition: ({ req }) => String(req.headers['x-user']) } },
        '/re': { cache: { ttl: '1m' } },
      },
    };
    await run({
      config,
      setUp(app, perf) {
        app.enable('strict routing').set('query parser', 'simple');
        perf.attach(app);
        app.use(pass);
        app.use(perf);
        const router = express.Router();
        router.get('/items/top', text).get('/items/:item', text);
        app.use('/api', pass, router);
        app.use('/files', express.static(import.meta.dirname));
        app.use('/graphql', text);
        app.use('/sub', express().get('/thing/:id', text));
        app.get(_name === 'Express 4' ? '/list/:page?' : '/list{/:page}', text);
        app.get('/own', (_req, res) => void res.set('Cache-Control', 'public, max-age=9').send('own'));
        app.get(['/mail', '/post'], text);
        app.get(/^\/re$/, text);
      },
      paths:
        '/api/items/top /api/items/1 /files/setup.test.ts /graphql /sub/thing/1 /list /own /mail /mail /mail /re'
          .split(' ')
          .flatMap((path) => [path, path]),
    });
    expect(warnings).toEqual([]);
  });

  it('warns of a rule whose requests all have cookies, and not of one that stores something', async () => {
    const perf = hotpath({
      ...off,
      routes: { '/a': { cache: { ttl: '1h' } }, '/b': { cache: { ttl: '1h' } } },
    });
    const app = express();
    app.use(perf).get(['/a', '/b'], text);
    const { port } = await serve(app);
    await raw(port, head('/b'));
    for (const path of ['/a', '/b']) {
      for (let i = 0; i < 6; i++) await raw(port, head(path).replace('Host', 'Cookie: a=1\r\nHost'));
    }
    await waitFor(() => warnings.length > 0);
    expect(warnings.map(({ code }) => code)).toEqual(['HOTPATH_RULE_STORES_NOTHING']);
    expect(warnings[0]!.message).toMatch(/routes\["\/a"\]\.cache \(detail=cookie\).*cookies: 'ignore'/);
    await perf.close();
  });

  it('ends in an app whose router contains itself', async () => {
    await run({
      config: rule('/nowhere'),
      setUp(app, perf) {
        const router = express.Router();
        router.use('/again', router).use('/more', router);
        router.get('/a', text);
        app.use('/r', router).use(perf);
        app.get('/a', text);
      },
    });
    expect(warnings.map(({ code }) => code)).toEqual(['HOTPATH_NOT_FIRST', 'HOTPATH_RULE_UNMATCHED']);
  });

  it('stops observing after the first requests', async () => {
    const perf = hotpath(off);
    const app = express();
    app.use((req, res, next) => {
      if (req.path === '/late') res.set('X-Late', '1');
      next();
    });
    app.use(perf).get('/a', text).get('/late', text);
    const { port } = await serve(app);
    for (let i = 0; i < 100; i++) await raw(port, head('/a'));
    await raw(port, head('/late'));
    expect(warnings).toEqual([]);
    await perf.close();
  });
});

describe('the query parser of Express 4', () => {
  afterEach(() => vi.restoreAllMocks());
  it.each([
    ['warns when it is set late', true],
    ['is silent when it is set in time', false],
  ])('%s', async (_title, isLate) => {
    const express = majors.find(([name]) => name === 'Express 4')![1];
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const perf = hotpath(off);
    const app = express();
    if (!isLate) app.set('query parser', 'simple');
    app.use(perf);
    app.set('query parser', 'simple');
    app.get('/a', text);
    const { port } = await serve(app);
    await raw(port, head('/a'));
    expect(warning.mock.calls.map(([message]) => String(message).includes("'query parser'"))).toEqual(
      isLate ? [true] : [],
    );
    await perf.close();
  });
});

describe('a factory that is mounted without a call, and a handler that is called', () => {
  const perf = hotpath({ compression: false });
  // Express calls a mounted function with a request.
  const req = new IncomingMessage(new Socket());
  it.each<[string, () => unknown]>([
    ["perf.cache.route({ ttl: '1m' })", () => perf.cache.route(req as never)],
    ["perf.cache.purgeAfter({ tag: 'products' })", () => perf.cache.purgeAfter(req as never)],
    ["app.get('/metrics', perf.metrics.handler)", () => (perf.metrics.handler as () => void)()],
  ])('fail with a message that shows %s', (shown, call) => {
    expect(call).toThrow(
      expect.objectContaining({ code: 'HOTPATH_CONFIG_INVALID', message: expect.stringContaining(shown) }),
    );
  });
});
