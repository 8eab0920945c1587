import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { connect, constants, createServer as createHttp2 } from 'node:http2';
import { createServer as createHttps, type RequestOptions, request as requestHttps } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { hotpath, type SlowRequest } from 'hotpath';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ask } from '../helpers/client.js';
import { nextTurn } from '../helpers/event-loop.js';
import { majors, waitFor } from '../helpers/http.js';
import { valuesOf } from '../helpers/invariants.js';

const TEXT = 'some text, and then some more. '.repeat(200);
const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
  vi.restoreAllMocks();
});

function make() {
  const slow: SlowRequest[] = [];
  const perf = hotpath({
    routes: { '/cached/*path': { cache: { ttl: '1m' } } },
    metrics: { defaultMetrics: false },
    timing: { slow: 0.000001, onSlow: (request) => slow.push(request) },
  });
  cleanUp.push(() => perf.close());
  return { perf, slow };
}

async function listen(server: Server, path?: string): Promise<number> {
  server.listen(path ?? { port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  cleanUp.push(() => new Promise((resolve) => server.close(resolve)));
  return path ? 0 : (server.address() as AddressInfo).port;
}

describe('HTTP/2 through the compatibility API [K13]', () => {
  async function serve(handler: RequestListener) {
    const { perf, slow } = make();
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on('warning', note);
    cleanUp.push(() => process.off('warning', note));
    const server = createHttp2((req, res) => {
      perf(req as unknown as IncomingMessage, res as unknown as ServerResponse, () => {
        handler(req as unknown as IncomingMessage, res as unknown as ServerResponse);
      });
    });
    const port = await listen(server as unknown as Server);
    const session = connect(`http://127.0.0.1:${port}`);
    cleanUp.push(() => session.destroy());
    const get = async (path: string, headers: Record<string, string> = {}) => {
      const stream = session.request({ ':path': path, ...headers });
      const trailers: unknown[] = [];
      stream.on('trailers', (fields) => trailers.push({ ...fields }));
      const head = once(stream, 'response');
      const chunks: Buffer[] = [];
      stream.on('data', (chunk) => chunks.push(chunk));
      stream.on('error', () => {});
      stream.end();
      const closed = once(stream, 'close');
      const [fields] = (await Promise.race([head, closed.then(() => [{}])])) as [Record<string, string>];
      await closed;
      const bytes = Buffer.concat(chunks);
      const text = fields['content-encoding'] === 'br' ? brotliDecompressSync(bytes) : bytes;
      return { status: Number(fields[':status']), headers: fields, text: text.toString(), trailers };
    };
    return { perf, slow, session, get, warnings };
  }

  it('serves misses, hits, 304s and HEAD, compressed and not', async () => {
    let runs = 0;
    const { get, perf, warnings } = await serve((_req, res) => {
      runs++;
      res.setHeader('Content-Type', 'text/plain');
      res.end(TEXT);
    });
    for (const coding of ['br', 'identity']) {
      const got = await get('/cached/a', { 'accept-encoding': coding });
      expect(got).toMatchObject({ status: 200, text: TEXT });
      expect(got.headers['content-encoding']).toBe(coding === 'br' ? 'br' : undefined);
      expect(got.headers['x-response-time']).toMatch(/^\d+\.\d{3}ms$/);
    }
    const hit = await get('/cached/a');
    expect(hit.headers['x-cache']).toBe('HIT');
    const confirmed = await get('/cached/a', { 'if-none-match': hit.headers.etag! });
    expect(confirmed).toMatchObject({ status: 304, text: '' });
    expect(await get('/cached/a', { ':method': 'HEAD' })).toMatchObject({ status: 200, text: '' });
    expect(runs).toBe(1);
    await waitFor(async () => {
      const values = await valuesOf(perf.metrics.registry!, 'http_requests_in_progress');
      return values.every(({ value }) => value === 0);
    });
    const counted = await valuesOf(perf.metrics.registry!, 'http_requests_total');
    const byStatus = counted.map(({ labels, value }) => [labels.status, value]);
    expect(byStatus.sort()).toEqual([
      ['200', 1],
      ['200', 3],
      ['304', 1],
    ]);
    await nextTurn();
    expect(warnings.map(({ message }) => message)).toEqual([]);
  });

  it('neither stores nor serves a request with a body that no field announces [B04, K13]', async () => {
    let runs = 0;
    const { get, perf, session } = await serve(async (req, res) => {
      let body = '';
      for await (const chunk of req) body += chunk;
      res.end(`run ${++runs} ${body || 'empty'}`);
    });
    const fat = async (headers: Record<string, string> = {}) => {
      const stream = session.request({ ':path': '/cached/a', ...headers }, { endStream: false });
      stream.setEncoding('utf8').end('evil');
      let text = '';
      for await (const chunk of stream) text += chunk;
      return text;
    };
    expect(await fat()).toBe('run 1 evil');
    expect((await get('/cached/a')).text).toBe('run 2 empty');
    expect(await fat()).toBe('run 3 evil');
    expect(await fat({ 'content-length': '4' })).toBe('run 4 evil');
    const hit = await get('/cached/a', { 'content-length': '0' });
    expect([hit.text, hit.headers['x-cache']]).toEqual(['run 2 empty', 'HIT']);
    expect(perf.cache.stats().entries).toBe(1);
  });

  it('sends streams with a head, trailers and callbacks whole', async () => {
    const { get } = await serve((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/plain', 'X-A': '1' });
      res.write(TEXT, () => {
        res.addTrailers({ 'X-Sum': 'abc' });
        res.end(TEXT);
      });
    });
    const got = await get('/plain');
    expect(got).toMatchObject({ status: 200, text: TEXT + TEXT, trailers: [{ 'x-sum': 'abc' }] });
    expect(got.headers['x-a']).toBe('1');
  });

  it('survives a stream that the client resets, and counts it as 499', async () => {
    let go = () => {};
    const { session, slow, get } = await serve(async (req, res) => {
      if (req.url === '/plain') {
        res.setHeader('Content-Type', 'text/plain');
        res.write(TEXT);
        await new Promise<void>((resolve) => (go = resolve));
      }
      res.end(TEXT);
    });
    const stream = session.request({ ':path': '/plain' });
    stream.on('error', () => {});
    await once(stream, 'response');
    stream.close(constants.NGHTTP2_CANCEL);
    await waitFor(() => slow.length === 1);
    go();
    expect(slow[0]).toMatchObject({ status: 499, path: '/plain' });
    expect(await get('/other')).toMatchObject({ status: 200, text: TEXT });
  });
});

describe.each(majors)('other listeners, on %s [K13]', (_name, express) => {
  function makeApp() {
    const { perf, slow } = make();
    const app = express();
    let runs = 0;
    app.use(perf);
    app.get('/cached/a', (req, res) => {
      runs++;
      res.type('text').send(`${req.protocol} ${TEXT}`);
    });
    app.post('/a', (req, res) => {
      req.resume().on('end', () => res.send('posted'));
    });
    return { app, perf, slow, runs: () => runs };
  }

  it('https: serves a miss, a hit and a POST, with entries apart from those of http', async () => {
    const { app, runs, perf } = makeApp();
    // With a shared key TLS needs no certificate.
    const psk = { identity: 'test', psk: Buffer.alloc(16, 7) };
    const ciphers = { ciphers: 'PSK', maxVersion: 'TLSv1.2' } as const;
    const tls = createHttps({ ...ciphers, pskCallback: () => psk.psk as never }, app as RequestListener);
    const port = await listen(tls);
    const secure = async (path: string, method = 'GET') => {
      const req = requestHttps({
        host: '127.0.0.1',
        port,
        path,
        method,
        agent: false,
        ...ciphers,
        pskCallback: () => psk,
        checkServerIdentity: () => undefined,
      } as RequestOptions);
      req.end(method === 'POST' ? 'body' : undefined);
      const [res] = (await once(req, 'response')) as [IncomingMessage];
      let text = '';
      for await (const chunk of res) text += chunk;
      return { text, cache: res.headers['x-cache'] };
    };
    expect(await secure('/cached/a')).toEqual({ text: `https ${TEXT}`, cache: 'MISS' });
    expect(await secure('/cached/a')).toEqual({ text: `https ${TEXT}`, cache: 'HIT' });
    expect(await secure('/a', 'POST')).toMatchObject({ text: 'posted' });
    const plain = await listen(createServer(app as RequestListener));
    const host = { Host: `127.0.0.1:${port}` };
    const got = await ask(plain, { path: '/cached/a', headers: host, agent: false });
    expect(got.body.toString()).toBe(`http ${TEXT}`);
    expect(runs()).toBe(2);
    expect(perf.cache.stats().entries).toBe(2);
  });

  it('Unix socket, without an address: serves misses, hits, POST and slow requests', async () => {
    const { app, runs, slow } = makeApp();
    const folder = await mkdtemp(join(tmpdir(), 'hotpath-socket-'));
    cleanUp.push(() => rm(folder, { recursive: true }));
    const socketPath = join(folder, 'app');
    await listen(createServer(app as RequestListener), socketPath);
    for (let i = 0; i < 3; i++) {
      const got = await ask(0, {
        socketPath,
        path: '/cached/a',
        agent: false,
        headers: { 'Accept-Encoding': 'gzip' },
      });
      expect(got.body.toString()).toBe(`http ${TEXT}`);
    }
    const posted = await ask(0, { socketPath, path: '/a', method: 'POST', body: 'x', agent: false });
    expect(posted.body.toString()).toBe('posted');
    expect(runs()).toBe(1);
    await waitFor(() => slow.length === 4);
    expect(slow[0]).toMatchObject({ status: 200, route: '/cached/a' });
    expect(slow[0]!.clientAddress ?? '').toBe('');
  });
});
