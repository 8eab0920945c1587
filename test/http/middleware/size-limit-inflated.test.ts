import { once } from 'node:events';
import { connect } from 'node:net';
import zlib from 'node:zlib';
import type { ErrorRequestHandler, Express, Request, RequestHandler, Response } from 'express';
import { afterEach, describe, expect, it } from 'vitest';
import { hotpath } from '../../../src/hotpath.js';
import { type StandaloneSizeLimitOptions, sizeLimit } from '../../../src/middleware/size-limit/index.js';
import type { SizeLimitOptions } from '../../../src/middleware/size-limit/options.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { bodyOf, type Listening, listen, majors, partOn4, raw, waitFor } from '../../helpers/http.js';

const LIMIT = 64 * 1024;
const coders = {
  gzip: zlib.gzipSync,
  'X-GZip': zlib.gzipSync,
  deflate: zlib.deflateSync,
  'deflate (raw)': zlib.deflateRawSync,
  br: zlib.brotliCompressSync,
} as const;
type Coding = keyof typeof coders;
const codings = Object.keys(coders) as Coding[];

/** Calls a function once for its arguments: text is long, and Brotli takes long to encode it. */
function memoized<Args extends readonly unknown[], Value>(make: (...args: Args) => Value): typeof make {
  const made = new Map<string, Value>();
  return (...args) => {
    const key = args.join();
    if (!made.has(key)) made.set(key, make(...args));
    return made.get(key)!;
  };
}

/** Text that compresses, but not too well. */
const text = memoized((bytes: number) =>
  Array.from({ length: Math.ceil(bytes / 8) }, (_, i) =>
    ((i * 2654435761) >>> 0).toString(16).padStart(8, '0'),
  )
    .join('')
    .slice(0, bytes),
);
const coded = memoized((coding: Coding, bytes: number) => coders[coding](text(bytes)));
const codedZeros = memoized((coding: Coding, bytes: number) => coders[coding](Buffer.alloc(bytes)));
const large = memoized(() => zlib.gzipSync(text(8 * 1024 * 1024), { level: 1 }));

