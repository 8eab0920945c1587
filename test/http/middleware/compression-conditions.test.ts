import zlib from 'node:zlib';
import type { Express, RequestHandler } from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { hotpath } from '../../../src/hotpath.js';
import { compression } from '../../../src/middleware/compression/index.js';
import type { StandaloneCompressionOptions } from '../../../src/middleware/compression/options.js';
import { sizeLimit } from '../../../src/middleware/size-limit/index.js';
import { HotpathError } from '../../../src/options/errors.js';
import { ask } from '../../helpers/client.js';
import { type Listening, listen, majors, partOn4 } from '../../helpers/http.js';

const TEXT = 'All that is compressed was longer before. '.repeat(100);
const zstd = (zlib as { zstdCompressSync?: (body: string, options?: object) => Buffer }).zstdCompressSync;
const unzstd = (zlib as { zstdDecompressSync?: (body: Buffer) => Buffer }).zstdDecompressSync;

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  vi.restoreAllMocks();
});

const mounts: [string, (options?: StandaloneCompressionOptions) => RequestHandler][] = [
  ['standalone', (options) => compression(options)],
  ['composed', (options) => hotpath({ compression: options as object }) as RequestHandler],
];

describe.each(majors)('conditions and options of compression on %s', (major, express) => {
  describe.each(partOn4(major, mounts, mounts.slice(1)))('%s', (_mount, mount) => {
    async function serve(prepare: (app: Express) => void, options?: StandaloneCompressionOptions) {
      const app = express();
      app.use(mount(options));
      prepare(app);
      server = await listen(app);
      const { port } = server;
      return (headers: Record<string, string> = {}, method = 'GET') =>
        ask(port, { path: '/', method, headers: { 'Accept-Encoding': 'gzip', ...headers } });
    }

    // An app that compares as RFC 9110 §13.1.1 says, and one that compares text.
    it.each(['"rev-1"', 'W/"rev-1"'])(
      'lets a PUT with the coded tag of %s pass If-Match [E05]',
      async (tag) => {
        const seen: string[][] = [];
        const get = await serve((app) => {
          app.get('/', (_req, res) => void res.set('ETag', tag).type('text').send(TEXT));
          app.all('/', (req, res) => {
            const tags = req.headers['if-match']!.split(/, */);
            seen.push(tags);
            res.sendStatus(tags.includes(tag) ? 204 : 412);
          });
        });
        const held = (await get()).header('etag')!;
        expect(held).not.toBe(tag);
        for (const method of ['PUT', 'PATCH', 'DELETE', 'POST']) {
          expect((await get({ 'If-Match': held }, method)).status, method).toBe(204);
          // Only the tag of the app is added, as strong or weak as that is.
          expect(seen.pop(), method).toEqual([held, tag]);
        }
        const other = tag.replace('rev-1', 'rev-2');
        expect((await get({ 'If-Match': held.replace('rev-1', 'rev-2') }, 'PUT')).status).toBe(412);
        expect(seen.pop()).toContain(other);
        await get({ 'If-Match': '"plain", *' }, 'PUT');
        expect(seen.pop()).toEqual(['"plain"', '*']);
      },
    );

    it('treats headers that are set as arrays of one element as text', async () => {
      const get = await serve((app) => {
        app.get('/', (req, res) => {
          const coded = req.headers['x-coding'];
          res.setHeader('Content-Type', ['text/html; charset=utf-8']);
          res.setHeader('ETag', ['"one"']);
          res.setHeader('Cache-Control', [
            req.headers['x-cache-control'] === undefined ? 'private' : 'no-transform',
          ]);
          if (coded !== undefined) res.setHeader('Content-Encoding', ['gzip']);
          res.end(coded === undefined ? TEXT : zlib.gzipSync(TEXT));
        });
      });
      const answer = await get();
      expect([answer.header('content-encoding'), answer.header('etag')]).toEqual(['gzip', 'W/"one--gzip"']);
      const kept = await get({ 'X-Cache-Control': '1' });
      expect([kept.header('content-encoding'), kept.header('etag')]).toEqual([undefined, '"one"']);
      const coded = await get({ 'X-Coding': '1' });
      expect([coded.header('content-encoding'), coded.header('etag')]).toEqual(['gzip', '"one"']);
      expect(coded.body.toString()).toBe(TEXT);
    });

    it('encodes for clients without Accept-Encoding by `enforceEncoding`, and for no others', async () => {
      const get = await serve((app) => void app.get('/', (_req, res) => void res.type('text').send(TEXT)), {
        enforceEncoding: 'gzip',
      });
      const bare = await ask(server!.port, { path: '/' });
      expect([bare.header('content-encoding'), bare.header('vary')]).toEqual(['gzip', 'Accept-Encoding']);
      expect((await get({ 'Accept-Encoding': '' })).header('content-encoding')).toBe('gzip');
      expect((await get({ 'Accept-Encoding': 'identity' })).header('content-encoding')).toBeUndefined();
      expect((await get({ 'Accept-Encoding': 'br' })).header('content-encoding')).toBe('br');
    });

    it('offers its default filter to filters of the app', async () => {
      const asked: unknown[] = [];
      const get = await serve(
        (app) => {
          app.get('/', (req, res) => void res.type((req.headers['x-type'] as string) ?? 'text').send(TEXT));
        },
        {
          filter: (req, res) => {
            asked.push(compression.filter(req, res));
            return !req.headers['x-no-compression'] && compression.filter(req, res);
          },
        },
      );
      expect((await get()).header('content-encoding')).toBe('gzip');
      expect((await get({ 'X-No-Compression': '1' })).header('content-encoding')).toBeUndefined();
      expect((await get({ 'X-Type': 'image/png' })).header('content-encoding')).toBeUndefined();
      expect(asked).toEqual([true, true, false]);
    });

    it('offers zstd where Node has it, and is a config error elsewhere', async () => {
      const options = { encodings: ['zstd', 'gzip'] } as const;
      if (!unzstd) {
        expect(() => mount(options)).toThrow(HotpathError);
        expect(() => mount(options)).toThrow(/encodings.*Node 22\.15.*leave it out/s);
        expect(() => mount({ enforceEncoding: 'zstd' })).toThrow(/enforceEncoding.*Node 22\.15/s);
        return;
      }
      const get = await serve(
        (app) => void app.get('/', (_req, res) => void res.set('ETag', '"one"').type('text').send(TEXT)),
        options,
      );
      const answer = await get({ 'Accept-Encoding': 'gzip, zstd' });
      expect([answer.header('content-encoding'), answer.header('etag')]).toEqual(['zstd', 'W/"one--zstd"']);
      expect(unzstd(answer.body).toString()).toBe(TEXT);
      expect((await get({ 'If-None-Match': 'W/"one--zstd"' })).status).toBe(304);
    });
  });

  it('shows the front door the default filter as the default', () => {
    expect(hotpath({ compression: { filter: compression.filter } }).config).toMatchObject({
      compression: { filter: undefined },
    });
  });

  async function post(body: Buffer, coding: string, options: object = {}) {
    const app = express();
    app.use(sizeLimit({ limit: '64kb', ...options }), express.json({ limit: '10mb' }));
    app.use((req, res) => void res.json(Object.keys(req.body ?? {})));
    server = await listen(app);
    const headers = { 'Content-Type': 'application/json', 'Content-Encoding': coding };
    const got = await fetch(server.url, { method: 'POST', headers, body: new Uint8Array(body) });
    return { status: got.status, accepts: got.headers.get('accept-encoding'), text: await got.text() };
  }

  it('names the option in the 415 for a coding that is not accepted [F05]', async () => {
    const got = await post(Buffer.from('text'), 'snappy');
    expect(got.status).toBe(415);
    expect(JSON.parse(got.text).detail).toContain('sizeLimit: { inflated: false }');
  });

  it('counts zstd bodies where Node has it, and refuses them elsewhere [F05]', async () => {
    if (!zstd) {
      const got = await post(Buffer.from('text'), 'zstd');
      expect([got.status, got.accepts]).toEqual([415, 'gzip, br, deflate']);
      return;
    }
    const json = (length: number) => zstd(JSON.stringify({ a: 'x'.repeat(length) }));
    const isRead = major === 'Express 5'; // the body parser of Express 4 knows no zstd
    expect(await post(json(1000), 'zstd')).toMatchObject(
      isRead ? { status: 200, text: '["a"]' } : { status: 415 },
    );
    await server!.close();
    if (isRead) {
      expect((await post(json(1_000_000), 'zstd')).status).toBe(413);
      await server!.close();
      // Each frame has a window of its own.
      expect((await post(Buffer.concat([json(1000), json(1_000_000)]), 'zstd')).status).toBeGreaterThan(400);
      await server!.close();
      const wide = zstd(JSON.stringify({ a: 'x'.repeat(1000) }), { params: { 101: 25 } });
      expect([wide[4]! & 0x20, (await post(wide, 'zstd')).status]).toEqual([0x20, 200]);
      await server!.close();
      const limits = { inflated: '64mb', zstdWindow: 20 };
      expect((await post(json(10_000_000), 'zstd', limits)).status).toBe(415);
    }
  });
});
