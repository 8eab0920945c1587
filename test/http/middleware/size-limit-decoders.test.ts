import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import zlib from 'node:zlib';
import type { Express, Request, RequestHandler, Response } from 'express';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hotpath } from '../../../src/hotpath.js';
import { DecoderMemory, decoderMemoryInUse } from '../../../src/middleware/size-limit/decoder-memory.js';
import { type StandaloneSizeLimitOptions, sizeLimit } from '../../../src/middleware/size-limit/index.js';
import { bodyOf, type Listening, listen, majors, raw, waitFor } from '../../helpers/http.js';

const KB = 1024;
const MB = 1024 * KB;
const NONE = { bytes: 0, decoders: 0, waiting: 0 };

const brotli = (body: Buffer, bits: number) =>
  zlib.brotliCompressSync(body, {
    params: { [zlib.constants.BROTLI_PARAM_LGWIN]: bits, [zlib.constants.BROTLI_PARAM_QUALITY]: 5 },
  });

/** A Brotli body of some 30 bytes that has filled its window and continues. */
async function openBomb(bits: number, bytes = 5 * MB): Promise<Buffer> {
  const encoder = zlib.createBrotliCompress({
    params: { [zlib.constants.BROTLI_PARAM_LGWIN]: bits, [zlib.constants.BROTLI_PARAM_QUALITY]: 9 },
  });
  const parts: Buffer[] = [];
  encoder.on('data', (part) => parts.push(part));
  encoder.write(Buffer.alloc(bytes));
  await new Promise<void>((resolve) => encoder.flush(zlib.constants.BROTLI_OPERATION_FLUSH, resolve));
  encoder.destroy();
  return Buffer.concat(parts);
}

const head = (path: string, coding: string, length: number | 'chunked') =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Encoding: ${coding}\r\n${
    length === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`
  }\r\n\r\n`;

const readAll: RequestHandler = async (req, res, next) => {
  try {
    res.send(String((await bodyOf(req)).length));
  } catch (error) {
    next(error);
  }
};

let server: Listening | undefined;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.close();
  server = undefined;
  await waitFor(() => decoderMemoryInUse().decoders + decoderMemoryInUse().waiting === 0);
  expect(decoderMemoryInUse()).toEqual(NONE);
});

