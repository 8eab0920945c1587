import { brotliCompressSync, brotliDecompressSync, gzipSync } from 'node:zlib';
import compress from 'compression';
import type { Express, Response } from 'express';
import { responseCache } from 'hotpath/cache';
import { compression } from 'hotpath/compression';
import { describe, expect, it, vi } from 'vitest';
import { ask } from '../../helpers/client.js';
import { countStreams, countZlib, encodedApp, PAGE } from '../../helpers/encodings.js';
import { listen, majors, raw, waitFor } from '../../helpers/http.js';

const ALL = { encodings: ['br', 'gzip', 'deflate'] } as const;
/** Clients, and the coding that each must get. */
const CLIENTS: [accept: string | undefined, coding: string | undefined][] = [
  ['br, gzip', 'br'],
  ['gzip', 'gzip'],
  ['gzip;q=0, br', 'br'],
  ['deflate', 'deflate'],
  ['identity', undefined],
  [undefined, undefined],
];

describe.each(majors)('encoded variants (%s)', (_name, express) => {
  it('serves six clients with different Accept-Encoding from one run, without compressing hits', async () => {
    const made = await encodedApp(express, { config: { compression: ALL } });
    for (const coding of ['br', 'gzip', 'deflate']) await made.warm(coding);
    const streams = countStreams();
    const tags = new Set<string | undefined>();
    for (const [accept, coding] of CLIENTS) {
      const got = await made.ask(accept);
      expect([got.status, got.header('content-encoding'), got.header('x-cache')]).toEqual([
        200,
        coding,
        'HIT',
      ]);
      expect(got.body.toString()).toBe(PAGE);
      expect(got.header('content-length')).toBe(String(got.coded.length));
      expect(got.coded.length < PAGE.length).toBe(coding !== undefined);
      expect(got.header('vary')).toBe('Accept-Encoding');
      tags.add(got.header('etag'));
    }
    expect(tags).toEqual(new Set(['W/"abc--br"', 'W/"abc--gzip"', 'W/"abc--deflate"', '"abc"']));
    expect(streams()).toBe(0);
    expect(made.runs()).toBe(1);
    expect(made.perf.cache.stats().encodings).toMatchObject({ made: 3, useless: 0, waiting: 0 });
  });

  it('runs the handler once for six concurrent clients with different codings', async () => {
    let arrived = 0;
    const made = await encodedApp(express, {
      config: { compression: ALL },
      before: (app) =>
        app.use((_req, _res, next) => {
          arrived++;
          next();
        }),
      handler: async (_req, res) => {
        await waitFor(() => arrived === CLIENTS.length);
        res.type('text').send(PAGE);
      },
    });
    const answers = await Promise.all(CLIENTS.map(([accept]) => made.ask(accept)));
    for (const [i, [, coding]] of CLIENTS.entries()) {
      expect(answers[i]?.header('content-encoding')).toBe(coding);
      expect(answers[i]?.body.toString()).toBe(PAGE);
    }
    expect(made.runs()).toBe(1);
  });

  it('calls zlib for no hit once its variant exists, for any Accept-Encoding', async () => {
    const made = await encodedApp(express, { config: { compression: ALL } });
    for (const coding of ['br', 'gzip', 'deflate']) await made.warm(coding);
    await waitFor(() => made.perf.cache.stats().encodings.waiting === 0);
    const calls = countZlib();
    gzipSync('x');
    expect(calls()).toBe(1); // the counter works
    for (const [accept, coding] of CLIENTS) {
      // Fewer hits than a popular variant has.
      for (let i = 0; i < 5; i++) {
        const line = accept === undefined ? '' : `Accept-Encoding: ${accept}\n`;
        const got = await raw(made.port, `GET /page HTTP/1.1\nHost: 127.0.0.1:${made.port}\n${line}\n`);
        expect([got.header('x-cache'), got.header('content-encoding')]).toEqual(['HIT', coding]);
      }
    }
    expect(calls()).toBe(1);
    expect(made.runs()).toBe(1);
  });

  it('compresses a hit like any response until its variant exists', async () => {
    const made = await encodedApp(express);
    const streams = countStreams();
    await made.ask('identity');
    const got = await made.ask('br');
    expect([got.header('content-encoding'), got.header('etag'), streams()]).toEqual(['br', 'W/"abc--br"', 1]);
    expect(got.body.toString()).toBe(PAGE);
  });

  it.each([
    ['br;q=0.1, gzip', 'gzip'],
    ['gzip;q=0.5, br;q=0.5', 'br'],
    ['gzip;q=0, *', 'br'],
    ['identity;q=0, gzip;q=0.1', 'gzip'],
    ['identity, gzip;q=0.5', undefined],
    ['*;q=0', undefined],
    ['zstd', undefined],
  ])('chooses a stored variant by its weight: %s [E03]', async (accept, coding) => {
    const made = await encodedApp(express);
    await made.warm('br');
    await made.warm('gzip');
    const streams = countStreams();
    const got = await made.ask(accept);
    expect([got.header('content-encoding'), streams()]).toEqual([coding, 0]);
    expect(got.body.toString()).toBe(PAGE);
  });

  it('sends the header fields of a GET to a HEAD in each coding, without a body', async () => {
    const made = await encodedApp(express);
    await made.warm('br');
    for (const accept of ['br', 'identity']) {
      const [get, head] = [await made.ask(accept), await made.ask(accept, { method: 'HEAD' })];
      expect(head.coded.length).toBe(0);
      for (const name of ['content-encoding', 'content-length', 'content-type', 'etag', 'vary'])
        expect([name, head.header(name)]).toEqual([name, get.header(name)]);
    }
  });

  it('sends 304 for the ETag of any coding, with the ETag that the client sent [E05]', async () => {
    const made = await encodedApp(express);
    await made.warm('br');
    await made.warm('gzip');
    const held = ['"abc"', 'W/"abc"', 'W/"abc--br"', 'W/"abc--gzip"', '"x", W/"abc--gzip"'];
    for (const tag of held) {
      for (const accept of ['br', 'gzip', 'identity']) {
        const got = await made.ask(accept, { headers: { 'If-None-Match': tag } });
        expect([tag, got.status, got.coded.length]).toEqual([tag, 304, 0]);
        expect(tag).toContain(got.header('etag'));
        expect(got.header('vary')).toBe('Accept-Encoding');
        expect([got.header('content-encoding'), got.header('content-length')]).toEqual([
          undefined,
          undefined,
        ]);
      }
    }
    for (const tag of ['"other"', 'W/"other--br"', '"abc--br"', 'W/"abc--zip"']) {
      expect([tag, (await made.ask('br', { headers: { 'If-None-Match': tag } })).status]).toEqual([tag, 200]);
    }
    const any = await made.ask('br', { headers: { 'If-None-Match': '*' } });
    expect(any.status).toBe(304);
    expect(made.runs()).toBe(1);
  });

  it("sends 304 for a variant's ETag when the entry is gone and the handler runs again [E05]", async () => {
    const made = await encodedApp(express);
    await made.warm('br');
    await made.perf.cache.purge({ all: true });
    const got = await made.ask('br', { headers: { 'If-None-Match': 'W/"abc--br"' } });
    expect([got.status, got.header('etag'), made.runs()]).toEqual([304, 'W/"abc--br"', 2]);
  });

  it('encodes no variants of a body below the threshold of its route', async () => {
    const routes = { '/small': { cache: { ttl: 60 }, compression: { threshold: '100kb' } } } as const;
    const made = await encodedApp(express, {
      config: { routes: { ...routes, '/*path': { cache: { ttl: 60 } } } },
    });
    for (let i = 0; i < 3; i++)
      expect((await made.ask('br', { path: '/small' })).header('content-encoding')).toBeUndefined();
    await made.warm('br', '/large');
    expect(made.perf.cache.stats().encodings).toMatchObject({ made: 1, waiting: 0 });
  });

  it.each<[string, object, (res: Response) => void]>([
    [
      '`compression: false` on its route',
      { routes: { '/*path': { cache: { ttl: 60 }, compression: false } } },
      () => {},
    ],
    ['disabled compression', { compression: false }, () => {}],
    ['a filter that excludes it', { compression: { filter: () => false } }, () => {}],
    ['an incompressible type', {}, (res) => res.type('png')],
    ['`no-transform` of the handler', {}, (res) => res.set('Cache-Control', 'max-age=60, No-Transform')],
    ['`no-transform` of a policy', { cacheControl: { default: { noTransform: true } } }, () => {}],
  ])('encodes no variants of a response that is not compressed: %s', async (_why, config, prepare) => {
    const made = await encodedApp(express, {
      config,
      handler: (_req, res) => {
        res.type('text');
        prepare(res);
        res.end(PAGE);
      },
    });
    for (let i = 0; i < 4; i++) {
      const got = await made.ask('br, gzip');
      expect([got.header('content-encoding'), got.body.toString()]).toEqual([undefined, PAGE]);
    }
    expect(made.runs()).toBe(1);
    expect(made.perf.cache.stats()).toMatchObject({
      hits: 3,
      encodings: { made: 0, useless: 0, waiting: 0 },
    });
  });

  it('encodes no variants of a response that its handler encoded [E01]', async () => {
    const made = await encodedApp(express, {
      handler: (_req, res) => void res.type('text').set('Content-Encoding', 'gzip').end(gzipSync(PAGE)),
    });
    for (let i = 0; i < 3; i++) {
      const got = await made.ask('br, gzip');
      expect([got.header('content-encoding'), got.body.toString()]).toEqual(['gzip', PAGE]);
    }
    expect(made.perf.cache.stats().encodings).toMatchObject({ made: 0, waiting: 0 });
  });

  it('encodes a variant with too little gain once; hits then get the plain body', async () => {
    const made = await encodedApp(express, { config: { compression: { minimumGain: 0.99 } } });
    await made.warm('br');
    const streams = countStreams();
    for (let i = 0; i < 5; i++) {
      const got = await made.ask('br');
      expect([got.header('content-encoding'), got.header('etag')]).toEqual([undefined, '"abc"']);
      expect(got.header('vary')).toBe('Accept-Encoding');
      expect(got.body.toString()).toBe(PAGE);
    }
    expect(streams()).toBe(0);
    expect(made.perf.cache.stats().encodings).toMatchObject({ made: 0, useless: 1, waiting: 0 });
    // RFC 9110 §12.5.3: a client that excludes the plain body does not get it.
    expect((await made.ask('br, identity;q=0')).header('content-encoding')).toBe('br');
    expect((await made.ask('br, *;q=0')).header('content-encoding')).toBe('br');
  });

  it('sends no digests or ranges of the plain body with a variant', async () => {
    const made = await encodedApp(express, {
      handler: (_req, res) =>
        void res.type('text').set({ 'Accept-Ranges': 'bytes', 'Content-MD5': 'x', Digest: 'y' }).send(PAGE),
    });
    await made.warm('br');
    const got = await made.ask('br');
    expect(got.header('content-length')).toBeDefined();
    for (const name of ['accept-ranges', 'content-md5', 'digest']) expect(got.header(name)).toBeUndefined();
  });

  it('keeps the variants of a refill with the same body, and drops them with another body', async () => {
    let body = PAGE;
    const made = await encodedApp(express, { handler: (_req, res) => void res.type('text').send(body) });
    await made.warm('br');
    await made.perf.cache.expire({ all: true });
    await made.ask('identity');
    const streams = countStreams();
    expect((await made.ask('br')).body.toString()).toBe(PAGE);
    expect([made.runs(), streams()]).toEqual([2, 0]);
    body = PAGE.toUpperCase();
    await made.perf.cache.expire({ all: true });
    await made.ask('identity');
    expect((await made.ask('br')).body.toString()).toBe(body);
    expect([made.runs(), streams()]).toEqual([3, 1]);
    await waitFor(() => made.perf.cache.stats().encodings.made === 2);
    const again = await made.ask('br');
    expect([again.body.toString(), streams()]).toEqual([body, 1]);
  });

  it('upgrades a popular variant to Brotli 11 once, in idle time, while hits continue', async () => {
    const made = await encodedApp(express);
    await made.warm('br');
    const before = (await made.ask('br')).coded.length;
    for (let i = 0; i < 20; i++) await made.ask('br');
    await waitFor(() => made.perf.cache.stats().encodings.upgraded === 1);
    const got = await made.ask('br');
    expect(got.coded.length).toBeLessThan(before);
    expect(got.coded.length).toBeLessThanOrEqual(brotliCompressSync(PAGE).length + 8);
    expect(got.body.toString()).toBe(PAGE);
    expect(got.header('content-length')).toBe(String(got.coded.length));
    for (let i = 0; i < 20; i++) await made.ask('br');
    expect(made.perf.cache.stats().encodings).toMatchObject({ made: 1, upgraded: 1, waiting: 0 });
  });

  it('upgrades all Brotli forms when that is requested, and then says that they are the smallest', async () => {
    const made = await encodedApp(express);
    expect(made.perf.cache.upgradeEncodings()).toEqual({ queued: 0, strongest: 0 });
    await made.warm('br');
    const before = (await made.ask('br')).coded.length;
    expect(made.perf.cache.upgradeEncodings()).toEqual({ queued: 1, strongest: 0 });
    await waitFor(() => made.perf.cache.stats().encodings.upgraded === 1);
    expect((await made.ask('br')).coded.length).toBeLessThan(before);
    expect(made.perf.cache.upgradeEncodings()).toEqual({ queued: 0, strongest: 1 });
  });

  it('shows the plain body to middlewares that patch the response after hotpath', async () => {
    const made = await encodedApp(express, {
      config: { routes: {} },
      routes: (app, { cache }) => {
        app.use((_req, res, next) => {
          const end = res.end.bind(res) as (...args: unknown[]) => Response;
          res.end = ((chunk: unknown, ...rest: unknown[]) =>
            end(chunk ? String(chunk).replaceAll('sold', 'lent') : chunk, ...rest)) as typeof res.end;
          next();
        });
        app.use(cache.route({ ttl: 60 }));
      },
    });
    for (let i = 0; i < 5; i++) {
      expect((await made.ask('br')).body.toString()).toBe(PAGE.replaceAll('sold', 'lent'));
    }
    expect(made.runs()).toBe(1);
    expect(made.perf.cache.stats().encodings).toMatchObject({ made: 0, waiting: 0 });
  });

  it('encodes variants of entries of `cache.route()`', async () => {
    const made = await encodedApp(express, {
      config: { routes: {} },
      routes: (app, { cache }) => app.use(cache.route({ ttl: 60 })),
    });
    await made.warm('br');
    const streams = countStreams();
    expect((await made.ask('br')).body.toString()).toBe(PAGE);
    expect([made.runs(), streams()]).toEqual([1, 0]);
  });

  it('keeps variants in a cache inside compression and the plain body outside it [E12]', async () => {
    for (const isInside of [true, false]) {
      const cache = responseCache({ routes: { '/x': { ttl: 60 } } });
      const app = express();
      app.use(...(isInside ? [compression(), cache] : [cache, compression()]));
      app.get('/x', (_req, res) => void res.type('text').send(PAGE));
      const { port, close } = await listen(app);
      try {
        for (const accept of ['br', 'gzip', 'identity', 'br;q=0', 'br', 'gzip', 'identity', 'br']) {
          const got = await ask(port, { path: '/x', headers: { 'Accept-Encoding': accept }, agent: false });
          expect(got.body.toString()).toBe(PAGE);
          await waitFor(() => cache.stats().encodings.waiting === 0);
        }
        await waitFor(() => cache.stats().encodings.made === (isInside ? 2 : 0));
      } finally {
        await cache.close();
        await close();
      }
    }
  });

  it('emits `drain` to a handler whose request bypasses the cache [E08]', async () => {
    const piece = Buffer.from(PAGE.repeat(20));
    const made = await encodedApp(express, {
      config: { routes: {} },
      handler: (_req, res) => {
        let left = 20;
        const some = () => {
          while (left > 0) if (left-- && !res.write(piece)) return;
          if (!res.writableEnded) res.end();
        };
        res.on('drain', some);
        res.type('text');
        some();
      },
    });
    for (const accept of ['br', 'gzip', 'identity'])
      expect((await made.ask(accept)).body.length).toBe(20 * piece.length);
  });

  describe.each<[string, (app: Express) => void]>([
    ['alone', () => {}],
    ['below another hotpath compression', (app) => app.use(compression())],
    ['below the compression package', (app) => app.use(compress() as never)],
  ])('mounted %s [E12]', (_where, before) => {
    it.each(['br', 'gzip', 'identity', 'br;q=0, gzip;q=0', 'identity;q=0, gzip'])(
      'applies and declares each coding once on miss and hits for %s',
      async (accept) => {
        const made = await encodedApp(express, { before });
        const seen = new Set<string | undefined>();
        for (let i = 0; i < 6; i++) {
          const got = await made.ask(accept); // which decodes the declared coding
          expect(got.body.toString()).toBe(PAGE);
          expect(got.header('vary')).toMatch(/accept-encoding/i);
          seen.add(got.header('content-encoding'));
          await vi.waitFor(() => expect(made.perf.cache.stats().encodings.waiting).toBe(0));
        }
        const coding = accept === 'br' ? 'br' : accept.endsWith('gzip') ? 'gzip' : undefined;
        expect([...seen]).toEqual([coding]);
        expect(made.runs()).toBe(1);
      },
    );
  });

  it('stores the Brotli form of the plain body as the br variant', async () => {
    const made = await encodedApp(express);
    await made.warm('br');
    expect(brotliDecompressSync((await made.ask('br')).coded).toString()).toBe(PAGE);
  });
});
