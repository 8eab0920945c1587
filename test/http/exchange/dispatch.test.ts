import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ErrorRequestHandler, Express, Request, RequestHandler, Response } from 'express';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Dispatcher,
  type InternalRequest,
  type RequestListener,
} from '../../../src/cache/revalidate/internal-request.js';
import { compression } from '../../../src/middleware/compression/index.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { type Listening, listen, majors, waitFor } from '../../helpers/http.js';

const MEGABYTE = 1024 * 1024;

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

describe.each(majors)('internal requests on %s', (_name, express) => {
  /** An app that sends requests to itself. A real request follows each internal one. */
  async function serve(build: (app: Express) => void) {
    const app = express();
    build(app);
    app.get('/real', (_req, res) => {
      res.json({ real: true });
    });
    server = await listen(app);
    const { url } = server;
    const dispatcher = new Dispatcher();
    return async (target: string, more: Partial<InternalRequest> = {}) => {
      try {
        return await dispatcher.dispatch(app as unknown as RequestListener, {
          target,
          headers: { host: 'shop.example' },
          ...more,
        });
      } finally {
        const answer = await fetch(`${url}/real`);
        expect([answer.status, await answer.json()]).toEqual([200, { real: true }]);
      }
    };
  }
  const header = (headers: readonly [string, string | string[]][], name: string) =>
    headers.find(([each]) => each.toLowerCase() === name)?.[1];

  it('returns the whole response: status, headers, body', async () => {
    const dispatch = await serve((app) => {
      app.get('/json', (_req, res) => {
        res.status(201).cookie('a', '1').cookie('b', '2').json({ ok: true });
      });
      app.get('/empty', (_req, res) => {
        res.status(204).end();
      });
    });
    const { status, headers, body } = await dispatch('/json');
    expect([status, body.toString()]).toEqual([201, '{"ok":true}']);
    expect(header(headers, 'content-type')).toBe('application/json; charset=utf-8');
    expect(header(headers, 'set-cookie')).toEqual(['a=1; Path=/', 'b=2; Path=/']);
    expect(await dispatch('/empty')).toMatchObject({ status: 204, body: Buffer.alloc(0) });
  });

  it('sends only the given headers, so no credentials of a client [H12]', async () => {
    const dispatch = await serve((app) => {
      app.get('/headers', (req, res) => {
        res.json(req.headers);
      });
    });
    const { body } = await dispatch('/headers', { headers: { host: 'shop.example', 'x-kept': '1' } });
    expect(JSON.parse(body.toString())).toEqual({ host: 'shop.example', 'x-kept': '1' });
  });

  it('shows the app the requested method, URL and headers', async () => {
    const dispatch = await serve((app) => {
      app.get('/who', (req, res) => {
        res.json({
          protocol: req.protocol,
          secure: req.secure,
          ip: req.ip,
          hostname: req.hostname,
          query: req.query,
          accept: req.get('accept'),
          internal: (req as Request & { hotpath?: { internal: boolean } }).hotpath?.internal,
        });
      });
    });
    const { body } = await dispatch('/who?a=1', {
      scheme: 'https',
      remoteAddress: '192.0.2.7',
      headers: { host: 'shop.example:8443', accept: 'text/html' },
    });
    expect(JSON.parse(body.toString())).toEqual({
      protocol: 'https',
      secure: true,
      ip: '192.0.2.7',
      hostname: 'shop.example',
      query: { a: '1' },
      accept: 'text/html',
      internal: true,
    });
    expect(JSON.parse((await dispatch('/who')).body.toString())).toMatchObject({
      protocol: 'http',
      ip: '127.0.0.1',
    });
  });

  it('accepts streams, with back-pressure', async () => {
    const piece = Buffer.alloc(64 * 1024, 'p');
    let drains = 0;
    const dispatch = await serve((app) => {
      app.get('/pipeline', (async (_req, res, next) => {
        await pipeline(Readable.from(Array.from({ length: 80 }, () => piece)), res).catch(next);
      }) as RequestHandler);
      app.get('/loop', ((_req, res) => {
        let left = 80;
        const more = () => {
          while (left-- > 0) {
            if (!res.write(piece)) {
              res.once('drain', () => {
                drains++;
                more();
              });
              return;
            }
          }
          res.end();
        };
        more();
      }) as RequestHandler);
    });
    for (const target of ['/pipeline', '/loop']) {
      const { body } = await dispatch(target, { maxBytes: 6 * MEGABYTE });
      expect(body.length, target).toBe(80 * piece.length);
    }
    expect(drains).toBeGreaterThan(2);
  });

  it('returns the response of the error handler', async () => {
    const dispatch = await serve((app) => {
      app.get('/throws', () => {
        throw new Error('thrown');
      });
      app.get('/next', (_req, _res, next) => next(new Error('passed on')));
      const onError: ErrorRequestHandler = (error, _req, res, _next) => {
        res.status(503).send(error.message);
      };
      app.use(onError);
    });
    expect(await dispatch('/throws')).toMatchObject({ status: 503, body: Buffer.from('thrown') });
    expect(await dispatch('/next')).toMatchObject({ status: 503, body: Buffer.from('passed on') });
    expect((await dispatch('/nowhere')).status).toBe(404);
  });

  it('returns redirects without following them', async () => {
    const dispatch = await serve((app) => {
      app.get('/old', (_req, res) => res.redirect(308, '/new'));
    });
    const { status, headers } = await dispatch('/old');
    expect([status, header(headers, 'location')]).toEqual([308, '/new']);
  });

  it('reaches sub-apps, whose real requests keep working', async () => {
    const dispatch = await serve((app) => {
      const sub = express();
      sub.get('/x/:id', (req, res) => {
        res.json({ id: req.params.id, base: req.baseUrl, ip: req.ip });
      });
      app.use('/sub', sub);
    });
    const expected = '{"id":"7","base":"/sub","ip":"127.0.0.1"}';
    expect((await dispatch('/sub/x/7')).body.toString()).toBe(expected);
    expect(await fetch(`${server!.url}/sub/x/7`).then((answer) => answer.text())).toBe(expected);
  });

  it('returns the body before compression', async () => {
    const text = 'compressible '.repeat(500);
    const dispatch = await serve((app) => {
      app.use(compression() as RequestHandler);
      app.get('/text', (_req, res) => {
        res.type('text').send(text);
      });
    });
    const { headers, body } = await dispatch('/text', {
      headers: { host: 'a', 'accept-encoding': 'gzip' },
    });
    expect([body.toString(), header(headers, 'content-encoding')]).toEqual([text, undefined]);
  });

  it('aborts a handler that never ends through the signal, and tells the handler', async () => {
    let isClosed = false;
    const dispatch = await serve((app) => {
      app.get('/never', (_req, res: Response) => {
        res.on('close', () => {
          isClosed = true;
        });
        res.write('so');
      });
    });
    const controller = new AbortController();
    const answer = dispatch('/never', { signal: controller.signal });
    answer.catch(() => {});
    await nextTurn();
    controller.abort(new Error('deadline'));
    await expect(answer).rejects.toThrow('deadline');
    await waitFor(() => isClosed);
    await expect(dispatch('/real', { signal: controller.signal })).rejects.toThrow('deadline');
  });

  it('rejects when the response is cut off or too long', async () => {
    const dispatch = await serve((app) => {
      app.get('/broken', (_req, res) => {
        res.write('half');
        res.destroy();
      });
      app.get('/long', (_req, res) => {
        res.send(Buffer.alloc(2 * MEGABYTE));
      });
    });
    await expect(dispatch('/broken')).rejects.toThrow(/aborted before its response was complete/);
    await expect(dispatch('/long')).rejects.toThrow(/longer than 1048576 bytes/);
    expect((await dispatch('/long', { maxBytes: 2 * MEGABYTE })).body.length).toBe(2 * MEGABYTE);
  });

  it('rejects input that would make more than one request', async () => {
    const dispatch = await serve(() => {});
    const smuggled = { host: 'a\r\n\r\nGET /evil HTTP/1.1' };
    await expect(dispatch('/real', { headers: smuggled })).rejects.toThrow(TypeError);
    await expect(dispatch('/real HTTP/1.1\r\nx: y')).rejects.toThrow(TypeError);
    // In Latin-1 these characters would be cut to a line feed.
    await expect(dispatch('/real', { headers: { host: 'a', x: 'a\u560ab' } })).rejects.toThrow(TypeError);
  });

  it('sends header bytes unchanged, in Latin-1 [H12]', async () => {
    const dispatch = await serve((app) => {
      app.get('/header', (req, res) => {
        res.send(Buffer.from(String(req.headers['x-city']), 'latin1'));
      });
    });
    const bytes = Buffer.from('K\xf6ln, \xc3\xb6', 'latin1');
    const { body } = await dispatch('/header', {
      headers: { host: 'a', 'x-city': bytes.toString('latin1') },
    });
    expect(body).toEqual(bytes);
  });

  it('accepts a head that is longer than the default limit of Node', async () => {
    const dispatch = await serve((app) => {
      app.get('/long', (req, res) => void res.send(String(req.url.length)));
    });
    const target = `/long?${'a'.repeat(60_000)}`;
    expect((await dispatch(target)).body.toString()).toBe(String(target.length));
  });

  it('rejects when the response is shorter than its Content-Length', async () => {
    const dispatch = await serve((app) => {
      app.get('/short', (_req, res) => void res.set('Content-Length', '9').status(404).end('gone'));
    });
    await expect(dispatch('/short')).rejects.toThrow('4 of the 9 bytes');
  });

  it('keeps neither header fields nor body with discardsResponse', async () => {
    const dispatch = await serve((app) => {
      app.get('/text', (_req, res) => void res.send('text'));
    });
    const answer = await dispatch('/text', { discardsResponse: true });
    expect([answer.status, answer.headers, answer.body.length]).toEqual([200, [], 0]);
  });

  it('runs many requests at once', async () => {
    const dispatch = await serve((app) => {
      app.get('/n/:n', (req, res) => {
        setTimeout(() => res.send(req.params.n), Number(req.params.n) % 5);
      });
    });
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => dispatch(`/n/${n}`)));
    expect(answers.map(({ body }) => body.toString())).toEqual(
      Array.from({ length: 50 }, (_, n) => String(n)),
    );
  });
});
