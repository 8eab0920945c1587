import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import type { Express, Response } from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { compression, type StandaloneCompressionOptions } from '../../../src/middleware/compression/index.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { type Listening, listen, majors, type RawAnswer, raw, waitFor } from '../../helpers/http.js';

const inflate = { br: zlib.brotliDecompressSync, gzip: zlib.gunzipSync, deflate: zlib.inflateSync };
const TEXT = 'All that is compressed was longer before. '.repeat(100);

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
  vi.restoreAllMocks();
});

function plain(answer: RawAnswer): string {
  const coding = answer.header('content-encoding') as keyof typeof inflate | undefined;
  return coding ? inflate[coding](answer.body).toString() : answer.text;
}

describe.each(majors)('compression on %s', (_name, express) => {
  /** Serves one handler behind the middleware, and returns a function that sends requests. */
  async function serve(
    handler: (res: Response) => unknown,
    options?: StandaloneCompressionOptions,
    prepare?: (app: Express) => void,
  ) {
    const app = express();
    prepare?.(app);
    app.use(compression(options));
    app.use((_req, res) => {
      handler(res);
    });
    server = await listen(app);
    const { port } = server;
    return (
      accept: string | undefined = 'gzip, br',
      { method = 'GET', path = '/', more = '', http = '1.1' } = {},
    ) =>
      raw(
        port,
        `${method} ${path} HTTP/${http}\nHost: a\n${accept === undefined ? '' : `Accept-Encoding: ${accept}\n`}${more}\n`,
      );
  }
  const text = (body: string) => (res: Response) => res.type('text').send(body);

  it.each([
    ['br, gzip', 'br'],
    ['gzip', 'gzip'],
    ['gzip, br', 'br'],
    ['br;q=0.5, gzip', 'gzip'],
    ['*', 'br'],
  ])('encodes for a client that accepts %s with %s', async (accept, coding) => {
    const get = await serve(text(TEXT));
    const answer = await get(accept);
    expect(answer.header('content-encoding')).toBe(coding);
    expect(answer.header('content-length')).toBeUndefined();
    expect(plain(answer)).toBe(TEXT);
    expect(answer.body.length).toBeLessThan(TEXT.length / 10);
  });

  it('offers only the codings of `encodings`, in their order', async () => {
    const get = await serve(text(TEXT), { encodings: ['deflate', 'gzip'] });
    const answer = await get('br, gzip, deflate');
    expect(answer.header('content-encoding')).toBe('deflate');
    expect(plain(answer)).toBe(TEXT);
    expect((await get('br')).header('content-encoding')).toBeUndefined();
  });

  it('sends the body unencoded when no coding is acceptable [E03]', async () => {
    const get = await serve(text(TEXT));
    for (const accept of ['', 'identity', 'gzip;q=0', '*;q=0', 'br;q=1.5', 'zstd', 'identity;q=0']) {
      const answer = await get(accept);
      expect(answer.header('content-encoding'), accept).toBeUndefined();
      expect(answer.text).toBe(TEXT);
    }
  });

  it.each(['gzip', 'br'])('never encodes a body that has the coding %s already [E01]', async (coding) => {
    const bytes = zlib.gzipSync(TEXT);
    const get = await serve((res) => {
      res.type('text').set({ 'Content-Encoding': coding, ETag: '"of the coded form"' }).send(bytes);
    });
    const answer = await get();
    expect(answer.header('content-encoding')).toBe(coding);
    expect([answer.header('etag'), answer.header('vary')]).toEqual(['"of the coded form"', undefined]);
    expect(answer.body).toEqual(bytes);
  });

  it('encodes once when mounted twice or above the compression package [E01]', async () => {
    const { default: foreign } = await import('compression');
    const get = await serve(text(TEXT), {}, (app) => {
      app.use(foreign());
      app.use(compression({ encodings: ['gzip'] }));
    });
    const answer = await get();
    expect(answer.header('content-encoding')).toBe('gzip');
    expect(plain(answer)).toBe(TEXT);
  });

  it.each<[string, string | string[]]>([
    ['in lower case', 'public, no-transform'],
    ['in mixed case', 'No-Transform'],
    ['on a line of its own', ['public', 'no-transform']],
  ])('leaves `no-transform` unencoded, %s [E02]', async (_case, value) => {
    const get = await serve((res) => {
      res.setHeader('Cache-Control', value);
      res.setHeader('Content-Type', 'text/plain');
      res.end(TEXT);
    });
    const answer = await get();
    expect(answer.header('content-encoding')).toBeUndefined();
    expect(answer.header('vary')).toBeUndefined();
    expect(answer.text).toBe(TEXT);
  });

  it('sends `Vary: Accept-Encoding` with every variant of a compressible response [E04]', async () => {
    const get = await serve((res) => {
      res.type('text').vary('Origin');
      const { path } = res.req;
      if (path === '/304') return res.status(304).end();
      if (path === '/small') return res.send('small');
      if (path === '/stream') {
        res.write(TEXT);
        return res.end();
      }
      return res.send(TEXT);
    });
    for (const [accept, init] of [
      ['gzip', {}],
      ['identity', {}],
      ['', {}],
      ['gzip;q=0', {}],
      ['gzip', { path: '/small' }],
      ['gzip', { path: '/stream' }],
      ['identity', { path: '/stream' }],
      ['gzip', { path: '/304' }],
      ['identity', { path: '/304' }],
      ['gzip', { method: 'HEAD' }],
      ['identity', { method: 'HEAD' }],
    ] as const) {
      const answer = await get(accept, init);
      expect(
        answer.headers.filter(([name]) => name === 'Vary'),
        `${accept} ${JSON.stringify(init)}`,
      ).toEqual([['Vary', 'Origin, Accept-Encoding']]);
    }
  });

  it('adds no Vary to responses that are never compressed [E04]', async () => {
    const get = await serve((res) => res.type('png').send(Buffer.alloc(4096)), {
      routes: { '/off': false },
    });
    expect((await get()).header('vary')).toBeUndefined();
    expect((await get('gzip', { path: '/off' })).header('vary')).toBeUndefined();
  });

  it('gives each coding its own weak tag, and sends 304 for each of them [E05]', async () => {
    const get = await serve(text(TEXT), {}, (app) => app.set('etag', 'strong'));
    const strong = (await get('identity')).header('etag')!;
    expect(strong).toMatch(/^"/);
    const tagged = (coding: string) => `W/${strong.slice(0, -1)}--${coding}"`;
    for (const coding of ['gzip', 'br']) {
      expect((await get(coding)).header('etag')).toBe(tagged(coding));
      expect((await get(coding, { method: 'HEAD' })).header('etag')).toBe(tagged(coding));
    }
    for (const tag of [strong, `W/${strong}`, tagged('gzip'), tagged('br')]) {
      for (const accept of ['gzip', 'br', 'identity']) {
        const still = await get(accept, { more: `If-None-Match: ${tag}\n` });
        expect([tag, still.status, still.header('etag')]).toEqual([tag, 304, tag]);
      }
    }
    const other = await get('br', { more: 'If-None-Match: W/"other--br"\n' });
    expect(other.status).toBe(200);
  });

  it('compresses from the threshold on, in bytes [E06]', async () => {
    const get = await serve((res) => res.type('text').send(res.req.query.s as string));
    const coded = async (body: string) =>
      (await get('gzip', { path: `/?s=${encodeURIComponent(body)}` })).header('content-encoding');
    expect(await coded('x'.repeat(1023))).toBeUndefined();
    expect(await coded('x'.repeat(1024))).toBe('gzip');
    expect(await coded('x'.repeat(1025))).toBe('gzip');
    expect(await coded('é'.repeat(511))).toBeUndefined();
    expect(await coded('é'.repeat(512))).toBe('gzip');
    expect(await coded('')).toBeUndefined();
  });

  it('measures a body in one piece without Content-Length, over HTTP/1.0 too [E06]', async () => {
    const get = await serve((res) => {
      res.setHeader('Content-Type', 'text/plain');
      res.end(res.req.path === '/long' ? TEXT : 'short');
    });
    for (const http of ['1.0', '1.1']) {
      const short = await get('gzip', { http });
      expect([short.text, short.header('content-encoding')]).toEqual(['short', undefined]);
      const long = await get('gzip', { path: '/long', http });
      expect(long.header('content-encoding')).toBe('gzip');
    }
  });

  it('keeps an empty body empty at threshold 0 [E06]', async () => {
    const get = await serve((res) => res.type('text').end(), { threshold: 0 });
    const answer = await get();
    expect([answer.header('content-encoding'), answer.body.length]).toEqual([undefined, 0]);
  });

  it('declares for HEAD only the length of GET, and makes no zlib stream without a body', async () => {
    const gzip = vi.spyOn(zlib, 'createGzip');
    const get = await serve((res) => {
      res.type('text').set('Content-Length', String(TEXT.length));
      res.status(Number(res.req.query.status ?? 200)).end(res.req.method === 'HEAD' ? undefined : TEXT);
    });
    const head = await get('gzip', { method: 'HEAD' });
    expect([head.status, head.header('content-length')]).toEqual([200, undefined]);
    expect((await get('identity', { method: 'HEAD' })).header('content-length')).toBe(String(TEXT.length));
    await get('gzip', { path: '/?status=204' });
    await get('gzip', { path: '/?status=304' });
    expect(gzip).not.toHaveBeenCalled();
    await get('gzip');
    expect(gzip).toHaveBeenCalledTimes(1);
  });

  it('flushes written data to the client with `res.flush()` [E08]', async () => {
    let response: Response | undefined;
    await serve((res) => {
      response = res;
      res.type('text').write('first ');
      (res as Response & { flush: () => void }).flush();
    });
    for (const [coding, make] of [
      ['gzip', zlib.createGunzip],
      ['br', zlib.createBrotliDecompress],
    ] as const) {
      const socket = connect(server!.port, '127.0.0.1');
      socket.write(`GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: ${coding}\r\n\r\n`);
      let bytes = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        bytes = Buffer.concat([bytes, chunk]);
      });
      const decoded = async () => {
        const at = bytes.indexOf('\r\n\r\n');
        if (at < 0) return '';
        const decoder = make();
        let out = '';
        decoder.on('data', (chunk) => {
          out += chunk;
        });
        decoder.on('error', () => {});
        let rest = bytes.subarray(at + 4);
        while (rest.length > 2) {
          const end = rest.indexOf('\r\n');
          const size = Number.parseInt(rest.subarray(0, end).toString(), 16);
          decoder.write(rest.subarray(end + 2, end + 2 + size));
          rest = rest.subarray(end + 4 + size);
        }
        await nextTurn();
        await waitFor(() => out !== '', 1000).catch(() => {});
        return out;
      };
      await waitFor(async () => (await decoded()) === 'first ');
      response!.end('last');
      socket.destroy();
    }
  });

  it('leaves no listener behind after a loop of writes and `drain` waits [E08]', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error) => warnings.push(warning);
    process.on('warning', warned);
    const chunk = Buffer.alloc(64 * 1024, 'noise and signal ');
    let waits = 0;
    const get = await serve(async (res) => {
      res.type('text');
      for (let i = 0; i < 80; i++) {
        if (res.write(chunk)) continue;
        waits++;
        await once(res, 'drain');
      }
      res.end();
    });
    const answer = await get('gzip');
    process.off('warning', warned);
    expect(plain(answer).length).toBe(80 * chunk.length);
    expect(waits).toBeGreaterThan(20);
    expect(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning')).toEqual([]);
  });

  it('leaves partial content unencoded [E09]', async () => {
    const get = await serve((res) =>
      res
        .status(206)
        .type('text')
        .set('Content-Range', `bytes 0-${TEXT.length - 1}/9999`)
        .send(TEXT),
    );
    const answer = await get();
    expect([answer.status, answer.header('content-encoding'), answer.text]).toEqual([206, undefined, TEXT]);
  });

  it('removes digests and range support of the plain body [E09]', async () => {
    const names = ['Content-MD5', 'Digest', 'Content-Digest', 'Repr-Digest', 'Accept-Ranges'];
    const get = await serve((res) => {
      for (const name of names) res.set(name, 'x');
      res.type('text').send(TEXT);
    });
    const [coded, identity] = [await get('gzip'), await get('identity')];
    for (const name of names) {
      expect(coded.header(name), name).toBeUndefined();
      expect(identity.header(name), name).toBe('x');
    }
  });

  it('uses a Brotli quality for live responses by default [E10]', async () => {
    const brotli = vi.spyOn(zlib, 'createBrotliCompress');
    const get = await serve(text(TEXT), { routes: { '/best': { brotliQuality: 9 } } });
    await get('br');
    await get('br', { path: '/best' });
    expect(
      brotli.mock.calls.map(([options]) => options?.params?.[zlib.constants.BROTLI_PARAM_QUALITY]),
    ).toEqual([4, 9]);
  });

  it.each(['image/png', 'application/grpc', 'application/zip', undefined])(
    'leaves %s unencoded [E15]',
    async (type) => {
      const get = await serve((res) => {
        if (type) res.setHeader('Content-Type', type);
        res.end(TEXT);
      });
      expect((await get()).header('content-encoding')).toBeUndefined();
    },
  );

  it.each(['Text/HTML; Charset=UTF-8', 'text/html; charset', 'application/problem+json', 'image/svg+xml'])(
    'compresses %s [E15]',
    async (type) => {
      const get = await serve((res) => {
        res.setHeader('Content-Type', type);
        res.end(TEXT);
      });
      expect((await get()).header('content-encoding')).toBe('br');
    },
  );

  it('sends server-sent events at once', async () => {
    let response: Response | undefined;
    const app = express();
    app.use(compression({ threshold: 0, filter: () => true }));
    app.get('/', (_req, res) => {
      response = res;
      res.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
      res.write('data: now\n\n');
    });
    server = await listen(app);
    const answer = await fetch(server.url);
    const first = await answer.body!.getReader().read();
    expect(Buffer.from(first.value!).toString()).toBe('data: now\n\n');
    expect(answer.headers.get('content-encoding')).toBeNull();
    response!.end();
  });

  it('uses the options of the route: off, or other numbers', async () => {
    const get = await serve(text('x'.repeat(600)), {
      threshold: '1kb',
      routes: { '/off': false, '/low': { threshold: 100 }, '/on': true },
    });
    expect((await get('gzip', { path: '/low' })).header('content-encoding')).toBe('gzip');
    expect((await get('gzip', { path: '/on' })).header('content-encoding')).toBeUndefined();
    expect((await get('gzip', { path: '/off' })).header('content-encoding')).toBeUndefined();
  });

  it('calls the filter once with the request, and sends plain text if it throws', async () => {
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const filter = vi.fn((req: { query: { bad?: string } }) => {
      if (req.query.bad) throw new Error('bad filter');
      return true;
    });
    const get = await serve((res) => res.end(TEXT), { filter: filter as never });
    expect((await get()).header('content-encoding')).toBe('br');
    expect(filter).toHaveBeenCalledTimes(1);
    const answer = await get('gzip', { path: '/?bad=1' });
    expect([answer.status, answer.text]).toEqual([200, TEXT]);
    warning.mockRestore();
  });

  it('sends a pipeline of 5 MB whole [E13]', async () => {
    const chunk = Buffer.alloc(64 * 1024, 'abcdefghij');
    let failure: unknown;
    const get = await serve((res) => {
      res.type('text');
      pipeline(Readable.from(Array.from({ length: 80 }, () => chunk)), res).catch((error) => {
        failure = error;
      });
    });
    const answer = await get('gzip');
    expect(plain(answer)).toBe(Buffer.concat(Array.from({ length: 80 }, () => chunk)).toString());
    expect(failure).toBeUndefined();
  });

  it('survives a client that leaves half-way [E14]', async () => {
    const random = await promisify(zlib.gzip)(TEXT);
    let closed = false;
    await serve((res) => {
      res.type('text');
      res.once('close', () => {
        closed = true;
      });
      const timer = setInterval(() => {
        if (closed) clearInterval(timer);
        res.write(Buffer.concat([random, Buffer.alloc(65536, 'z')]));
      }, 1);
    });
    const socket = connect(server!.port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    await waitFor(() => closed);
  });
});

describe('compression()', () => {
  it('rejects invalid options at creation', () => {
    for (const options of [
      { threshold: '1 furlong' },
      { level: 10 },
      { encodings: ['zstd'] },
      { treshold: 1 },
    ]) {
      expect(() => compression(options as never)).toThrow(
        expect.objectContaining({ code: 'HOTPATH_CONFIG_INVALID' }),
      );
    }
  });
});