describe.each(majors)('decoders of request bodies on %s', (_major, express) => {
  async function serve(
    limits: StandaloneSizeLimitOptions = {},
    routes: (app: Express) => void = () => {},
  ): Promise<number> {
    const app = express();
    // The environment of Express in tests prints no errors.
    app.set('env', 'test');
    app.use(sizeLimit(limits));
    app.post('/read', readAll);
    routes(app);
    server = await listen(app);
    return server.port;
  }
  async function send(port: number, ...parts: (string | Buffer)[]) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    sockets.push(socket);
    const sent = { socket, wire: '' };
    socket.on('data', (chunk) => {
      sent.wire += chunk;
    });
    await once(socket, 'connect');
    for (const part of parts) socket.write(part);
    return sent;
  }

  const unread: [string, string, (app: Express) => void, number][] = [
    ['a path without a route', '/none', () => {}, 404],
    ['a handler that answers', '/x', (app) => app.post('/x', (_req, res) => void res.send('ok')), 200],
    [
      'a handler that discards it',
      '/x',
      (app) => app.post('/x', (req, res) => void req.resume().once('end', () => res.send('ok'))),
      200,
    ],
    [
      'a handler that fails',
      '/x',
      (app) =>
        app.post('/x', () => {
          throw Object.assign(new Error('no'), { status: 422 });
        }),
      422,
    ],
    [
      'a handler that answers later',
      '/x',
      (app) => app.post('/x', (_req, res) => void setTimeout(() => res.send('ok'), 20)),
      200,
    ],
  ];
  it.each(unread)(
    'never decodes a body that no handler reads: %s [F05, F13]',
    async (_name, path, routes, status) => {
      const port = await serve({}, routes);
      // A decoded body would be rejected with 400, 413 or 415.
      for (const [coding, body] of [
        ['gzip', Buffer.from('this is not gzip')],
        ['br', brotli(Buffer.alloc(11 * MB), 22)],
        ['br', brotli(Buffer.alloc(11 * MB), 24)],
      ] as const) {
        expect((await raw(port, [head(path, coding, body.length), body], { first: true })).status).toBe(
          status,
        );
        const chunked = [...body].map((byte) => Buffer.from([0x31, 13, 10, byte, 13, 10]));
        const answer = await raw(port, [head(path, coding, 'chunked'), ...chunked, '0\r\n\r\n'], {
          first: true,
        });
        expect(answer.status).toBe(status);
      }
      await send(port, head(path, 'br', 1000), await openBomb(22));
      await waitFor(() => decoderMemoryInUse().waiting === 0);
      expect(decoderMemoryInUse()).toEqual(NONE);
    },
  );

  it('counts an unread body as it arrives, and cuts it at the limit [F08]', async () => {
    const port = await serve({ limit: 100 * KB });
    const { socket } = await send(port, head('/none', 'gzip', 'chunked'));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const piece = Buffer.alloc(16 * KB, 1);
    const flood = () => {
      while (socket.write(`${piece.length.toString(16)}\r\n`) && socket.write(piece) && socket.write('\r\n'));
    };
    socket.on('drain', flood);
    flood();
    await closed;
  });

  it('keeps the connection after an unread body [F05]', async () => {
    const port = await serve({}, (app) => app.post('/x', (_req, res) => void res.send('ok')));
    const body = zlib.gzipSync(Buffer.alloc(300 * KB, 'abc'), { level: 0 });
    const sent = await send(port, ...[1, 2, 3].flatMap(() => [head('/x', 'gzip', body.length), body]));
    await waitFor(() => sent.wire.split('HTTP/1.1 200').length === 4);
  });

  it('gives the whole body to a handler that starts late or reads in steps [F05]', async () => {
    const port = await serve({}, (app) => {
      app.post('/late', (req, res) => void setTimeout(() => readAll(req, res, () => {}), 30));
      app.post('/once', async (req: Request, res: Response) => {
        let bytes = 0;
        const ended = once(req, 'end');
        req.once('data', function take(chunk: Buffer) {
          bytes += chunk.length;
          queueMicrotask(() => req.once('data', take));
        });
        await ended;
        res.send(String(bytes));
      });
    });
    const body = zlib.gzipSync(Buffer.alloc(200 * KB, 'abc'), { level: 0 });
    const answer = await raw(port, [head('/late', 'gzip', body.length), body], { first: true });
    expect(answer.text).toBe(String(body.length));
    const sent = await send(port, head('/once', 'gzip', body.length));
    for (let at = 0; at < body.length; at += 20_000) {
      sent.socket.write(body.subarray(at, at + 20_000));
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await waitFor(() => sent.wire.endsWith(String(body.length)));
  });

  it('rejects Brotli windows above 22 bits with 415, before they are decoded [F05]', async () => {
    const port = await serve();
    for (let bits = 10; bits <= 24; bits++) {
      const body = brotli(Buffer.from('abc'.repeat(9000)), bits);
      const answer = await raw(port, [head('/read', 'br', body.length), body], { first: true });
      expect(answer.status, `${bits} bits`).toBe(bits > 22 ? 415 : 200);
      if (bits > 22) expect(JSON.parse(answer.text).detail).toContain(`${bits} bits; the limit is 22`);
    }
    const largeWindow = zlib.brotliCompressSync(Buffer.alloc(MB), {
      params: { [zlib.constants.BROTLI_PARAM_LARGE_WINDOW]: 1, [zlib.constants.BROTLI_PARAM_LGWIN]: 30 },
    });
    const answer = await raw(port, [head('/read', 'br', largeWindow.length), largeWindow], { first: true });
    expect(answer.status).toBe(400);
  });

  it('uses the window of the section or the route [F05]', async () => {
    const port = await serve(
      { brotliWindow: 24, routes: { '/small': { brotliWindow: 16 } } },
      (app) => void app.post('/small', readAll),
    );
    const status = async (path: string, bits: number) => {
      const body = brotli(Buffer.from('abc'.repeat(9000)), bits);
      return (await raw(port, [head(path, 'br', body.length), body], { first: true })).status;
    };
    expect([await status('/read', 24), await status('/small', 16), await status('/small', 17)]).toEqual([
      200, 200, 415,
    ]);
  });

  it.each(['one instance', 'several instances'])(
    'shares one memory limit among all bodies: %s [F13]',
    async (several) => {
      const limits = { decoderMemory: '24mb' } as const;
      const port = await serve(limits, (app) => {
        const own = [sizeLimit(limits), hotpath({ sizeLimit: limits }) as RequestHandler];
        app.post('/other', own, readAll);
      });
      const bomb = await openBomb(22);
      let most = 0;
      const watch = setInterval(() => {
        most = Math.max(most, decoderMemoryInUse().bytes);
      }, 1);
      for (let i = 0; i < 30; i++) {
        await send(
          port,
          head(several === 'several instances' && i % 2 ? '/other' : '/read', 'br', 1000),
          bomb,
        );
      }
      await waitFor(() => decoderMemoryInUse().waiting === 27);
      clearInterval(watch);
      expect(decoderMemoryInUse()).toEqual({ bytes: 12 * MB, decoders: 3, waiting: 27 });
      expect(most).toBeLessThanOrEqual(12 * MB + 64 * KB);
      // Other bodies need no such window, and do not wait.
      const body = zlib.gzipSync('an ordinary body');
      const answer = await raw(port, [head('/read', 'gzip', body.length), body], { first: true });
      expect([answer.status, answer.text]).toEqual([200, String(body.length)]);
      expect(decoderMemoryInUse().waiting).toBe(27);
      // Some bodies that hold memory end, and some that wait for it: all of it is released once.
      for (const socket of [...sockets.slice(0, 4), ...sockets.slice(20)]) socket.destroy();
      await waitFor(() => decoderMemoryInUse().waiting === 13);
      expect(decoderMemoryInUse()).toEqual({ bytes: 12 * MB, decoders: 3, waiting: 13 });
    },
  );

  it('ends idle bodies with 408 when others wait for memory, and serves the others [F13]', async () => {
    const errors: unknown[] = [];
    const port = await serve({ decoderMemory: '12mb' }, (app) => {
      app.use(((error, _req, _res, next) => {
        errors.push(error);
        next(error);
      }) as import('express').ErrorRequestHandler);
    });
    const idle = await send(port, head('/read', 'br', 1000), await openBomb(22));
    await waitFor(() => decoderMemoryInUse().bytes === 4 * MB);
    const body = brotli(Buffer.alloc(300 * KB, 'abc'), 22);
    const waiting = await send(port, head('/read', 'br', body.length), body);
    await waitFor(() => decoderMemoryInUse().waiting === 1);
    await waitFor(() => waiting.wire.endsWith(`\r\n\r\n${body.length}`));
    await waitFor(() => idle.wire.includes('\r\n\r\n{'));
    expect(idle.wire).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(idle.wire.toLowerCase()).toContain('\r\nconnection: close\r\n');
    expect(errors).toMatchObject([{ code: 'HOTPATH_BODY_TOO_SLOW', status: 408, type: 'request.timeout' }]);
  });
});

