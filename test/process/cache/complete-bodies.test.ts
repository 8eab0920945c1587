import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Request, Response } from 'express';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import { describe, expect, it, vi } from 'vitest';
import { type CacheApp, cacheApp } from '../../helpers/cache.js';
import { majors, partOn4, raw, waitFor } from '../../helpers/http.js';

const routes: StandaloneCacheOptions['routes'] = { '/x': { ttl: 60 } };
const whole = 'whole'.repeat(200);
const fault = () => new Error('of the source');

async function* breaking(pieces: number): AsyncGenerator<string> {
  for (let i = 0; i < pieces; i++) {
    yield 'half'.repeat(1000);
    await new Promise(setImmediate);
  }
  throw fault();
}

/** How a handler may fail to send a complete body. */
const breaks: [how: string, answer: (req: Request, res: Response) => unknown][] = [
  ['a pipeline whose source fails half-way', (_req, res) => pipeline(Readable.from(breaking(3)), res)],
  [
    'a pipeline whose source fails before the first byte, ended all the same',
    (_req, res) => pipeline(Readable.from(breaking(0)), res).catch(() => res.end()),
  ],
  [
    'a pipeline whose source fails half-way, ended all the same',
    (_req, res) => pipeline(Readable.from(breaking(2)), res).catch(() => res.end()),
  ],
  [
    'a piped source that fails',
    (_req, res) =>
      Readable.from(breaking(2))
        .once('error', () => res.destroy())
        .pipe(res),
  ],
  [
    'a generator that throws',
    async (_req, res) => {
      for await (const piece of breaking(2)) res.write(piece);
    },
  ],
  ['destroy() after a piece', (_req, res) => res.write('half', () => res.destroy())],
  [
    'destroy() and then end() in one turn',
    (_req, res) => {
      res.write('half');
      res.destroy();
      res.end('rest');
    },
  ],
  [
    "the socket's destroy() and then end() in one turn",
    (req, res) => {
      res.write('half');
      req.socket.destroy();
      res.end();
    },
  ],
  [
    'destroy() before anything, and then end()',
    (_req, res) => {
      res.destroy();
      res.end();
    },
  ],
  [
    'an error after the headers, passed to next()',
    (_req, res) => {
      res.write('half');
      throw fault();
    },
  ],
];

const lengths: [how: string, answer: (res: Response) => unknown][] = [
  [
    'less than declared',
    (res) => res.writeHead(200, { 'Content-Length': '100', Connection: 'close' }).end('short'),
  ],
  [
    'more than declared',
    (res) => res.writeHead(200, { 'Content-Length': '3', Connection: 'close' }).end('longer'),
  ],
  [
    'more than declared, in pieces',
    (res) => {
      res.writeHead(200, { 'Content-Length': '3', Connection: 'close' });
      res.write('lon');
      res.end('ger');
    },
  ],
  ['nothing of what was declared', (res) => res.set({ 'Content-Length': '9', Connection: 'close' }).end()],
];

const STEP = 4096;
/** The byte at every multiple of 4,096 of a megabyte: enough to find a lost, repeated or misplaced piece. */
const mark = (megabyte: number, at: number) => (megabyte * 256 + at / STEP) % 251;
/** A chunk of one megabyte on the wire: its size, its bytes and the end of a line. */
const SIZE_LINE = '100000\r\n'.length;
const ON_WIRE = SIZE_LINE + 1024 ** 2 + 2;

/**
 * The megabytes in a response whose marks are all right, and what follows the last of them. Reads into one buffer: a
 * client of Node copies each piece into new memory, which takes more CPU time than the server.
 */
