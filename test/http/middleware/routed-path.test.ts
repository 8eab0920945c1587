import type { RequestHandler } from 'express';
import { hotpath } from 'hotpath';
import { cacheControl } from 'hotpath/cache-control';
import { compression } from 'hotpath/compression';
import { sizeLimit } from 'hotpath/size-limit';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Listening, listen, majors, raw, waitFor } from '../../helpers/http.js';

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

const TEXT = 'a line that repeats itself. '.repeat(200);

/** Targets that Express routes to `/small`. */
const FORMS = [
  '/small',
  '/SMALL',
  '/small/',
  '/small?a=/other',
  '/small#x',
  '/small#x?y',
  '/small?a#x',
  'http://a/small',
  'http://alice:secret@elsewhere.example:81/small',
  'HTTP://a/small#x',
  'http://a/small/?q',
  'ftp://a/small',
];

describe.each(majors)('the path for policies, on %s', (_name, express) => {
  const mounts: Record<string, () => RequestHandler[]> = {
    'all together': () => [
      hotpath({
        metrics: false,
        sizeLimit: { limit: '1mb' },
        cacheControl: { default: { noCache: true } },
        routes: { '/small': { sizeLimit: '1kb', compression: false, cacheControl: { noStore: true } } },
      }) as RequestHandler,
    ],
    'each alone': () => [
      sizeLimit({ limit: '1mb', routes: { '/small': '1kb' } }) as RequestHandler,
      cacheControl({ default: { noCache: true }, routes: { '/small': { noStore: true } } }) as RequestHandler,
      compression({ routes: { '/small': false } }) as RequestHandler,
    ],
  };

  async function serve(mount: () => RequestHandler[], before: RequestHandler[] = []): Promise<number> {
    const app = express();
    app.use([...before, ...mount()]);
    app.all('/small', (req, res) => {
      let bytes = 0;
      req.on('data', (chunk: Buffer) => (bytes += chunk.length));
      req.on('end', () => res.type('text').send(`${bytes} ${TEXT}`));
      req.on('error', () => {});
    });
    app.use('/raw', (_req, res) => void res.type('text').send(TEXT));
    app.use((_req, res) => void res.status(404).send('no such route'));
    server = await listen(app);
    return server.port;
  }

  const ask = (port: number, method: string, target: string, body = '') =>
    raw(
      port,
      [
        `${method} ${target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n`,
        Buffer.from(body === '' ? '\r\n' : `Content-Length: ${body.length}\r\n\r\n${body}`),
      ].map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)),
    );

  describe.each(Object.entries(mounts))('%s', (_way, mount) => {
    it('matches the path that Express routes by, for limits and compression [F01, E11, A25]', async () => {
      const port = await serve(mount);
      for (const target of FORMS) {
        const answer = await ask(port, 'GET', target);
        expect(answer.status, target).toBe(200);
        expect(answer.header('content-encoding'), target).toBeUndefined();
        expect(answer.header('cache-control'), target).toBe('no-store');
        expect((await ask(port, 'POST', target, 'x'.repeat(5000))).status, target).toBe(413);
        const chunked = await raw(port, [
          Buffer.from(`POST ${target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`, 'latin1'),
          Buffer.from(`1388\r\n${'x'.repeat(5000)}\r\n0\r\n\r\n`),
        ]);
        expect(chunked.status, target).toBe(413);
      }
    });

    it('matches no policy where Express routes elsewhere [F01]', async () => {
      const port = await serve(mount);
      for (const target of ['//small', '/other#/small', '/sm%61ll', 'http://small/other', '/%2Fsmall']) {
        const answer = await ask(port, 'POST', target, 'x'.repeat(5000));
        expect(answer.status, target).toBe(404);
      }
    });

    it('is the path that an earlier middleware wrote [F01]', async () => {
      const port = await serve(mount, [
        (req, _res, next) => {
          req.url = req.url.replace(/^\/v1/, '');
          next();
        },
      ]);
      expect((await ask(port, 'POST', '/v1/small', 'x'.repeat(5000))).status).toBe(413);
      expect((await ask(port, 'POST', '/v1/small#x', 'x'.repeat(5000))).status).toBe(413);
    });
  });

  it('keeps its policy when it cannot be decoded [F01]', async () => {
    const port = await serve(() => [
      sizeLimit({ limit: '1mb', routes: { '/raw/*rest': '1kb' } }) as RequestHandler,
    ]);
    expect((await ask(port, 'POST', '/raw/%zz', 'x'.repeat(5000))).status).toBe(413);
    expect((await ask(port, 'POST', '/raw/%zz', 'x')).status).toBe(200);
  });

  it.each([
    ['http://alice:secret@h/small', '/small'],
    ['http://alice:secret@h/small?secret#secret', '/small'],
    ['http://alice:secret@h/nowhere#secret', '/nowhere'],
    ['/small#access_token=secret', '/small'],
    ['/small?access_token=secret', '/small'],
    ['/nowhere#access_token=secret', '/nowhere'],
    ['//alice:secret@h/nowhere', '//***@h/nowhere'],
  ])('is the only printed part of the slow request %s [K14]', async (target, shown) => {
    const lines: string[] = [];
    const warn = vi.spyOn(console, 'warn').mockImplementation((line) => void lines.push(line));
    const perf = hotpath({
      metrics: false,
      timing: { slow: 0.000001 },
      routes: { '/small': { cache: { ttl: '1m', shared: true } } },
    });
    const app = express();
    perf.attach(app);
    app.use(perf);
    app.get('/small', (_req, res) => void res.send('ok'));
    server = await listen(app);
    await ask(server.port, 'GET', target);
    await waitFor(() => lines.length > 0);
    warn.mockRestore();
    await perf.close();
    expect(lines.join()).toContain(`GET ${shown} `);
    expect(lines.join()).not.toContain('secret');
  });
});
