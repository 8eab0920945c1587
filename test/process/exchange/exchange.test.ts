import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { gunzipSync } from 'node:zlib';
import type { Request, RequestHandler, Response } from 'express';
import session from 'express-session';
import onHeaders from 'on-headers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Exchange, exchangeOf, HeadOrder } from '../../../src/exchange/exchange.js';
import { compression } from '../../../src/middleware/compression/index.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { gate } from '../../helpers/gate.js';
import { majors, raw, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const GET = 'GET / HTTP/1.1\nHost: a\n\n';
const CODED = 'GET / HTTP/1.1\nHost: a\nAccept-Encoding: gzip\n\n';
const TEXT = 'some text, and then some more. '.repeat(200);

const serveApp = serveUntilAfterEach();
afterEach(() => vi.restoreAllMocks());

describe.each(majors)('the exchange on %s', (_name, express) => {
  type Watch = (exchange: Exchange, req: Request, res: Response) => void;

  async function serve(
    watch: Watch,
    handler: (req: Request, res: Response) => unknown,
    { before = [], after = [] }: { before?: RequestHandler[]; after?: RequestHandler[] } = {},
  ): Promise<number> {
    const app = express();
    for (const each of before) app.use(each);
    app.use(((req, res, next) => {
      watch(exchangeOf(req, res), req, res);
      next();
    }) as RequestHandler);
    for (const each of after) app.use(each);
    app.use(((req, res) => {
      handler(req, res);
    }) as RequestHandler);
    return (await serveApp(app)).port;
  }

  it('calls listeners in order, each once', async () => {
    const seen: string[] = [];
    const port = await serve(
      (exchange) => {
        exchange.onHead(() => seen.push('seal'), HeadOrder.seal);
        exchange.onHead(() => seen.push('edit'), HeadOrder.edit);
        exchange.onHead(() => seen.push('capture'), HeadOrder.capture);
        exchange.onSent(() => seen.push('sent'));
        exchange.onChunk((chunk) => seen.push(`chunk ${chunk}`));
        exchange.onEnd(() => seen.push(`end ${exchange.bodyBytes}`));
        exchange.onClose(() => seen.push(`close ${exchange.aborted}`));
      },
      (_req, res) => {
        res.write('ab');
        res.end('c');
      },
    );
    await raw(port, GET);
    await waitFor(() => seen.length === 8);
    expect(seen).toEqual(['capture', 'edit', 'seal', 'sent', 'chunk ab', 'chunk c', 'end 3', 'close false']);
  });

  it('shows `head` listeners headers passed only to writeHead, in every form [A20]', async () => {
    for (const args of [
      [200, { 'Cache-Control': 'private', 'Set-Cookie': ['a=1', 'b=2'] }],
      [200, 'Fine', { 'Cache-Control': 'private', 'Set-Cookie': ['a=1', 'b=2'] }],
      [200, ['Cache-Control', 'private', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']],
      [
        200,
        [
          ['Cache-Control', 'private'],
          ['Set-Cookie', 'a=1'],
          ['Set-Cookie', 'b=2'],
        ],
      ],
    ]) {
      let seen: unknown;
      const port = await serve(
        (exchange, _req, res) => {
          res.removeHeader('X-Powered-By');
          exchange.onHead(() => {
            seen = { ...res.getHeaders() };
          });
        },
        (_req, res) => (res.writeHead as (...args: unknown[]) => Response)(...args).end(),
      );
      await raw(port, GET);
      expect(seen).toEqual({ 'cache-control': 'private', 'set-cookie': ['a=1', 'b=2'] });
    }
  });

  describe('headers that other middlewares add when the headers are flushed [A21]', () => {
    const cookie: RequestHandler = (_req, res, next) => {
      onHeaders(res, () => res.setHeader('Set-Cookie', 'late=1'));
      next();
    };
    const sessions = session({ secret: 's', resave: false, saveUninitialized: true });
    const cases: [string, RequestHandler, 'before' | 'after'][] = [
      ['on-headers, mounted before', cookie, 'before'],
      ['on-headers, mounted after', cookie, 'after'],
      ['express-session, mounted before', sessions, 'before'],
      ['express-session, mounted after', sessions, 'after'],
    ];
    it.each(cases)('are on the wire and seen by `sent`: %s', async (_case, middleware, where) => {
      const seen: Record<string, boolean> = {};
      const port = await serve(
        (exchange, _req, res) => {
          exchange.onHead(() => {
            seen.head = res.hasHeader('set-cookie');
          });
          exchange.onSent(() => {
            seen.sent = res.hasHeader('set-cookie');
          });
        },
        (_req, res) => res.send('body'),
        { [where]: [middleware] },
      );
      const answer = await raw(port, GET);
      expect(answer.header('set-cookie')).toMatch(/^(?:late=1|connect\.sid=)/);
      // Mounted after hotpath, it patches above it and has set its cookie before `head`.
      expect(seen).toEqual({ head: where === 'after', sent: true });
    });
  });

  describe.each([
    ['alone', GET],
    ['above compression', CODED],
  ])('callbacks and return values, %s', (_case, request) => {
    const shapes: Record<string, (res: Response, done: (name: string) => () => void) => void> = {
      'end(callback)': (res, done) => res.end(done('end')),
      'end(chunk, callback)': (res, done) => res.end(TEXT, done('end')),
      'end(chunk, encoding, callback)': (res, done) => res.end(TEXT, 'latin1', done('end')),
      'end(null, callback)': (res, done) => res.end(null, done('end')),
      'write(chunk, callback)': (res, done) => {
        res.write(TEXT, done('write'));
        res.end(done('end'));
      },
      'write(chunk, encoding, callback)': (res, done) => {
        res.write('616263', 'hex', done('write'));
        res.end(TEXT, done('end'));
      },
    };
    it.each(Object.keys(shapes))('calls back once: %s', async (shape) => {
      const calls: string[] = [];
      const port = await serve(
        () => {},
        (_req, res) => {
          res.type('text');
          shapes[shape]!(res, (name) => () => calls.push(name));
        },
        { after: [compression() as RequestHandler] },
      );
      const answer = await raw(port, request);
      const expected = shape.startsWith('write') ? ['write', 'end'] : ['end'];
      await waitFor(() => calls.length >= expected.length);
      await nextTurn();
      expect(calls).toEqual(expected);
      if (shape !== 'end(callback)' && shape !== 'end(null, callback)') {
        const body = request === CODED ? gunzipSync(answer.body).toString() : answer.text;
        expect(body).toContain(TEXT.trim());
      }
    });

    it('returns the response from `end`, reports back-pressure from `write`, emits `drain`', async () => {
      const results: unknown[] = [];
      let response: Response | undefined;
      const port = await serve(
        () => {},
        (_req, res) => {
          response = res;
          res.type('text');
          let ok = true;
          for (let i = 0; i < 1000 && ok; i++) ok = res.write(Buffer.alloc(65536, 'x'));
          results.push(ok);
          res.once('drain', () => results.push('drain', res.end('last') === res));
        },
        { after: [compression() as RequestHandler] },
      );
      const answer = await raw(port, request);
      const body = request === CODED ? gunzipSync(answer.body) : answer.body;
      expect(results).toEqual([false, 'drain', true]);
      expect(body.subarray(-4).toString()).toBe('last');
      expect(response!.writableFinished).toBe(true);
    });

    it('tolerates a write after the end', async () => {
      const errors: unknown[] = [];
      const port = await serve(
        () => {},
        (_req, res) => {
          res.on('error', () => {});
          res.end('body');
          res.write('more', (error) => errors.push(error));
          res.end('again');
        },
      );
      expect((await raw(port, request)).text).toBe('body');
      await waitFor(() => errors.length === 1);
      expect(errors[0]).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' });
    });
  });

  it('passes chunks equal to the bytes on the wire in any encoding, and never changed [D13]', async () => {
    const chunks: Buffer[] = [];
    const port = await serve(
      (exchange) => exchange.onChunk((chunk) => chunks.push(chunk)),
      (_req, res) => {
        const shared = Buffer.from([0xff, 0xfe]);
        res.write(shared, () => shared.fill(0));
        res.write('é', 'latin1');
        res.write(new Uint8Array([1, 2]));
        res.write('é€', 'utf16le');
        res.write('w6k', 'base64');
        res.end('6162', 'hex');
      },
    );
    const answer = await raw(port, GET);
    expect(Buffer.concat(chunks)).toEqual(answer.body);
    expect(answer.body.subarray(0, 3)).toEqual(Buffer.from([0xff, 0xfe, 0xe9]));
  });

  describe('completion of a response [D04]', () => {
    async function ending(handler: (req: Request, res: Response) => unknown, request = GET) {
      const seen: string[] = [];
      const port = await serve((exchange) => {
        exchange.onEnd(() => seen.push('end'));
        exchange.onClose(() => seen.push(exchange.aborted ? 'aborted' : 'whole'));
      }, handler);
      await raw(port, request).catch(() => {});
      await waitFor(() => seen.includes('aborted') || seen.includes('whole'));
      return seen;
    }
    it('is complete after end', async () => {
      expect(await ending((_req, res) => res.send('x'))).toEqual(['end', 'whole']);
      expect(await ending((_req, res) => res.send('x'), 'HEAD / HTTP/1.1\nHost: a\n\n')).toEqual([
        'end',
        'whole',
      ]);
      expect(await ending((_req, res) => res.status(204).end())).toEqual(['end', 'whole']);
      expect(await ending((_req, res) => res.send('x'), 'GET / HTTP/1.0\n\n')).toEqual(['end', 'whole']);
    });
    it('is aborted after destroy, at any moment', async () => {
      expect(await ending((_req, res) => res.destroy())).toEqual(['aborted']);
      expect(await ending((req) => req.socket.destroy())).toEqual(['aborted']);
      const halfWay = (_req: Request, res: Response) => {
        res.write('half');
        setImmediate(() => res.destroy(new Error('source failed')));
      };
      expect(await ending(halfWay)).toEqual(['aborted']);
    });
    it('is aborted when the client leaves before the end or half-way through a large response', async () => {
      for (const size of [0, 64 * 1024 * 1024]) {
        let exchange: Exchange | undefined;
        const port = await serve(
          (each) => {
            exchange = each;
          },
          (_req, res) => {
            res.write('x');
            if (size) res.end(Buffer.alloc(size));
          },
        );
        const socket = connect(port, '127.0.0.1');
        socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
        await once(socket, 'data');
        socket.destroy();
        await waitFor(() => exchange!.closed);
        expect([exchange!.aborted, exchange!.ended]).toEqual([true, size > 0]);
        // A listener that is added late is called at once.
        const late = vi.fn();
        exchange!.onClose(late);
        expect(late).toHaveBeenCalledTimes(1);
      }
    });
  });

  describe('holdEnd', () => {
    it('delays the end of the response, and not its start', async () => {
      const held = gate();
      const port = await serve(
        (exchange) => exchange.holdEnd(() => held.opened),
        (_req, res) => {
          res.write('start ');
          res.end('end');
        },
      );
      const answer = await fetch(`http://127.0.0.1:${port}/`);
      const reader = answer.body!.getReader();
      expect(Buffer.from((await reader.read()).value!).toString()).toBe('start ');
      let isOver = false;
      const rest = reader.read().then(({ value }) => {
        isOver = true;
        return Buffer.from(value!).toString();
      });
      await fetch(`http://127.0.0.1:${port}/`).then((other) => other.body?.cancel());
      expect(isOver).toBe(false);
      held.open();
      expect(await rest).toBe('end');
    });

    it.each<[string, (exchange: Exchange) => Promise<unknown> | undefined]>([
      ['a rejection', () => Promise.reject(new Error('no'))],
      [
        'a hold that throws',
        () => {
          throw new Error('no');
        },
      ],
      ['no hold at all', () => undefined],
    ])('releases the end after %s', async (_case, hold) => {
      vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const port = await serve(
        (exchange) => exchange.holdEnd(hold),
        (_req, res) => res.send('body'),
      );
      expect((await raw(port, GET)).text).toBe('body');
    });

    it('tolerates a second end, a late write and a next() meanwhile', async () => {
      const held = gate();
      const errors: unknown[] = [];
      const app = express();
      app.use(((req, res, next) => {
        exchangeOf(req, res).holdEnd(() => held.opened);
        next();
      }) as RequestHandler);
      app.use(((_req, res, next) => {
        res.send('body');
        res.write('more', (error) => errors.push(error));
        res.end('again');
        next();
        setImmediate(held.open);
      }) as RequestHandler);
      const server = await serveApp(app);
      expect((await raw(server.port, GET)).text).toBe('body');
      expect(errors[0]).toMatchObject({ code: 'ERR_STREAM_WRITE_AFTER_END' });
    });
  });

  it('sends no body after dropBody, still passes chunks, and calls callbacks', async () => {
    const chunks: string[] = [];
    const called = vi.fn();
    const port = await serve(
      (exchange, _req, res) => {
        exchange.onHead(() => {
          exchange.dropBody();
          res.statusCode = 304;
          for (const name of ['Content-Length', 'Content-Type']) res.removeHeader(name);
        });
        exchange.onChunk((chunk) => chunks.push(chunk.toString()));
      },
      (_req, res) => {
        res.type('text');
        res.write('a', called);
        res.end('b', called);
      },
    );
    const answer = await raw(port, `${GET.trimEnd()}\nConnection: close\n\n`);
    expect([answer.status, answer.body.length, chunks]).toEqual([304, 0, ['a', 'b']]);
    await waitFor(() => called.mock.calls.length === 2);
  });

  it('sends only `respond` to the client after lock, and throws nothing in the app', async () => {
    const failures: unknown[] = [];
    const port = await serve(
      () => {},
      (req, res) => {
        const exchange = exchangeOf(req, res);
        exchange.lock();
        const late = () => {
          try {
            res.status(500).set('X-Late', '1').append('X-Late', '2').type('html');
            res.writeHead(500, { 'X-Late': '3' });
            res.flushHeaders();
            res.write('late');
            res.json({ late: true });
            res.destroy();
          } catch (error) {
            failures.push(error);
          }
        };
        late();
        exchange.respond(() => res.status(418).set('X-Ours', '1').send('ours'));
        late();
        expect(res.statusCode).toBe(418);
      },
    );
    const answer = await raw(port, GET);
    expect([answer.status, answer.text, answer.header('x-late')]).toEqual([418, 'ours', undefined]);
    expect(answer.header('x-ours')).toBe('1');
    expect(failures).toEqual([]);
  });

  it('encodes a body below the chunk listeners, though others patched above', async () => {
    const order: string[] = [];
    const port = await serve(
      (exchange) => {
        exchange.onChunk((chunk) => order.push(`ours ${chunk}`));
        exchange.onHead(() => {
          exchange.encodeBody((output) => ({
            write: (chunk) => output.write(Buffer.from(`<${chunk}>`)),
            end(chunk) {
              order.push(`below ${chunk}`);
              output.write(Buffer.from(`<${chunk}>`));
              output.end();
            },
            flush() {},
          }));
        });
      },
      (_req, res) => {
        const top = res.end;
        res.end = ((...args: unknown[]) => {
          order.push('above');
          return (top as (...args: unknown[]) => Response).apply(res, args);
        }) as never;
        res.setHeader('Content-Length', 2);
        res.write('w');
        res.end('x');
      },
    );
    expect((await raw(port, GET)).text).toBe('<w><x>');
    expect(order).toEqual(['ours w', 'above', 'ours x', 'below x']);
  });

  it('reports a listener that throws, and sends the response', async () => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const bad = () => {
      throw new Error('bad');
    };
    const port = await serve(
      (exchange) => {
        exchange.onHead(bad);
        exchange.onSent(bad);
        exchange.onChunk(bad);
        exchange.onEnd(bad);
        exchange.onClose(bad);
      },
      (_req, res) => res.send('body'),
    );
    expect((await raw(port, GET)).text).toBe('body');
    warning.mockRestore();
  });

  it('sends headers that are invalid to the error handler, whose response is sent [K03]', async () => {
    const app = express();
    let heads = 0;
    app.use(((req, res, next) => {
      exchangeOf(req, res).onHead(() => heads++);
      next();
    }) as RequestHandler);
    app.get('/', ((_req, res) => {
      res.writeHead(200, { 'X-Bad': 'a\nb' });
    }) as RequestHandler);
    app.use(((_error: Error, _req: Request, res: Response, _next: () => void) => {
      res.status(500).send('handled');
    }) as never);
    const server = await serveApp(app);
    const answer = await raw(server.port, GET);
    expect([answer.status, answer.text, heads]).toEqual([500, 'handled', 1]);
  });

  it('shares one exchange between two copies of the module', async () => {
    vi.resetModules();
    const copy = await import('../../../src/exchange/exchange.js');
    expect(copy.exchangeOf).not.toBe(exchangeOf);
    let isShared = false;
    let heads = 0;
    const port = await serve(
      (exchange) => exchange.onHead(() => heads++),
      (req, res) => {
        isShared = (copy.exchangeOf(req, res) as unknown) === exchangeOf(req, res);
        res.send('x');
      },
    );
    await raw(port, GET);
    expect([isShared, heads]).toEqual([true, 1]);
  });
});

it('works on plain node:http, without Express', async () => {
  const seen: string[] = [];
  const server = await serveApp(
    createServer((req, res) => {
      const exchange = exchangeOf(req, res);
      exchange.onEnd(() => seen.push(`${exchange.path} ${exchange.template}`));
      res.end('plain');
    }),
  );
  expect((await raw(server.port, 'GET /a?b HTTP/1.1\nHost: a\n\n')).text).toBe('plain');
  expect(seen).toEqual(['/a undefined']);
});
