import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import zlib from 'node:zlib';
import type { Express, RequestHandler, Response } from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { hotpath } from '../../../src/hotpath.js';
import { compression } from '../../../src/middleware/compression/index.js';
import type { CompressionPolicy } from '../../../src/middleware/compression/options.js';
import { type Listening, listen, majors, raw, waitFor } from '../../helpers/http.js';

const TEXT = 'All that is compressed was longer before. '.repeat(100);

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
  vi.restoreAllMocks();
});

const mounts: [string, (routes?: Record<string, CompressionPolicy>) => RequestHandler][] = [
  ['standalone', (routes) => compression({ routes })],
  [
    'composed',
    (routes = {}) =>
      hotpath({
        routes: Object.fromEntries(
          Object.entries(routes).map(([path, each]) => [path, { compression: each }]),
        ),
      }) as RequestHandler,
  ],
];

describe.each(majors)('edge cases of compression on %s', (_name, express) => {
  describe.each(mounts)('%s', (_mount, mount) => {
    async function serve(prepare: (app: Express) => void, routes?: Record<string, CompressionPolicy>) {
      const app = express();
      app.use(mount(routes));
      prepare(app);
      server = await listen(app);
      const { port } = server;
      return (path: string, more = '', method = 'GET') =>
        raw(port, `${method} ${path} HTTP/1.1\nHost: a\nAccept-Encoding: gzip\n${more}\n`);
    }

    it('sends each form its own ETag, validates it, and cuts ranges from the plain form [E05]', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'hotpath-etag-'));
      writeFileSync(join(folder, 'a.txt'), TEXT);
      try {
        const get = await serve((app) => {
          app.use(express.static(folder, { setHeaders: (res) => void res.setHeader('ETag', '"one"') }));
        });
        const coded = await get('/a.txt');
        expect(coded.header('content-encoding')).toBe('gzip');
        expect([coded.header('etag'), coded.header('accept-ranges')]).toEqual(['W/"one--gzip"', undefined]);
        const still = await get('/a.txt', 'If-None-Match: W/"one--gzip"\n');
        expect([still.status, still.header('etag'), still.text]).toEqual([304, 'W/"one--gzip"', '']);
        expect((await get('/a.txt', 'If-None-Match: "other"\n')).status).toBe(200);
        // A range belongs to the plain form: it has the strong tag, and no coding.
        const part = await get('/a.txt', 'Range: bytes=0-99\nIf-Range: "one"\n');
        expect([part.status, part.text]).toEqual([206, TEXT.slice(0, 100)]);
        expect([part.header('etag'), part.header('content-encoding')]).toEqual(['"one"', undefined]);
        expect((await get('/a.txt', 'Range: bytes=0-99\nIf-Range: "other"\n')).status).toBe(200);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });

    it('reveals nothing by length with compression off or no-transform [E11]', async () => {
      const secret = 'token=4711-0815-secret';
      const page = (res: Response) =>
        res.type('html').send(`${'<p>text</p>'.repeat(200)}${secret}<p>${res.req.query.q}</p>`);
      const get = await serve(
        (app) => {
          app.get('/off', (_req, res) => void page(res));
          app.get('/fixed', (_req, res) => void page(res.set('Cache-Control', 'no-transform, no-store')));
          app.get('/on', (_req, res) => void page(res));
        },
        { '/off': false },
      );
      const lengths = async (path: string) => {
        const found = [];
        for (const guess of [secret, 'k3x9-q7-z2m5w8v1p6trab'])
          found.push((await get(`${path}?q=${guess}`)).body.length);
        return found;
      };
      for (const path of ['/off', '/fixed']) {
        const [right, wrong] = await lengths(path);
        expect(right, path).toBe(wrong);
        const answer = await get(`${path}?q=1`);
        expect([answer.header('content-encoding'), answer.header('vary')], path).toEqual([
          undefined,
          undefined,
        ]);
      }
      const [right, wrong] = await lengths('/on');
      expect(right, 'what is at stake').toBeLessThan(wrong!);
    });

    it('survives a client that leaves between the head and the first chunk [E14]', async () => {
      const uncaught = vi.fn();
      process.on('uncaughtException', uncaught);
      let closed = 0;
      const get = await serve((app) => {
        app.get('/late', (_req, res) => {
          res.type('text').flushHeaders();
          res.once('close', () => {
            res.write(TEXT, () => {});
            res.end(TEXT);
            closed++;
          });
        });
        app.get('/', (_req, res) => void res.type('text').send(TEXT));
      });
      for (let i = 0; i < 20; i++) {
        const socket = connect(server!.port, '127.0.0.1');
        socket.write('GET /late HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n');
        await once(socket, 'data');
        socket.resetAndDestroy();
      }
      await waitFor(() => closed === 20);
      expect((await get('/')).header('content-encoding')).toBe('gzip');
      process.off('uncaughtException', uncaught);
      expect(uncaught).not.toHaveBeenCalled();
    });

    it('ends only the response that has an error inside zlib [E14]', async () => {
      const uncaught = vi.fn();
      process.on('uncaughtException', uncaught);
      vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      let ended = 0;
      const get = await serve((app) => {
        app.get('/', (_req, res) => {
          res.once('close', () => ended++);
          res.type('text').write(TEXT);
          setImmediate(() => res.end(TEXT));
        });
      });
      const create = zlib.createGzip;
      vi.spyOn(zlib, 'createGzip').mockImplementationOnce((options) => {
        const stream = create(options);
        setImmediate(() => stream.destroy(new Error('zlib: out of memory')));
        return stream;
      });
      const socket = connect(server!.port, '127.0.0.1');
      socket.on('error', () => {});
      const gone = new Promise((resolve) => socket.once('close', resolve));
      socket.resume();
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n');
      await gone;
      await waitFor(() => ended === 1);
      const answer = await get('/');
      expect(zlib.gunzipSync(answer.body).toString()).toBe(TEXT + TEXT);
      process.off('uncaughtException', uncaught);
      expect(uncaught).not.toHaveBeenCalled();
    });

    it.each([
      ['image/png', undefined],
      ['application/octet-stream', 'gzip'],
      ['application/grpc', undefined],
      ['', undefined],
      ['no type', undefined],
      ['Text/HTML; charset', 'gzip'],
      ['APPLICATION/JSON;CHARSET=utf-8', 'gzip'],
    ])('encodes content of type "%s": %s [E15]', async (type, coding) => {
      const get = await serve((app) => {
        app.use((_req, res) => {
          if (type) res.setHeader('Content-Type', type);
          res.end(TEXT);
        });
      });
      const answer = await get('/');
      expect(answer.header('content-encoding')).toBe(coding);
      expect((coding ? zlib.gunzipSync(answer.body) : answer.body).toString()).toBe(TEXT);
    });
  });
});