async function received(port: number, path: string): Promise<[megabytes: number, rest: string]> {
  let wire = 0;
  let [megabyte, at] = [0, 0];
  let isInBody = false;
  let rest = '';
  const isRight = (bytes: Buffer) => {
    for (;;) {
      const position = megabyte * ON_WIRE + SIZE_LINE + at - wire;
      if (position >= bytes.length) break;
      if (bytes[position] !== mark(megabyte, at)) return false;
      at += STEP;
      if (at === 1024 ** 2) [megabyte, at] = [megabyte + 1, 0];
    }
    wire += bytes.length;
    return true;
  };
  const callback = (length: number, all: Uint8Array) => {
    let bytes = Buffer.from(all.buffer, all.byteOffset, length);
    if (!isInBody) bytes = bytes.subarray(bytes.indexOf('\r\n\r\n') + 4);
    isInBody = true;
    if (!isRight(bytes)) socket.destroy();
    rest = bytes.subarray(-5).toString('latin1');
    return true;
  };
  const onread = { buffer: Buffer.alloc(64 * 1024), callback };
  const socket = connect({ host: '127.0.0.1', port, onread });
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`);
  await once(socket, 'close');
  return [(wire - rest.length) / ON_WIRE, rest];
}

/** Sends a request, leaves when the handler runs, and waits until the fill is settled. */
async function leaveEarly(made: CacheApp, path: string, headers: Record<string, string> = {}): Promise<void> {
  const leaving = new AbortController();
  const pending = made.get(path, headers, { signal: leaving.signal }).catch(() => {});
  await waitFor(() => made.runs() === 1);
  leaving.abort();
  await pending;
  await waitFor(() => made.cache.stats().pending === 0);
}

describe.each(majors)('complete bodies (%s)', (major, express) => {
  /** Responds as the test defines the first time, and completely from then on. */
  const make = (answer: (req: Request, res: Response) => unknown) =>
    cacheApp({
      express,
      cache: { routes, waitTimeout: 0.2 },
      routes: (app, { count }) =>
        app.get('/x', async (req, res, next) => {
          try {
            if (count() > 1) res.send(whole);
            else await answer(req, res);
          } catch (error) {
            next(error);
          }
        }),
    });

  it.each(breaks)(
    'stores nothing after %s and sends the next client the whole body [D01]',
    async (_how, answer) => {
      const made = await make(answer);
      // The first client sees that the body broke off: no last chunk, no complete response.
      const first = await raw(made.port, `GET /x HTTP/1.1\nHost: 127.0.0.1:${made.port}\n\n`).catch(
        () => undefined,
      );
      expect(first?.wire.toString('latin1').endsWith('0\r\n\r\n') ?? false).toBe(false);
      for (let i = 0; i < 3; i++) expect((await made.get('/x')).text).toBe(whole);
      expect(made.runs()).toBe(2);
      expect(made.cache.stats()).toMatchObject({ stores: 1, entries: 1 });
      await waitFor(() => made.cache.stats().pending === 0);
    },
  );

  it.each(lengths)('does not store a body of %s [D02, D03]', async (_how, answer) => {
    const made = await make((_req, res) => answer(res));
    await made.raw('GET /x HTTP/1.1');
    for (let i = 0; i < 2; i++) {
      const { text, headers } = await made.get('/x');
      expect(text).toBe(whole);
      expect(headers.get('content-length')).toBe(String(whole.length));
    }
    expect(made.runs()).toBe(2);
    expect(made.cache.stats()).toMatchObject({ stores: 1, pending: 0 });
  });

  it('does not store a response that never ends, whatever it sent [D04]', async () => {
    const made = await make((_req, res) => res.write(whole));
    const socket = connect(made.port, '127.0.0.1', () =>
      socket.write(`GET /x HTTP/1.1\r\nHost: 127.0.0.1:${made.port}\r\n\r\n`),
    );
    await once(socket, 'data');
    expect(made.cache.stats().entries).toBe(0);
    socket.destroy();
    await waitFor(() => made.cache.stats().pending === 0);
    expect((await made.get('/x')).text).toBe(whole);
    expect(made.runs()).toBe(2);
  });

  it('stores nothing partial when 200 clients leave during a streamed fill [D05]', async () => {
    let closed = 0;
    let started = 0;
    const made = await cacheApp({
      express,
      cache: { routes, waitTimeout: 0.2 },
      before: (app) =>
        app.use((_req, res, next) => {
          started++;
          res.once('close', () => closed++);
          next();
        }),
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          async function* pieces() {
            for (let i = 0; i < 20; i++) {
              yield whole;
              await new Promise(setImmediate);
            }
          }
          await pipeline(Readable.from(pieces()), res).catch(() => {});
        }),
    });
    const leave = (i: number) =>
      new Promise<void>((resolve) => {
        let left = (i * 97) % 20_000;
        const socket = connect(made.port, '127.0.0.1', () =>
          socket.write(`GET /x HTTP/1.1\r\nHost: 127.0.0.1:${made.port}\r\n\r\n`),
        );
        const go = () => socket.destroy();
        if (i % 10 === 0) setImmediate(go);
        socket.on('data', (data) => (left -= data.length) <= 0 && go());
        socket.on('error', () => {});
        socket.on('close', () => resolve());
        setTimeout(go, 300 + i).unref();
      });
    // In rounds, with a purge between them, so that there are many fills to leave.
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 20 }, (_none, i) => leave(round * 20 + i)));
      expect((await made.get('/x')).text).toBe(whole.repeat(20));
      await made.cache.purge({ all: true }, { erase: true });
    }
    await waitFor(() => closed === started);
    await waitFor(() => made.cache.stats().pending === 0);
    expect(made.cache.stats()).toMatchObject({ entries: 0, bytes: 0 });
    expect(process.getActiveResourcesInfo().filter((name) => /zlib/i.test(name))).toEqual([]);
  });

  it('stores no empty response when a client leaves before a stream begins [D06]', async () => {
    const made = await make(async (req, res) => {
      await once(req, 'close');
      await pipeline(Readable.from([whole, whole]), res).catch(() => {});
      res.end();
    });
    await leaveEarly(made, '/x');
    expect((await made.get('/x')).text).toBe(whole);
    expect(made.runs()).toBe(2);
  });

  it('limits a handler to the inputs of the key after its client left [D06]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60, vary: { query: ['a'] } } } },
      routes: (app, { count }) =>
        app.get('/x', async (req, res) => {
          if (count() === 1) await once(res, 'close');
          res
            .set('ETag', '"one"')
            .send(`${JSON.stringify(req.query)} ${req.originalUrl} ${req.url} ${whole}`);
        }),
    });
    await leaveEarly(made, '/x?a=1&evil=2', { 'If-None-Match': '"one"' });
    expect((await made.get('/x?a=1')).text).toBe(`{"a":"1"} /x?a=1 /x?a=1 ${whole}`);
    expect(made.runs()).toBe(1);
  });

  const megabytes = partOn4(major, 1024, 256);
  it(`passes a stream of ${megabytes} MB through whole, retains none [D08, D09, I-BOUND]`, async () => {
    const piece = Buffer.alloc(1024 ** 2, 'x');
    let highest = 0;
    let waited = 0;
    const stream = async (res: Response, length = megabytes) => {
      for (let i = 0; i < length; i++) {
        for (let at = 0; at < piece.length; at += STEP) piece[at] = mark(i, at);
        if (!res.write(piece)) {
          waited++;
          await once(res, 'drain'); // the piece is sent then, and can be filled again
        }
        highest = Math.max(highest, process.memoryUsage.rss());
      }
      res.end();
    };
    const made = await cacheApp({
      express,
      cache: { routes, maxEntryBytes: '1mb' },
      before: (app) => app.get('/plain', (_req, res) => void stream(res, 256)),
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          void stream(res);
        }),
    });
    // The client runs in this process too, with its buffers: first without the cache.
    expect(await received(made.port, '/plain')).toEqual([256, '0\r\n\r\n']);
    const without = highest;
    // Retained bytes count every time; garbage that is not yet collected only sometimes.
    let least = Number.POSITIVE_INFINITY;
    for (let attempt = 1; attempt <= 4 && least >= 50; attempt++) {
      highest = waited = 0;
      expect(await received(made.port, '/x')).toEqual([megabytes, '0\r\n\r\n']);
      expect(made.runs()).toBe(attempt);
      // The handler learns when to wait, so that nothing accumulates before a client either.
      expect(waited).toBeGreaterThan(megabytes / 2);
      least = Math.min(least, (highest - without) / 1024 ** 2);
    }
    expect(least).toBeLessThan(50);
    expect(made.cache.stats()).toMatchObject({ entries: 0, pending: 0 });
  }, 60_000);

  it('copies no further piece of a body that has become too large [D08]', async () => {
    const piece = Buffer.alloc(1000, 'x');
    const made = await cacheApp({
      express,
      cache: { routes, maxEntryBytes: 1024 },
      routes: (app) =>
        app.get('/x', (_req, res) => {
          for (let i = 0; i < 9; i++) res.write(piece);
          res.end();
        }),
    });
    const copy = vi.spyOn(Buffer, 'from');
    const { text } = await made.get('/x');
    const copied = copy.mock.calls.filter(([from]) => (from as unknown) === piece);
    copy.mockRestore();
    expect(text).toHaveLength(9000);
    expect(copied).toHaveLength(2);
  });

  it('makes a handler that awaits drain wait for a slow reader during a fill [D09]', async () => {
    let written = 0;
    const made = await cacheApp({
      express,
      cache: { routes, maxEntryBytes: '64mb' },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          for (; written < 48; written++) if (!res.write(Buffer.alloc(1024 ** 2))) await once(res, 'drain');
          res.end();
        }),
    });
    const socket = connect(made.port, '127.0.0.1', () =>
      socket.write(`GET /x HTTP/1.1\r\nHost: 127.0.0.1:${made.port}\r\n\r\n`),
    );
    socket.pause();
    await waitFor(() => written > 0);
    let last = -1;
    await waitFor(async () => {
      if (written === last) return true;
      last = written;
      await delay(50);
      return false;
    });
    expect(written).toBeLessThan(40);
    socket.resume();
    await waitFor(() => made.cache.stats().stores === 1);
    expect((await made.get('/x')).text.length).toBe(48 * 1024 ** 2);
    expect(made.runs()).toBe(1);
    socket.destroy();
  });

  it('stores a body of exactly maxEntryBytes, but not one byte more [D08]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/:size/:how': { ttl: 60 } }, maxEntryBytes: 1024 },
      routes: (app, { count }) =>
        app.get('/:size/:how', (req, res) => {
          count(req.path);
          const body = 'b'.repeat(Number(req.params.size));
          if (req.params.how === 'declared') return void res.send(body);
          res.write(body.slice(0, 500));
          res.end(body.slice(500));
        }),
    });
    for (const [path, runs] of [
      ['/1024/declared', 1],
      ['/1025/declared', 2],
      ['/1024/pieces', 1],
      ['/1025/pieces', 2],
    ] as const) {
      for (let i = 0; i < 2; i++)
        expect((await made.get(path)).text).toHaveLength(Number(path.split('/')[1]));
      expect([path, made.runs(path)]).toEqual([path, runs]);
    }
  });
});
