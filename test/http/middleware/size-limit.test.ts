import { once } from 'node:events';
import { connect } from 'node:net';
import type { Request, RequestHandler, Response } from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { sizeLimit } from '../../../src/middleware/size-limit/index.js';
import { HotpathError } from '../../../src/options/errors.js';
import { bodyOf, majors, raw, waitFor } from '../../helpers/http.js';
import { chunked, declared, echo, LIMIT, limitedOn, type Seen } from '../../helpers/uploads.js';

afterEach(() => void vi.restoreAllMocks());

describe.each(majors)('size limit on %s', (_name, express) => {
  const serve = limitedOn(express);

  it('rejects a declared body that is too large before the handler runs [F01]', async () => {
    const { port, seen } = await serve(echo);
    const answer = await raw(port, [`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LIMIT + 1}\r\n\r\n`]);
    expect(answer.status).toBe(413);
    expect(answer.header('connection')).toBe('close');
    expect(answer.header('cache-control')).toBe('no-store');
    expect(answer.header('content-type')).toBe('application/problem+json');
    expect(JSON.parse(answer.text)).toEqual({
      type: 'about:blank',
      title: 'Content Too Large',
      status: 413,
      detail: `The request body is larger than the limit of ${LIMIT} bytes.`,
      limit: LIMIT,
    });
    expect(seen.calls).toBe(0);
  });

  it('accepts exactly up to the limit, declared or not [F10]', async () => {
    const { port, seen } = await serve(echo);
    for (const bytes of [1, LIMIT - 1, LIMIT]) {
      for (const request of [declared(bytes), chunked(bytes)]) {
        expect((await raw(port, request)).status).toBe(200);
        expect(seen.bytes).toBe(bytes);
      }
    }
    for (const request of [declared(LIMIT + 1), chunked(LIMIT + 1)]) {
      expect((await raw(port, request)).status).toBe(413);
    }
  });

  it('accepts no body at limit 0, from GET and HEAD neither [F10]', async () => {
    const { port } = await serve(echo, { limit: 0 });
    expect((await raw(port, 'GET / HTTP/1.1\nHost: a\n\n')).status).toBe(200);
    expect((await raw(port, 'POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n')).status).toBe(200);
    for (const method of ['GET', 'POST', 'DELETE']) {
      expect((await raw(port, declared(1, '/', method))).status, method).toBe(413);
    }
    const head = await raw(port, declared(1, '/', 'HEAD'), { head: true });
    expect(head.status).toBe(413);
    expect((await raw(port, chunked(1))).status).toBe(413);
  });

  it('uses the limit of the route: larger, smaller, none', async () => {
    const { port } = await serve(echo, {
      limit: LIMIT,
      routes: { '/large': LIMIT * 4, '/small': 10, '/any': false },
    });
    const status = async (bytes: number, path: string) => [
      (await raw(port, declared(bytes, path))).status,
      (await raw(port, chunked(bytes, path))).status,
    ];
    expect(await status(LIMIT * 2, '/large')).toEqual([200, 200]);
    expect(await status(11, '/small')).toEqual([413, 413]);
    expect(await status(LIMIT * 20, '/any')).toEqual([200, 200]);
  });

  it('applies the smallest of several limits', async () => {
    const { port } = await serve(echo, { limit: LIMIT }, (app) => {
      app.use('/login', sizeLimit({ limit: 100 }));
      app.use('/import', sizeLimit({ limit: LIMIT * 10 }));
    });
    for (const make of [declared, chunked]) {
      expect((await raw(port, make(100, '/login'))).status).toBe(200);
      expect((await raw(port, make(101, '/login'))).status).toBe(413);
      expect((await raw(port, make(LIMIT + 1, '/import'))).status).toBe(413);
    }
  });

  it.each<[string, (req: Request, res: Response, seen: Seen) => unknown]>([
    ['awaits the body', echo],
    [
      'reads one chunk, then answers',
      async (req, res) => {
        await once(req, 'data');
        await once(req, 'close').catch(() => {});
        res.json({ ok: true });
      },
    ],
    [
      'swallows the error of the body',
      async (req, res) => {
        req.on('error', () => {});
        req.resume();
        await once(req, 'close').catch(() => {});
        res.status(201).json({ ok: true });
      },
    ],
    [
      'listens to nothing but data and close',
      (req, res) => {
        req.on('data', () => {});
        req.on('close', () => res.status(200).set('X-Late', '1').send('ok'));
      },
    ],
    [
      'pipes the body elsewhere',
      async (req, res) => {
        const { Writable } = await import('node:stream');
        const { pipeline } = await import('node:stream/promises');
        const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
        await pipeline(req, sink).catch(() => {});
        res.writeHead(200, { 'X-Late': '1' });
        res.end('ok');
      },
    ],
  ])(
    'never ends an oversized body without a length in a 2xx: a handler that %s [F02]',
    async (_case, handler) => {
      const { port, seen } = await serve(handler);
      const answer = await raw(port, chunked(LIMIT * 8));
      expect(answer.status).toBe(413);
      expect(JSON.parse(answer.text).limit).toBe(LIMIT);
      expect(answer.header('x-late')).toBeUndefined();
      expect(answer.wire.toString('latin1').match(/HTTP\/1\.1/g)).toHaveLength(1);
      expect(seen.calls).toBe(1);
      expect((await raw(port, declared(10))).wire.length).toBeGreaterThan(0);
    },
  );

  it('cuts off a handler that responds while it reads [F02]', async () => {
    const { port } = await serve(async (req, res) => {
      res.write('so far so good');
      await bodyOf(req);
      res.end('all of it');
    });
    const answer = await raw(port, chunked(LIMIT * 8));
    expect(answer.text).not.toContain('all of it');
    expect(answer.wire.toString('latin1')).not.toContain('0\r\n\r\n');
  });

  it('cuts an upload behind an early response at the limit [F02]', async () => {
    const { port } = await serve((_req, res) => res.status(200).send('early'));
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    const piece = `4000\r\n${'x'.repeat(16384)}\r\n`;
    let sent = 0;
    let isClosed = false;
    socket.once('close', () => {
      isClosed = true;
    });
    await once(socket, 'data');
    await waitFor(() => {
      if (!isClosed) socket.write(piece);
      sent += 16384;
      return isClosed;
    });
    expect(sent).toBeLessThan(LIMIT * 100);
  });

  it('gives readers of the body an error that names the reason [F02]', async () => {
    const { port, seen } = await serve(echo);
    await raw(port, chunked(LIMIT * 2));
    await waitFor(() => seen.errors.length > 0);
    const [error] = seen.errors;
    expect(error).toBeInstanceOf(HotpathError);
    expect(error).toMatchObject({
      code: 'HOTPATH_BODY_TOO_LARGE',
      status: 413,
      statusCode: 413,
      type: 'entity.too.large',
      limit: LIMIT,
    });
  });

  it.each(['json', 'raw', 'text', 'urlencoded'] as const)(
    'never passes the body on from express.%s() [F02]',
    async (kind) => {
      const { port, seen } = await serve(echo, { limit: LIMIT }, (app) => {
        const options = { limit: '1gb', type: () => true, extended: false };
        app.use(express[kind](options as never) as RequestHandler);
      });
      const answer = await raw(port, chunked(LIMIT * 4));
      expect(answer.status).toBe(413);
      expect(JSON.parse(answer.text).limit).toBe(LIMIT);
      await waitFor(() => seen.errors.length > 0);
      expect(seen.errors[0]).toMatchObject({ status: 413, type: 'entity.too.large' });
      expect(seen.calls).toBe(0);
    },
  );

  it('throws nothing in a handler that goes on, and drops its response [F02]', async () => {
    const failures: unknown[] = [];
    let done = false;
    const { port } = await serve(async (req, res) => {
      req.resume();
      await once(req, 'close').catch(() => {});
      try {
        res.status(200).set('X-Late', '1').cookie('a', 'b').type('text').removeHeader('x-powered-by');
        res.flushHeaders();
        res.write('late');
        res.json({ late: true });
        expect(res.statusCode).toBe(413);
      } catch (error) {
        failures.push(error);
      }
      done = true;
    });
    const answer = await raw(port, chunked(LIMIT * 2));
    await waitFor(() => done);
    expect(failures).toEqual([]);
    expect(answer.status).toBe(413);
    expect(answer.header('x-late')).toBeUndefined();
  });

  it('counts received bytes, with any declared length [F03]', async () => {
    // Over HTTP/1 the parser enforces the length of a body. Adapters that push chunks may not.
    const { port } = await serve(async (req, res, seen) => {
      const reading = bodyOf(req).catch((error) => {
        seen.errors.push(error);
      });
      req.push(Buffer.alloc(LIMIT * 2));
      await reading;
      res.json({});
    });
    const answer = await raw(port, declared(10));
    expect(answer.status).toBe(413);
  });

  it.each(['Chunked', 'gzip, chunked', 'CHUNKED'])(
    'applies to `Transfer-Encoding: %s` [F04]',
    async (coding) => {
      const { port } = await serve(echo);
      const [, ...pieces] = chunked(LIMIT * 2);
      const answer = await raw(port, [
        `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ${coding}\r\n\r\n`,
        ...pieces,
      ]);
      expect(answer.status).toBe(413);
    },
  );

  it.each(['+5', '0x5', '1e3', '-1', '5, 5', '99999999999999999999999'])(
    'never passes a Content-Length of %s to a handler [F04]',
    async (length) => {
      const { port, seen } = await serve(echo);
      const answer = await raw(port, [
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\nxxxxx`,
      ]);
      expect(answer.status).toBe(400);
      expect(seen.calls).toBe(0);
    },
  );
});

describe('sizeLimit()', () => {
  it.each(['10 mbb', Number.NaN, {}, -1, '', Number.POSITIVE_INFINITY, null])(
    'rejects a limit of %j at creation [F06]',
    (limit) => {
      expect(() => sizeLimit({ limit } as never)).toThrow(
        expect.objectContaining({
          code: 'HOTPATH_CONFIG_INVALID',
          message: expect.stringContaining('sizeLimit.limit'),
        }),
      );
    },
  );

  it('uses the default for an absent or undefined limit [F06]', () => {
    expect(sizeLimit()).toBeTypeOf('function');
    expect(sizeLimit({ limit: undefined })).toBeTypeOf('function');
  });
});