function post(body: Buffer, coding: string, { path = '/', chunk = 0, more = '' } = {}): (string | Buffer)[] {
  const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Encoding: ${coding.split(' ')[0]}\r\n${more}`;
  if (chunk === 0) return [`${head}Content-Length: ${body.length}\r\n\r\n`, body];
  const parts: (string | Buffer)[] = [`${head}Transfer-Encoding: chunked\r\n\r\n`];
  for (let at = 0; at < body.length; at += chunk) {
    const piece = body.subarray(at, at + chunk);
    parts.push(`${piece.length.toString(16)}\r\n`, piece, '\r\n');
  }
  return [...parts, '0\r\n\r\n'];
}

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

const mounts: [string, (options: StandaloneSizeLimitOptions) => RequestHandler][] = [
  ['standalone', (options) => sizeLimit(options)],
  [
    'composed',
    ({ routes, ...section }) =>
      hotpath({
        sizeLimit: section as SizeLimitOptions,
        routes: Object.fromEntries(
          Object.entries(routes ?? {}).map(([path, each]) => [path, { sizeLimit: each }]),
        ),
      }) as RequestHandler,
  ],
];

describe.each(majors)('inflated bodies on %s', (major, express) => {
  describe.each(partOn4(major, mounts, mounts.slice(1)))('%s', (_mount, mount) => {
    async function serve(
      handler: (req: Request, res: Response) => unknown,
      options: StandaloneSizeLimitOptions = { limit: LIMIT },
      prepare?: (app: Express) => void,
    ) {
      const seen = { calls: 0, errors: [] as { code?: string; status?: number; type?: string }[] };
      const app = express();
      prepare?.(app);
      app.use(mount(options));
      app.use((async (req, res, next) => {
        seen.calls++;
        try {
          await handler(req, res);
        } catch (error) {
          next(error);
        }
      }) as RequestHandler);
      app.use(((error, _req, _res, next) => {
        seen.errors.push(error);
        next(error);
      }) as ErrorRequestHandler);
      server = await listen(app);
      return { port: server.port, seen };
    }
    const length = async (req: Request, res: Response) => res.json({ bytes: (await bodyOf(req)).length });

    it.each(codings)(
      'passes a body in %s to the handler byte for byte, in any chunks [F05]',
      async (coding) => {
        let received: Buffer | undefined;
        const { port } = await serve(async (req, res) => {
          received = await bodyOf(req);
          res.send('ok');
        });
        const body = coded(coding, LIMIT);
        for (const chunk of [0, 1000, body.length]) {
          expect((await raw(port, post(body, coding, { chunk }))).status).toBe(200);
          expect(received!.equals(body)).toBe(true);
        }
      },
    );

    it.each(codings)('accepts up to the limit after decoding, and no more: %s [F05, F10]', async (coding) => {
      const { port, seen } = await serve(length);
      for (const chunk of [0, 500]) {
        expect((await raw(port, post(coded(coding, LIMIT), coding, { chunk }))).status).toBe(200);
        const refused = await raw(port, post(coded(coding, LIMIT + 1), coding, { chunk }));
        expect(refused.status).toBe(413);
        expect(refused.header('content-type')).toBe('application/problem+json');
        expect(JSON.parse(refused.text)).toMatchObject({ status: 413, limit: LIMIT });
      }
      expect(seen.errors).toHaveLength(2);
      for (const error of seen.errors) {
        expect(error).toMatchObject({
          code: 'HOTPATH_BODY_TOO_LARGE',
          status: 413,
          type: 'entity.too.large',
        });
      }
    });

    it('passes no chunk over the limit to the handler [F05]', async () => {
      let bytes = 0;
      const { port } = await serve(async (req) => {
        for await (const chunk of req) bytes += (chunk as Buffer).length;
      });
      const bomb = codedZeros('gzip', LIMIT * 100);
      expect((await raw(port, post(bomb, 'gzip'))).status).toBe(413);
      expect(bytes).toBe(0);
    });

    it('passes encoded bodies to body parsers, and nothing of a rejected body [F05]', async () => {
      const parsed: unknown[] = [];
      const { port } = await serve(async (req, res) => {
        await new Promise((resolve, reject) =>
          express.json({ limit: '1gb' })(req, res, (error) => (error ? reject(error) : resolve(undefined))),
        );
        parsed.push(req.body);
        res.send('ok');
      });
      const more = 'Content-Type: application/json\r\n';
      for (const [coding, coder] of [
        ['gzip', zlib.gzipSync],
        ['deflate', zlib.deflateSync],
      ] as const) {
        expect((await raw(port, post(coder('{"a":1}'), coding, { more }))).status).toBe(200);
        const large = coder(JSON.stringify({ a: 'x'.repeat(LIMIT) }));
        expect((await raw(port, post(large, coding, { more }))).status).toBe(413);
      }
      expect(parsed).toEqual([{ a: 1 }, { a: 1 }]);
    });

    it('counts concatenated members together, and forwards bytes after the end [F05]', async () => {
      const { port } = await serve(length);
      const member = zlib.gzipSync(text(LIMIT / 2));
      const two = Buffer.concat([member, member]);
      expect((await raw(port, post(two, 'gzip', { chunk: 700 }))).status).toBe(200);
      expect(
        (await raw(port, post(Buffer.concat([two, zlib.gzipSync('x')]), 'gzip', { chunk: 700 }))).status,
      ).toBe(413);
      for (const [coding, coder] of [
        ['gzip', zlib.gzipSync],
        ['br', zlib.brotliCompressSync],
      ] as const) {
        const followed = Buffer.concat([coder('short'), Buffer.alloc(5000)]);
        for (const chunk of [0, 1, 700]) {
          const answer = await raw(port, post(followed, coding, { chunk }));
          expect(answer.text, `${coding} ${chunk}`).toBe(`{"bytes":${followed.length}}`);
        }
      }
    });

    it.each([
      { name: 'two codings', coding: 'gzip, gzip' },
      { name: 'a thousand codings', coding: `${'gzip,'.repeat(1500)}gzip` },
      { name: 'a coding that Node may not know', coding: 'zstd' },
      { name: 'a coding of old', coding: 'compress' },
      { name: 'a name that every object has', coding: 'toString' },
    ])('rejects $name with 415, before the handler [F05]', async ({ coding }) => {
      const { port, seen } = await serve(length);
      const answer = await raw(port, [
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: ${coding}\r\nContent-Length: 3\r\n\r\nabc`,
      ]);
      expect([answer.status, answer.header('accept-encoding')]).toEqual([415, 'gzip, br, deflate']);
      expect(answer.header('content-type')).toBe('application/problem+json');
      expect(answer.header('connection')).toBe('close');
      expect(seen.calls).toBe(0);
    });

    it('rejects a body that does not match its coding with 400 [F05]', async () => {
      const { port, seen } = await serve(length);
      for (const coding of codings) {
        const answer = await raw(port, post(Buffer.from(`\x87 not in it ${text(3000)}`, 'latin1'), coding));
        expect(answer.status, coding).toBe(400);
        expect(answer.header('content-type')).toBe('application/problem+json');
      }
      expect(new Set(seen.errors.map(({ code, status }) => `${code} ${status}`))).toEqual(
        new Set(['HOTPATH_BODY_CODING 400']),
      );
    });

    it('ignores identity, and codings of a request without body [F05]', async () => {
      const { port } = await serve(length);
      for (const coding of ['identity', 'Identity', ''])
        expect((await raw(port, post(Buffer.from(text(100)), coding))).text).toBe('{"bytes":100}');
      expect((await raw(port, 'GET / HTTP/1.1\nHost: a\nContent-Encoding: zstd\n\n')).status).toBe(200);
    });

    it('uses the options of the route: another size, none, or no decoding [F05]', async () => {
      const { port } = await serve(length, {
        limit: LIMIT,
        inflated: 2 * LIMIT,
        routes: { '/own': { inflated: 10 }, '/as-is': { inflated: false }, '/none': false, '/small': 1000 },
      });
      const body = (bytes: number) => zlib.gzipSync(Buffer.alloc(bytes));
      const status = async (path: string, bytes: number, coding = 'gzip') =>
        (await raw(port, post(body(bytes), coding, { path }))).status;
      expect([await status('/', 2 * LIMIT), await status('/', 2 * LIMIT + 1)]).toEqual([200, 413]);
      expect([await status('/own', 10), await status('/own', 11)]).toEqual([200, 413]);
      expect([await status('/small', 2 * LIMIT), await status('/small', 2 * LIMIT + 1)]).toEqual([200, 413]);
      for (const path of ['/as-is', '/none']) {
        expect(await status(path, 10 * LIMIT)).toBe(200);
        expect(await status(path, 10 * LIMIT, 'zstd')).toBe(200);
      }
    });

    it.each([
      ['some', (req: Request) => req.readableLength > 0],
      ['all', (req: Request) => req.complete],
    ])(
      'counts %s bytes that arrived while an earlier middleware waited [F05, F11]',
      async (_some, hasCome) => {
        const { port, seen } = await serve(length, undefined, (app) => {
          app.use(
            ((req, _res, next) => void waitFor(() => hasCome(req)).then(() => next())) as RequestHandler,
          );
        });
        const small = zlib.gzipSync(text(5000));
        for (const chunk of [0, 100])
          expect((await raw(port, post(small, 'gzip', { chunk }))).text).toBe(`{"bytes":${small.length}}`);
        expect(seen.calls).toBe(2);
        for (const bomb of [codedZeros('gzip', LIMIT * 10), codedZeros('br', LIMIT * 10)]) {
          const coding = bomb[0] === 0x1f ? 'gzip' : 'br';
          expect((await raw(port, post(bomb, coding))).status).toBe(413);
        }
        expect(seen.calls).toBe(2);
      },
    );

    it('delays neither the response nor the connection for an unread body [F05]', async () => {
      const { port } = await serve((_req, res) => res.send('ok'));
      const body = coded('gzip', LIMIT);
      const socket = connect(port, '127.0.0.1');
      let wire = '';
      socket.on('data', (chunk) => {
        wire += chunk;
      });
      for (const part of [...post(body, 'gzip', { chunk: 900 }), ...post(body, 'gzip')]) socket.write(part);
      await waitFor(() => wire.split('HTTP/1.1 200').length === 3);
      socket.destroy();
    });

    it('answers pipelined requests with encoded bodies in order [F05]', async () => {
      const { port } = await serve(async (req, res) =>
        res.send(`${req.path} ${(await bodyOf(req)).length};`),
      );
      const body = coded('gzip', LIMIT);
      const socket = connect(port, '127.0.0.1');
      let wire = '';
      socket.on('data', (chunk) => {
        wire += chunk;
      });
      for (const path of ['/1', '/2', '/3', '/4'])
        for (const part of post(body, 'gzip', { path, chunk: path === '/2' ? 333 : 0 })) socket.write(part);
      await waitFor(() => wire.includes('/4 '));
      expect(wire.match(/\/\d \d+;/g)).toEqual([1, 2, 3, 4].map((n) => `/${n} ${body.length};`));
      socket.destroy();
    });

    it('keeps back-pressure of a large encoded body, and passes it on whole [F05]', async () => {
      const { port } = await serve(
        async (req, res) => {
          let bytes = 0;
          for await (const chunk of req) {
            bytes += (chunk as Buffer).length;
            await nextTurn();
          }
          res.send(String(bytes));
        },
        { limit: '16mb' },
      );
      const body = large();
      expect((await raw(port, post(body, 'gzip'))).text).toBe(String(body.length));
    });

    it('ends a client that leaves during an encoded body as without hotpath [F05]', async () => {
      const { port, seen } = await serve(length);
      const socket = connect(port, '127.0.0.1');
      const body = coded('gzip', LIMIT);
      socket.write(post(body, 'gzip')[0]!);
      socket.write(body.subarray(0, 2000));
      await waitFor(() => seen.calls === 1);
      socket.destroy();
      await waitFor(() => seen.errors.length === 1);
      expect(seen.errors[0]).toMatchObject({ code: 'ECONNRESET' });
    });

    it('counts an encoded body after 100 Continue [F09]', async () => {
      const { port } = await serve(length);
      const { server: http } = server!;
      http.on('checkContinue', http.listeners('request')[0] as never);
      const body = codedZeros('br', LIMIT * 10);
      const socket = connect(port, '127.0.0.1');
      socket.write(post(body, 'br', { more: 'Expect: 100-continue\r\n' })[0]!);
      const [invitation] = (await once(socket, 'data')) as [Buffer];
      expect(invitation.toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
      socket.write(body);
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1\.1 413/);
      socket.destroy();
    });
  });
});

describe('sizeLimit()', () => {
  it.each(['10 mbb', Number.NaN, {}, -1, '', Number.POSITIVE_INFINITY, null, true])(
    'rejects the inflation limit %j at creation [F06]',
    (inflated) => {
      for (const [path, options] of [
        ['sizeLimit.inflated', { inflated }],
        ["sizeLimit.routes['/a'].inflated", { routes: { '/a': { inflated } } }],
      ] as const) {
        expect(() => sizeLimit(options as never)).toThrow(
          expect.objectContaining({ code: 'HOTPATH_CONFIG_INVALID', message: expect.stringContaining(path) }),
        );
      }
    },
  );

  it.each([
    ['brotliWindow', 25],
    ['brotliWindow', 9],
    ['brotliWindow', 22.5],
    ['brotliWindow', '22'],
    ['decoderMemory', 0],
    ['decoderMemory', '64'],
  ])('rejects %s: %j at creation [F06]', (name, value) => {
    expect(() => sizeLimit({ [name]: value })).toThrow(
      expect.objectContaining({
        code: 'HOTPATH_CONFIG_INVALID',
        message: expect.stringContaining(`sizeLimit.${name}: expected a `),
      }),
    );
  });
});
