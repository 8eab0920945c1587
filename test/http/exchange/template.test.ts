import { connect } from 'node:net';
import type { ErrorRequestHandler, Express, RequestHandler } from 'express';
import { afterEach, describe, expect, it } from 'vitest';
import { exchangeOf } from '../../../src/exchange/exchange.js';
import { type Listening, listen, majors, waitFor } from '../../helpers/http.js';

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

const ok: RequestHandler = (_req, res) => {
  res.send('ok');
};

describe.each(majors)('the route template on %s', (name, express) => {
  /** Serves the app and returns the template of each request, read when its response is closed. */
  async function templates(
    build: (app: Express) => void,
  ): Promise<(path: string) => Promise<string | undefined>> {
    const seen = new Map<string, string | undefined>();
    const app = express();
    app.use(((req, res, next) => {
      exchangeOf(req, res).onClose((exchange) => seen.set(exchange.target, exchange.template));
      next();
    }) as RequestHandler);
    build(app);
    const onError: ErrorRequestHandler = (_error, _req, res, _next) => {
      res.status(500).send('error');
    };
    app.use(onError);
    server = await listen(app);
    const { url } = server;
    return async (path) => {
      seen.delete(path);
      await fetch(url + path).then((answer) => answer.text());
      await waitFor(() => seen.has(path));
      return seen.get(path);
    };
  }
  const any = name === 'Express 5' ? '/*rest' : '*';

  it('is the path as the app declares it', async () => {
    const template = await templates((app) => {
      app.get('/', ok);
      app.get('/plain', ok);
      app.get('/users/:id', ok);
      app.get(['/a', '/b'], ok);
      app.get(/^\/re(gex)?$/, ok);
    });
    expect(await template('/')).toBe('/');
    expect(await template('/plain?q=1')).toBe('/plain');
    expect(await template('/users/42')).toBe('/users/:id');
    expect(await template('/b')).toBe('/a /b');
    expect(await template('/regex')).toBe('/^\\/re(gex)?$/');
  });

  it('has the parameters of every mount', async () => {
    const template = await templates((app) => {
      const posts = express.Router({ mergeParams: true });
      posts.get('/', ok);
      posts.get('/:pid', ok);
      const users = express.Router({ mergeParams: true });
      users.use('/:uid/posts', posts);
      users.get('/:uid', ok);
      app.use('/users', users);
    });
    expect(await template('/users/42')).toBe('/users/:uid');
    expect(await template('/users/42/posts')).toBe('/users/:uid/posts');
    expect(await template('/users/42/posts/7')).toBe('/users/:uid/posts/:pid');
    expect(await template('/users/a%20b/posts/7')).toBe('/users/:uid/posts/:pid');
    expect(await template('/users/posts/posts/posts')).toBe('/users/:uid/posts/:pid');
  });

  /** A router with one route that sees the parameters of its mounts. */
  const leaf = () => express.Router({ mergeParams: true }).get('/x', ok);

  it('is the pattern of the mount, never the URL that the client sent [I02]', async () => {
    const is5 = name === 'Express 5';
    const template = await templates((app) => {
      app.use('/api', leaf());
      app.use('/@:user', leaf());
      app.use('/t/:tenant', leaf());
      app.use('/v:version', leaf());
      app.use(/^\/year\d+/, leaf());
      app.use(/^\/group(\d+)/, leaf());
      app.use(['/one', '/two/:p', /^\/three\w?/], leaf());
      app.use(is5 ? '/files/*rest/end' : '/files/*/end', leaf());
      app.use(is5 ? '/opt{/:lang}' : '/opt/:lang?', leaf());
      app.use('/range/:from-:to.json', leaf());
      app.use('/slash/', leaf());
      app.use(is5 ? '/dot.plus\\+' : '/dot.plus\\+', leaf());
      const inner = leaf();
      app.use('/wrapped/:w', (req, res, next) => inner(req, res, next));
      const sub = express();
      sub.use('/Deep/:d', leaf());
      app.use('/Sub/:s', sub);
      app.use('/n/:x', express.Router().use('/:x', leaf()));
      const other = majors.find(([each]) => each !== name)?.[1];
      app.use(
        '/foreign',
        (other ?? express).Router().use('/of/:copy', (other ?? express).Router().get('/x', ok)),
      );
      app.use(((req, _res, next) => {
        if (req.url === '/rewritten') req.url = '/API/x';
        next();
      }) as RequestHandler);
      app.use('/api', leaf());
      app.use('/:tenant/t', leaf());
    });
    const expected: Record<string, string> = {
      '/API/x': '/api/x',
      '/@ann/x': '/@:user/x',
      '/@@/x': '/@:user/x',
      '/t/a%2Fb/x': '/t/:tenant/x',
      '/t/t/x': '/t/:tenant/x',
      '/T/%74/x': '/t/:tenant/x',
      '/q/t/x': '/:tenant/t/x',
      '/v1/x': '/v:version/x',
      '/vx%2Fv/x': '/v:version/x',
      '/year2026/x': '/^\\/year\\d+//x',
      '/group7/x': '/^\\/group(\\d+)//x',
      '/one/x': '/one/x',
      '/TWO/x/x': '/two/:p/x',
      '/files/a/b/c/end/x': is5 ? '/files/*rest/end/x' : '/files/*/end/x',
      '/opt/de/x': is5 ? '/opt{/:lang}/x' : '/opt/:lang?/x',
      '/range/a-b.json/x': '/range/:from-:to.json/x',
      '/SLASH/x': '/slash/x',
      '/Dot.Plus+/x': is5 ? '/dot.plus\\+/x' : '/dot.plus+/x',
      '/wrapped/abc/x': '/wrapped/:w/x',
      '/sub/1/DEEP/2/x': '/Sub/:s/Deep/:d/x',
      '/n/1/2/x': '/n/:x/:x/x',
      '/foreign/of/a/x': '/foreign/of/:copy/x',
      '/rewritten': '/api/x',
    };
    for (const [path, wanted] of Object.entries(expected)) expect(await template(path), path).toBe(wanted);
    expect(await template('/three3/x')).not.toContain('three3');
  });

  it('has every mount from the first request on, with hotpath mounted in a router [I02]', async () => {
    const seen: (string | undefined)[] = [];
    const router = express.Router();
    router.use(((req, res, next) => {
      exchangeOf(req, res).onClose((exchange) => seen.push(exchange.template));
      next();
    }) as RequestHandler);
    router.get('/x/:y', ok);
    const app = express();
    app.use('/t', express.Router().get('/no', ok));
    app.use('/t/:tenant', express.Router().use(['/k', '/@:user'], router));
    server = await listen(app);
    for (const path of ['/T/t/@ann/x/1', '/t/%2F/K/x/2']) {
      await (await fetch(server.url + path)).text();
    }
    await waitFor(() => seen.length === 2);
    expect(seen).toEqual(['/t/:tenant/@:user/x/:y', '/t/:tenant/k/x/:y']);
  });

  it('has at most 200 bytes, for a router that contains itself and for longer routes [I02]', async () => {
    const template = await templates((app) => {
      const tree = express.Router();
      tree.get('/leaf', ok);
      tree.use('/:ordner–', tree);
      app.use('/tree', tree);
      app.get(`/${'ü'.repeat(300)}`, ok);
    });
    for (const path of [`/tree${'/a%E2%80%93'.repeat(80)}/leaf`, `/${'%C3%BC'.repeat(300)}`]) {
      const got = await template(path);
      if (got === undefined) continue; // such a pattern matches only unencoded paths
      expect(Buffer.byteLength(got)).toBeLessThanOrEqual(200);
      expect(got).not.toContain('\ufffd');
    }
    const deep = await template(`/tree/leaf`);
    expect(deep).toBe('/tree/leaf');
  });

  it('has the mount of a sub-app', async () => {
    const template = await templates((app) => {
      const sub = express();
      sub.get('/things/:id', ok);
      sub.get('/boom', () => {
        throw new Error('boom');
      });
      app.use('/api/:version', sub);
      app.get('/after/:id', ok);
    });
    expect(await template('/api/v1/things/5')).toBe('/api/:version/things/:id');
    expect(await template('/after/5')).toBe('/after/:id');
  });

  it('keeps the mount of a route that failed', async () => {
    const template = await templates((app) => {
      const users = express.Router();
      users.get('/boom', () => {
        throw new Error('boom');
      });
      users.get('/next', (_req, _res, next) => next(new Error('boom')));
      app.use('/users/:uid', users);
    });
    expect(await template('/users/42/boom')).toBe('/users/:uid/boom');
    expect(await template('/users/42/next')).toBe('/users/:uid/next');
  });

  it('is undefined for a 404 that no route answered, even after routes ran', async () => {
    const template = await templates((app) => {
      const users = express.Router();
      users.get('/fall/:id', (_req, _res, next) => next());
      app.use('/users/:uid', users);
      app.all(any, (_req, _res, next) => next());
    });
    expect(await template('/users/42/fall/3')).toBeUndefined();
    expect(await template('/nope')).toBeUndefined();
  });

  it('is that of a route that sends the 404 itself', async () => {
    const template = await templates((app) => {
      const users = express.Router();
      users.get('/:id', (_req, res) => {
        res.status(404).send('no such user');
      });
      app.use('/users', users);
    });
    expect(await template('/users/42')).toBe('/users/:id');
  });

  it('is that of the later route when the first calls next()', async () => {
    const template = await templates((app) => {
      const first = express.Router();
      first.get('/:id', (_req, _res, next) => next());
      app.use('/mounted/:m', first);
      app.get('/mounted/:x/:y', ok);
    });
    expect(await template('/mounted/1/2')).toBe('/mounted/:x/:y');
  });

  it('is set when the client leaves', async () => {
    let seen: unknown;
    let isAsked = false;
    const app = express();
    app.use(((req, res, next) => {
      exchangeOf(req, res).onClose((exchange) => {
        seen = [exchange.template, exchange.aborted];
      });
      next();
    }) as RequestHandler);
    const router = express.Router();
    router.get('/slow/:id', () => {
      isAsked = true;
    });
    app.use('/m', router);
    server = await listen(app);
    const socket = connect(server.port, '127.0.0.1');
    socket.write('GET /m/slow/1 HTTP/1.1\r\nHost: a\r\n\r\n');
    await waitFor(() => isAsked);
    socket.destroy();
    await waitFor(() => seen);
    expect(seen).toEqual(['/m/slow/:id', true]);
  });

  it('leaves `req.baseUrl`, `req.route` and `req.originalUrl` as Express sets them', async () => {
    const seen: unknown[] = [];
    const build = (app: Express) => {
      const router = express.Router();
      router.get('/:id', (req, res) => {
        seen.push([req.baseUrl, (req.route as { path: string }).path, req.originalUrl, req.url, req.params]);
        res.send('ok');
      });
      app.use('/users', router);
    };
    const template = await templates(build);
    await template('/users/1?q');
    await server!.close();
    const plain = express();
    build(plain);
    server = await listen(plain);
    await fetch(`${server.url}/users/1?q`);
    expect(seen[0]).toEqual(seen[1]);
  });
});
