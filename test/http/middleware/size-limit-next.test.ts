import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import cors from 'cors';
import type { ErrorRequestHandler, Express, Request, RequestHandler } from 'express';
import multer from 'multer';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { hotpath } from '../../../src/hotpath.js';
import { sizeLimit } from '../../../src/middleware/size-limit/index.js';
import type { BodyRefusal, StandaloneSizeLimitOptions } from '../../../src/middleware/size-limit/options.js';
import { bodyOf, type Listening, listen, majors, partOn4 } from '../../helpers/http.js';

const LIMIT = 1024;
const ORIGIN = 'https://app.example';

let server: Listening | undefined;
let closeAll: (() => unknown) | undefined;
afterEach(async () => {
  await server?.close();
  await closeAll?.();
  closeAll = undefined;
  vi.restoreAllMocks();
});

type Mount = (options: StandaloneSizeLimitOptions) => RequestHandler;
const mounts: [string, Mount][] = [
  ['standalone', (options) => sizeLimit(options)],
  [
    'composed',
    ({ routes = {}, ...options }) => {
      const perf = hotpath({
        sizeLimit: options,
        routes: Object.fromEntries(
          Object.entries(routes).map(([path, policy]) => [path, { sizeLimit: policy }]),
        ),
      });
      closeAll = () => perf.close();
      return perf as RequestHandler;
    },
  ],
];

const json = (bytes: number) => JSON.stringify({ text: 'x'.repeat(bytes) });
const shaped: ErrorRequestHandler = (error, _req, res, _next) => {
  const { status, statusCode, type, expose, limit } = error;
  res.status(status).json({ shaped: { status, statusCode, type, expose, limit } });
};
const SHAPED = {
  shaped: { status: 413, statusCode: 413, type: 'entity.too.large', expose: true, limit: LIMIT },
};

