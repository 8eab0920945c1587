import { runInNewContext } from 'node:vm';
import type { RequestHandler } from 'express';
import { type HotpathConfig, hotpath } from 'hotpath';
import { Gauge, Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ask, type Got } from '../helpers/client.js';
import { nextTurn } from '../helpers/event-loop.js';
import { type Listening, listen, majors, partOn4 } from '../helpers/http.js';
import { invariants } from '../helpers/invariants.js';

const check = invariants();
const TEXT = 'some text, and then some more. '.repeat(200);

/** Failing functions. An async one fits most of their types as well. */
const failures: Record<string, () => never> = {
  'throws an error': () => {
    throw new Error('on purpose');
  },
  'throws undefined': () => {
    throw undefined;
  },
  'throws an object without prototype': () => {
    throw Object.create(null);
  },
  rejects: (() => Promise.reject(new Error('on purpose'))) as () => never,
  'rejects later': (async () => {
    await nextTurn();
    throw new Error('on purpose');
  }) as () => never,
  'throws a frozen error': () => {
    throw Object.freeze(new Error('on purpose'));
  },
  'throws an error whose text throws': () => {
    throw Object.defineProperties(new Error('x'), {
      stack: { get: failures['throws an error']! },
      message: { get: failures['throws an error']! },
    });
  },
  'throws a proxy that throws': () => {
    throw new Proxy({}, { get: failures['throws an error']!, getPrototypeOf: failures['throws an error']! });
  },
  'rejects with an object without prototype': (() => Promise.reject(Object.create(null))) as () => never,
  'rejects in another realm': (() => runInNewContext('Promise.reject(Object.create(null))')) as () => never,
  'gives a thenable that rejects': (() =>
    Object.defineProperty({}, 'then', {
      value: (_resolve: unknown, reject: (error: unknown) => void) => reject(Object.create(null)),
    })) as () => never,
  'never answers': (() => new Promise(() => {})) as () => never,
  'has a then that throws': (() => ({
    // biome-ignore lint/suspicious/noThenProperty: that is what is tested
    then() {
      throw new Error('on purpose');
    },
  })) as () => never,
  'gives a getter that throws': (() =>
    new Proxy({}, { get: () => failures['throws an error']!(), has: () => true })) as () => never,
};

type Hook = (fail: () => never) => HotpathConfig;
const cached = { '/*path': { cache: { ttl: '1m' } } } as const;
const hooks: Record<string, Hook> = {
  'timing.onSlow': (fail) => ({ timing: { slow: 0.000001, onSlow: fail } }),
  'compression.filter': (fail) => ({ compression: { filter: fail } }),
  'cache tags': (fail) => ({ routes: { '/*path': { cache: { ttl: '1m', tags: fail } } } }),
  'cache partition': (fail) => ({ routes: { '/*path': { cache: { ttl: '1m', partition: fail } } } }),
  'cache when': (fail) => ({ routes: { '/*path': { cache: { ttl: '1m', when: fail } } } }),
  'cache.onError, after a hook that failed': (fail) => ({
    cache: { onError: fail },
    routes: { '/*path': { cache: { ttl: '1m', partition: () => failures['throws an error']!() } } },
  }),
};

describe.each(majors)('failing user functions, on %s', (major, express) => {
  beforeEach(() => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  async function serve(
    config: HotpathConfig,
    extra?: (perf: ReturnType<typeof hotpath>) => RequestHandler[],
  ) {
    const registry = new Registry();
    const perf = hotpath({ metrics: { defaultMetrics: false, registry }, ...config });
    const app = express();
    app.get('/health', (_req, res) => void res.send('ok'));
    app.use(perf);
    app.get('/metrics', perf.metrics.handler);
    app.use(...([(_req, _res, next) => next(), ...(extra?.(perf) ?? [])] as [RequestHandler]));
    app.all('/a', (req, res) => {
      if (req.query.late === undefined) res.type('text').send(TEXT);
      else {
        res.type('text').write(TEXT);
        setImmediate(() => res.end(TEXT));
      }
    });
    const server: Listening = await listen(app);
    check.watch({
      port: server.port,
      server: server.server,
      caches: [perf.cache],
      registries: [registry],
      async close() {
        await perf.close();
        await server.close();
      },
    });
    return { port: server.port, perf, registry };
  }

  async function expectServed(port: number, how = ''): Promise<Got[]> {
    const answers: Got[] = [];
    for (const path of ['/a', '/a', '/a?late', '/a?late']) {
      for (const method of ['GET', 'HEAD', 'POST']) {
        const got = await ask(port, { path, method, agent: false, headers: { 'Accept-Encoding': 'gzip' } });
        expect(got, `${method} ${path} ${how}`).toMatchObject({ status: 200, whole: true });
        if (method !== 'HEAD') expect(got.body.toString()).toBe(path === '/a' ? TEXT : TEXT + TEXT);
        answers.push(got);
      }
    }
    return answers;
  }

  // One app for all failures of a hook: it takes the failure of the moment.
  const ways = Object.keys(failures);
  it.each(Object.keys(hooks))(
    'keep the response whole when %s fails in any way [K04, I-FAILOPEN]',
    async (hook) => {
      let how = '';
      const { port, perf } = await serve(hooks[hook]!(() => failures[how]!()));
      const place = Object.keys(hooks).indexOf(hook);
      // On Express 4, every hook fails in a third of the ways, and every way occurs with a third of the hooks.
      for (how of ways.filter((_, i) => partOn4(major, true, (i + place) % 3 === 0))) {
        await expectServed(port, how);
        // Hooks of the cache: a response that cannot be judged is not stored.
        if (/^cache \w/.test(hook)) expect(perf.cache.stats(), how).toMatchObject({ hits: 0, stores: 0 });
      }
    },
  );

  it('do not stop a write when the purge function fails in any way [K04]', async () => {
    let how = '';
    const { port } = await serve({ routes: cached }, (perf) => [
      perf.cache.purgeAfter(() => failures[how]!()),
    ]);
    for (how of ways.filter((each) => each !== 'never answers')) await expectServed(port, how);
  });

  it.each(['throws an error', 'rejects', 'rejects later'])(
    'fail the scrape alone when a collect function of the app metrics %s [K04]',
    async (how) => {
      const { port, registry } = await serve({});
      new Gauge({ name: 'mine', help: 'fails', registers: [registry], collect: failures[how]! });
      const got = await ask(port, { path: '/metrics', agent: false });
      expect(got.status).toBe(500);
      await expectServed(port);
    },
  );

  it('never make a middleware reject, for any request [K03]', async () => {
    const { port } = await serve({ routes: cached }, (perf) => [
      perf.cache.route({ ttl: '1m' }) as RequestHandler,
      perf.cache.purgeAfter({ tag: 'a' }) as RequestHandler,
      async (req, _res, next) => {
        if (req.query.fails === undefined) return next();
        await nextTurn();
        next(new Error('on purpose'));
      },
    ]);
    vi.spyOn(console, 'error').mockImplementation(() => {});
    const failed = await ask(port, { path: '/a?fails', agent: false });
    expect(failed.status).toBe(500);
    await expectServed(port);
  });
});