describe('decoder memory', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setImmediate', 'performance'] });
  });
  const made: DecoderMemory[] = [];
  afterEach(() => {
    for (const each of made.splice(0)) each.release();
    vi.runAllTicks();
    vi.advanceTimersByTime(1000);
    vi.useRealTimers();
  });
  function decoder(limit = 15 * MB) {
    const seen = { ended: false, granted: 0 };
    const memory: DecoderMemory = new DecoderMemory(limit, () => {
      seen.ended = true;
      memory.release();
    });
    made.push(memory);
    return Object.assign(seen, {
      take: (bytes: number) => memory.take(bytes, () => seen.granted++),
      keep: (bytes: number, input = 0) => memory.keep(bytes, input),
      release: () => memory.release(),
    });
  }
  const pass = (ms: number) => vi.advanceTimersByTime(ms);

  it('ends no body, however slow, while none waits [F13]', () => {
    const slow = decoder();
    expect(slow.take(4 * MB)).toBe(true);
    pass(3_600_000);
    expect(slow.ended).toBe(false);
  });

  it('ends the longest idle body first, and only as many as needed [F13]', () => {
    const [first, second, waiting] = [decoder(), decoder(), decoder()];
    first.take(4 * MB);
    second.take(3 * MB);
    pass(1000);
    first.keep(4 * MB, 64 * KB);
    expect(waiting.take(3 * MB)).toBe(false);
    pass(3900);
    expect([first.ended, second.ended, waiting.granted]).toEqual([false, false, 0]);
    pass(500);
    expect([first.ended, second.ended, waiting.granted]).toEqual([false, true, 1]);
    pass(60_000);
    expect(first.ended).toBe(false);
  });

  it('treats a trickle as idle, and a slow mobile client as active [F13]', () => {
    const [trickle, phone, waiting] = [decoder(), decoder(), decoder()];
    trickle.take(4 * MB);
    phone.take(2 * MB);
    waiting.take(4 * MB);
    for (let i = 0; i < 60; i++) {
      pass(100);
      trickle.keep(4 * MB, 1);
      phone.keep(2 * MB, 300); // 3 kB/s
    }
    expect([trickle.ended, phone.ended, waiting.granted]).toEqual([true, false, 1]);
  });

  it('serves small requests before those for a window [F13]', () => {
    const limit = 6 * MB;
    const [holder, window, small] = [decoder(limit), decoder(limit), decoder(limit)];
    holder.take(3 * MB);
    expect(window.take(2 * MB)).toBe(false);
    expect(small.take(1)).toBe(true);
    holder.keep(1 * MB);
    pass(0);
    expect(window.granted).toBe(0);
    small.release();
    pass(250);
    expect(window.granted).toBe(1);
  });

  it('allows a single body more than the limit [F13]', () => {
    const alone = decoder(1);
    expect(alone.take(16 * MB)).toBe(true);
    const next = decoder(1);
    expect(next.take(1)).toBe(false);
    alone.release();
    pass(0);
    expect(next.granted).toBe(1);
  });

  it('counts each release once, in any order [F13]', () => {
    const all = Array.from({ length: 40 }, () => decoder(4 * MB));
    for (const [i, each] of all.entries()) each.take(i % 3 ? MB : 64 * KB);
    for (const each of all.slice(20)) each.release();
    for (const each of all) {
      each.keep(KB);
      each.release();
      each.release();
      pass(0);
    }
    expect(decoderMemoryInUse()).toEqual({ bytes: 0, decoders: 0, waiting: 0 });
    expect(vi.getTimerCount()).toBe(0);
  });
});
