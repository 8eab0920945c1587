import { once } from 'node:events';
import {
  connect,
  constants,
  createSecureServer,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Express } from 'express';
import { hotpath } from 'hotpath';
import bridge from 'http2-express-bridge';
import { describe, expect, it } from 'vitest';
import { sizeLimit } from '../../src/middleware/size-limit/index.js';
import { certificates } from '../helpers/certificates.js';
import { express4 } from '../helpers/http.js';

interface Http2Answer {
  headers: Record<string, unknown>;
  body: string;
}

/** Serves an app over HTTP/2 (the bridge looks at the protocol that TLS negotiates), and closes all of it at the end. */
async function withServer(
  app: Express,
  use: (ask: (headers: Record<string, string>, body?: string) => Promise<Http2Answer>) => Promise<void>,
): Promise<void> {
  const server = createSecureServer({ ...certificates.server }, app as never).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = connect(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    rejectUnauthorized: false,
  });
  try {
    await use(async (headers, body) => {
      const stream = session.request(headers, { endStream: body === undefined });
      const [answer] = await Promise.all([once(stream, 'response'), body && stream.end(body)]);
      let text = '';
      for await (const chunk of stream.setEncoding('utf8')) text += chunk;
      return { headers: answer[0], body: text };
    });
  } finally {
    session.close();
    server.close();
  }
}

it('serves hits and refuses uploads through http2-express-bridge, without a warning of Node', async () => {
  const warnings: Error[] = [];
  const listen = (warning: Error) => void warnings.push(warning);
  process.on('warning', listen);
  const perf = hotpath({
    metrics: { defaultMetrics: false },
    sizeLimit: { limit: 10 },
    routes: { '/items': { cache: { ttl: '1m', shared: true } } },
  });
  const app = bridge(express4 as never) as unknown as Express;
  app.use(perf);
  app.get('/items', (_req, res) => void res.set('X-Own', 'yes').type('json').send('{"a":1}'));
  app.post('/items', (req, res) => void req.resume().on('end', () => res.end('read')));
  await withServer(app, async (ask) => {
    const [miss, hit] = [await ask({ ':path': '/items' }), await ask({ ':path': '/items' })];
    expect([miss.headers['x-cache'], hit.headers['x-cache']]).toEqual(['MISS', 'HIT']);
    expect([hit.headers['x-own'], hit.headers.etag, hit.body]).toEqual(['yes', miss.headers.etag, '{"a":1}']);
    const length = { ':method': 'POST', ':path': '/items', 'content-length': '11' };
    const refused = await ask(length, 'x'.repeat(11));
    expect([refused.headers[':status'], JSON.parse(refused.body).limit]).toEqual([413, 10]);
  });
  await perf.close();
  await new Promise(setImmediate);
  process.off('warning', listen);
  expect(warnings).toEqual([]);
});

type Handler = (req: Http2ServerRequest, res: Http2ServerResponse) => void;
const fails: Handler = (req, res) => {
  req.on('error', ({ status }: Error & { status?: number }) => void res.writeHead(status!).end('mine'));
  req.on('data', () => {});
};
const endsEarly: Handler = (req, res) => {
  res.end('whole');
  req.resume();
};

describe('an upload over HTTP/2 that never ends', () => {
  it.concurrent.each<[string, string, 'problem' | 'next', Handler]>([
    ['is refused with the problem', '413 {"type"', 'problem', fails],
    ['is refused by the app', '413 mine', 'next', fails],
    ['does not cut the response that the app has ended', '200 whole', 'problem', endsEarly],
  ])('%s, and its stream is closed', async (_what, expected, respond, handler) => {
    const limit = sizeLimit({ limit: 10, respond });
    const server = createServer((req, res) => limit(req as never, res as never, () => handler(req, res)));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    const timer = setInterval(() => stream.write('x'.repeat(1000)), 10);
    try {
      let text = '';
      stream.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      const [[headers]] = await Promise.all([once(stream, 'response'), once(stream, 'close')]);
      expect(`${headers[':status']} ${text}`).toContain(expected);
      expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
    } finally {
      clearInterval(timer);
      session.destroy();
      server.close();
    }
  });
});