describe.each(majors)("a refused body with respond: 'next' on %s", (major, express) => {
  describe.each(partOn4(major, mounts, mounts.slice(1)))('%s', (_mount, mount) => {
    const refusals: BodyRefusal[] = [];
    async function serve(prepare: (app: Express) => void, options: StandaloneSizeLimitOptions = {}) {
      refusals.length = 0;
      const app = express();
      const onRefused = (refusal: BodyRefusal) => void refusals.push(refusal);
      app.use(mount({ limit: LIMIT, respond: 'next', onRefused, ...options }));
      app.use(cors({ origin: ORIGIN }));
      prepare(app);
      server = await listen(app);
    }

    /** Sends the head, then the pieces as the server takes them, and reads to the end of the connection. */
    async function send(head: string, ...pieces: (string | Buffer | ((socket: Socket) => void))[]) {
      const socket = connect(server!.port, '127.0.0.1');
      const chunks: Buffer[] = [];
      socket.on('data', (chunk) => chunks.push(chunk));
      socket.on('error', () => {});
      socket.write(`POST ${head}\r\nHost: a\r\nContent-Type: application/json\r\n`);
      for (const piece of pieces) {
        if (typeof piece === 'function') piece(socket);
        else socket.write(piece);
      }
      await new Promise((resolve) => socket.once('close', resolve));
      const [top = '', ...bodies] = Buffer.concat(chunks).toString().split('\r\n\r\n');
      const body = bodies.join('\r\n\r\n');
      const header = (name: string) => new RegExp(`^${name}: (.*)$`, 'im').exec(top)?.[1]?.trim();
      return { status: Number(top.split(' ')[1]), header, body };
    }
    const declared = (path: string, body: string | Buffer, more = '') =>
      send(`${path} HTTP/1.1`, `${more}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`, body);
    const chunked = (path: string, body: string) =>
      send(
        `${path} HTTP/1.1`,
        'Transfer-Encoding: chunked\r\n\r\n',
        `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
      );

    /** Sends pieces of a body, one in 5 ms, until the response ends with a text. */
    const sendUntil = (path: string, text: string) =>
      send(`${path} HTTP/1.1`, 'Transfer-Encoding: chunked\r\n\r\n', (socket) => {
        const timer = setInterval(() => socket.write(`3e8\r\n${'x'.repeat(1000)}\r\n`), 5);
        socket.once('close', () => clearInterval(timer));
        socket.on('data', (bytes) => {
          if (!bytes.includes(text)) return;
          clearInterval(timer);
          socket.write('0\r\n\r\n');
        });
      });

    it.each([
      ['declared', (path: string) => declared(path, json(4 * LIMIT))],
      ['chunked', (path: string) => chunked(path, json(4 * LIMIT))],
      ['declared and never sent', (path: string) => send(`${path} HTTP/1.1`, 'Content-Length: 9999\r\n\r\n')],
    ])('reaches the error handler after cors by express.json(): %s [F01]', async (_how, post) => {
      const handler = vi.fn();
      await serve((app) => {
        app.use(express.json());
        app.post('/', handler);
        app.use(shaped);
      });
      const answer = await post('/');
      expect([answer.status, JSON.parse(answer.body)]).toEqual([413, SHAPED]);
      expect(answer.header('access-control-allow-origin')).toBe(ORIGIN);
      expect(answer.header('connection')).toBe('close');
      expect(handler).not.toHaveBeenCalled();
      expect(refusals).toMatchObject([{ status: 413, error: { code: 'HOTPATH_BODY_TOO_LARGE' } }]);
    });

    const codings = major === 'Express 4' ? ['gzip'] : ['gzip', 'br']; // whose body parser knows no Brotli
    it.each(codings)('reaches it when a %s body grows too large [F05]', async (coding) => {
      await serve((app) => {
        app.use(express.json({ limit: '10mb' }));
        app.use(shaped);
      });
      const body = (coding === 'gzip' ? gzipSync : brotliCompressSync)(json(100 * LIMIT));
      expect(body.length).toBeLessThan(LIMIT);
      const answer = await declared('/', body, `Content-Encoding: ${coding}\r\n`);
      expect([answer.status, JSON.parse(answer.body)]).toEqual([413, SHAPED]);
    });

    it('is a 413 of Express itself where the app has no error handler', async () => {
      await serve((app) => app.use(express.json()));
      vi.spyOn(console, 'error').mockImplementation(() => {});
      const answer = await declared('/', json(4 * LIMIT));
      expect([answer.status, answer.header('content-type')]).toEqual([413, 'text/html; charset=utf-8']);
      expect(answer.header('access-control-allow-origin')).toBe(ORIGIN);
    });

    it.each<[string, (req: Request) => Promise<unknown>]>([
      [
        'for await',
        async (req) => {
          for await (const _ of req);
        },
      ],
      ['data and error', (req) => bodyOf(req)],
      [
        'readable',
        (req) =>
          new Promise((_resolve, reject) => {
            req.on('readable', () => req.read());
            req.on('error', reject);
          }),
      ],
    ])('fails the first read by %s', async (_how, read) => {
      const errors: { status?: number }[] = [];
      await serve((app) => {
        app.post('/', async (req, res) => {
          await sleep(20);
          await read(req).catch((reason) => errors.push(reason));
          res.status(422).send('mine');
        });
      });
      for (const post of [declared, chunked]) {
        const answer = await post('/', json(4 * LIMIT));
        expect([answer.status, answer.body, errors.pop()?.status]).toEqual([422, 'mine', 413]);
      }
    });

    it('fails an upload by multer', async () => {
      await serve((app) => {
        app.post('/', multer().any(), (_req, res) => void res.send('stored'));
        app.use(shaped);
      });
      const form = new FormData();
      form.set('file', new Blob(['x'.repeat(4 * LIMIT)]), 'a.txt');
      const answer = await fetch(server!.url, { method: 'POST', body: form });
      expect([answer.status, await answer.json()]).toEqual([413, SHAPED]);
    });

    it.each<[string, RequestHandler]>([
      ['sends a response below 400', (_req, res) => void res.set('ETag', '"x"').json({ stored: true })],
      [
        'streams one',
        (_req, res) => {
          res.type('text').write('stored');
        },
      ],
      ['redirects', (_req, res) => res.redirect('/elsewhere')],
      ['never responds', () => {}],
    ])('is answered with the problem where the handler %s', async (_how, handler) => {
      await serve((app) => app.post('/', handler));
      const answer = await declared('/', json(4 * LIMIT));
      expect([answer.status, answer.header('content-type')]).toEqual([413, 'application/problem+json']);
      expect(JSON.parse(answer.body)).toMatchObject({ status: 413, limit: LIMIT });
      expect(answer.header('access-control-allow-origin')).toBe(ORIGIN);
      expect([answer.header('etag'), answer.header('location')]).toEqual([undefined, undefined]);
      expect(answer.header('connection')).toBe('close');
    });

    it.each<[string, number, (app: Express) => void]>([
      [
        'an authentication that fails',
        401,
        (app) => app.use((_req, res) => void res.status(401).send('who?')),
      ],
      ['no route', 404, () => {}],
    ])('leaves the response to %s, and closes the connection', async (_who, status, prepare) => {
      await serve(prepare);
      const answer = await declared('/', json(100 * LIMIT));
      expect([answer.status, answer.header('connection')]).toEqual([status, 'close']);
    });

    it('emits no error without a listener', async () => {
      const uncaught = vi.fn();
      process.on('uncaughtException', uncaught);
      await serve((app) => {
        app.post('/', (req, res) => {
          req.on('data', () => {});
          req.on('close', () => res.status(400).send('closed'));
        });
      });
      const answer = await declared('/', json(4 * LIMIT));
      process.off('uncaughtException', uncaught);
      expect([answer.status, answer.body]).toEqual([400, 'closed']);
      expect(uncaught).not.toHaveBeenCalled();
    });

    it.each<[string, RequestHandler]>([
      [
        'reads',
        (req, res) => {
          res.type('text').write('a'.repeat(10_000));
          req.on('error', ({ status }: Error & { status?: number }) => res.end(`error ${status}`));
          req.resume().on('data', () => {});
        },
      ],
      [
        'does not read',
        (_req, res) => {
          res.type('text').write('a'.repeat(10_000));
          setTimeout(() => res.end('error 413'), 300);
        },
      ],
    ])(
      'lets a response that has begun come whole where its handler %s, then closes',
      async (_how, handler) => {
        await serve((app) => app.post('/', handler));
        const answer = await sendUntil('/', 'error 413');
        expect([answer.status, answer.body.includes('error 413'), answer.body.endsWith('0\r\n\r\n')]).toEqual(
          [200, true, true],
        );
        expect(refusals).toMatchObject([{ status: 413 }]);
      },
    );

    it('takes bodies within the limit, and the mode of a route', async () => {
      await serve(
        (app) => {
          app.use(express.json(), (req, res) => void res.json(req.body));
          app.use(shaped);
        },
        { routes: { '/plain/:id': { respond: 'problem' } } },
      );
      const body = json(10);
      const fine = await declared('/', body, 'Connection: close\r\n');
      expect([fine.status, fine.body]).toEqual([200, body]);
      const refused = await declared('/plain/7', json(4 * LIMIT));
      expect([refused.status, refused.header('content-type')]).toEqual([413, 'application/problem+json']);
      expect(refusals).toMatchObject([{ path: '/plain/:id' }]);
    });
  });

  it.each(['problem', 'next'] as const)(
    'has a path in the metrics, by the policy or the route: %s',
    async (respond) => {
      const paths: unknown[] = [];
      const perf = hotpath({
        sizeLimit: { limit: LIMIT, respond, onRefused: ({ path }) => paths.push(path) },
        routes: { '/files/:name': { sizeLimit: '1kb' } },
      });
      closeAll = () => perf.close();
      const app = express();
      const users = express.Router();
      app.use(perf, express.json());
      users.post('/:id', (_req, res) => void res.send('saved'));
      app.use('/users', users);
      app.use(shaped);
      server = await listen(app);
      for (const path of ['/files/a', '/users/7', '/nowhere']) {
        const answer = await fetch(server.url + path, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body: json(4 * LIMIT),
        });
        await answer.text();
      }
      await server.close();
      const text = await perf.metrics.registry!.getSingleMetricAsString('http_requests_total');
      const counted = [...text.matchAll(/path="([^"]*)",status="(\d+)"/g)].map(([, path, status]) => [
        path,
        status,
      ]);
      expect(counted).toEqual([
        ['/files/:name', '413'],
        ['/users/:id', '413'],
        ['unmatched', '413'],
      ]);
      expect(paths).toEqual(['/files/:name', '/users/:id', undefined]);
    },
  );
});
