import type { Express, Request, RequestHandler, Response } from 'express';
import { hotpath } from 'hotpath';
import { responseCache } from 'hotpath/cache';
import { cacheControl } from 'hotpath/cache-control';
import { compression } from 'hotpath/compression';
import { metrics } from 'hotpath/metrics';
import { sizeLimit } from 'hotpath/size-limit';
import { timing } from 'hotpath/timing';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SlowRequest } from '../../src/middleware/timing/options.js';
import { ask } from '../helpers/client.js';
import { type Listening, listen, majors, raw, waitFor } from '../helpers/http.js';
import { invariants } from '../helpers/invariants.js';

const check = invariants();
const TEXT = 'some text, and then some more. '.repeat(200);

/** undici does this to a request that it has sent as a body (`util.destroy`). */
function loseSocket(req: Request): void {
  Object.assign(req, { socket: null });
  req.destroy();
}

function routes(app: Express): void {
  app.get('/health', (_req, res) => void res.send('ok'));
  const proxy = (send: (res: Response) => void): RequestHandler => {
    return (req, res) => {
      req.resume().once('end', () => {
        loseSocket(req);
        send(res);
      });
    };
  };
  app.all(
    '/a/whole',
    proxy((res) => void res.type('text').send(TEXT)),
  );
  app.all(
    '/a/pieces',
    proxy((res) => {
      res.type('text').write(TEXT);
      setImmediate(() => res.end(TEXT));
    }),
  );
  app.all('/a/at-once', (req, res) => {
    loseSocket(req);
    res.type('text').send(TEXT);
  });
}

/** The codes of the warnings so far. */
function warnings(): unknown[] {
  return vi.mocked(process.emitWarning).mock.calls.map(([, options]) => (options as { code?: string }).code);
}

describe.each(majors)('a request that lost its socket, on %s', (_name, express) => {
  beforeEach(() => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  });
  afterEach(() => {
    // The rules here are not shared, of which a warning of the set-up speaks.
    const others = warnings().filter((code) => code !== 'HOTPATH_NOTHING_SHARED');
    vi.restoreAllMocks();
    expect(others).toEqual([]);
  });

  async function serve(
    app: Express,
    watched: Partial<Parameters<typeof check.watch>[0]> = {},
  ): Promise<Listening> {
    routes(app);
    const server = await listen(app);
    const { port } = server;
    const close = async () => {
      await watched.close?.();
      await server.close();
    };
    check.watch({ port, server: server.server, ...watched, close });
    return server;
  }

  async function expectServed(port: number): Promise<void> {
    for (const method of ['GET', 'POST', 'PUT'] as const) {
      for (const path of ['/a/whole', '/a/pieces', '/a/at-once']) {
        const body = method === 'GET' ? undefined : TEXT;
        const got = await ask(port, {
          method,
          path,
          body,
          agent: false,
          headers: { 'Accept-Encoding': 'gzip' },
        });
        expect(got, `${method} ${path}`).toMatchObject({ status: 200, whole: true });
        expect(got.body.toString()).toBe(path === '/a/pieces' ? TEXT + TEXT : TEXT);
      }
    }
  }

  const rule = { '/a/*path': { cache: { ttl: '1m' } } } as const;
  const alone: Record<string, () => RequestHandler> = {
    timing: () => timing({ slow: 0.000001, onSlow: () => {} }) as RequestHandler,
    metrics: () => metrics({ defaultMetrics: false }) as RequestHandler,
    'size limit': () => sizeLimit({ limit: '1mb' }) as RequestHandler,
    'Cache-Control': () => cacheControl() as RequestHandler,
    compression: () => compression() as RequestHandler,
    cache: () => responseCache({ routes: { '/a/*path': { ttl: '1m' } } }) as RequestHandler,
  };

  it.each(Object.keys(alone))(
    'is answered, and nothing is thrown, with %s alone [I08, F01]',
    async (name) => {
      const app = express();
      app.use(alone[name]!());
      const { port } = await serve(app);
      await expectServed(port);
    },
  );

  it.each(['shut', 'open'])('is answered and counted once, with the front door %s [I08]', async (door) => {
    const registry = new Registry();
    const slow: SlowRequest[] = [];
    const perf = hotpath({
      metrics: { defaultMetrics: false, registry },
      timing: { slow: 0.000001, onSlow: (request) => void slow.push(request) },
      routes: rule,
    });
    const app = express();
    app.set('trust proxy', true);
    if (door === 'open') perf.attach(app);
    app.use(perf);
    const { port } = await serve(app, {
      caches: [perf.cache],
      registries: [registry],
      close: () => perf.close(),
    });
    await expectServed(port);
    await raw(
      port,
      'POST /a/at-once HTTP/1.1\nHost: a\nX-Forwarded-For: 192.0.2.7\nContent-Length: 0\nConnection: close\n\n',
    );
    await waitFor(() => slow.length >= 10);
    const counted = async () => {
      const { values } = await registry.getSingleMetric('http_requests_total')!.get();
      return values.reduce((sum, { value }) => sum + value, 0);
    };
    await waitFor(async () => (await counted()) >= 10);
    expect(await counted()).toBe(10);
    expect(slow).toHaveLength(10);
    expect(new Set(slow.map(({ status }) => status))).toEqual(new Set([200]));
    expect(slow.at(-1)?.clientAddress).toBe('192.0.2.7');
  });

  it.each(['shut', 'open'])('still invalidates its URL, with the front door %s [A16]', async (door) => {
    const perf = hotpath({ metrics: { defaultMetrics: false }, routes: rule });
    const app = express();
    if (door === 'open') perf.attach(app);
    app.use(perf);
    let version = 1;
    app.get('/a/item', (_req, res) => void res.send(`version ${version}`));
    app.post('/a/item', (req, res) => {
      version++;
      req.resume().once('end', () => {
        loseSocket(req);
        res.set('Location', '/a/other').sendStatus(201);
      });
    });
    app.get('/a/other', (_req, res) => void res.send(`version ${version}`));
    const { port } = await serve(app, { caches: [perf.cache], close: () => perf.close() });
    const read = async (path: string) => (await ask(port, { path, agent: false })).body.toString();
    for (const path of ['/a/item', '/a/other']) {
      expect(await read(path)).toBe('version 1');
      expect(await read(path)).toBe('version 1');
    }
    await ask(port, { path: '/a/item', method: 'POST', body: 'new', agent: false });
    for (const path of ['/a/item', '/a/other']) expect(await read(path)).toBe('version 2');
    expect(perf.cache.stats()).toMatchObject({ hits: 2 });
  });
});
