import { once } from 'node:events';
import { Agent, createServer, get, type RequestListener, request, type Server } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { endOnShutdown, health, shutdown } from '../../../src/admin/index.js';
import { exchangeOf } from '../../../src/exchange/exchange.js';
import { hotpath } from '../../../src/hotpath.js';
import { certificates } from '../../helpers/certificates.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { bodyOf, majors, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();
const later = closeAfterEach();
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A connection that collects what it receives. */
async function open(port: number, text = '') {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  const seen = { socket, text: '', isClosed: false };
  socket.on('data', (chunk) => (seen.text += chunk.toString('latin1')));
  socket.on('error', () => {});
  socket.on('close', () => (seen.isClosed = true));
  await once(socket, 'connect');
  if (text) socket.write(text.replaceAll('\n', '\r\n'));
  return seen;
}

const line = (path: string) => `GET ${path} HTTP/1.1\nHost: a\n\n`;
const connectionsIn = (text: string) => text.match(/(?<=\r\nConnection: )[\w-]+/g);

/** A handler that ends when the test says so. */
function held() {
  const waiting: (() => void)[] = [];
  return {
    waiting,
    handler: (_req: unknown, res: { end(text: string): unknown }) => void waiting.push(() => res.end('held')),
    release: () => {
      for (const end of waiting.splice(0)) end();
    },
  };
}

describe.each(majors)('shutdown on %s', (_major, express) => {
  async function shop() {
    const perf = later(hotpath({ routes: { '/hit': { cache: { ttl: '1h', shared: true } } } }));
    const slow = held();
    const app = express();
    app.use(perf);
    perf.attach(app);
    app.use(health());
    app.get('/hit', (_req, res) => void res.send('hit'));
    app.get('/slow', slow.handler as never);
    app.post('/upload', async (req, res) => void res.send(String((await bodyOf(req)).length)));
    app.get('/big', (_req, res) => void res.end(Buffer.alloc(20_000_000)));
    app.get('/events', (req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      res.write('data: 1\n\n');
      endOnShutdown(req, res);
    });
    const { server, port, url } = await serve(app);
    const status = async (path: string) => (await fetch(url + path)).status;
    return { perf, slow, server, port, url, status };
  }

  it('is unready first, still accepts, and then ends each connection after its response [K02]', async () => {
    const { slow, server, port, status, perf } = await shop();
    await status('/hit');
    const idle = await open(port);
    const kept = await open(port, line('/hit'));
    const pending = await open(port, line('/slow'));
    await waitFor(() => slow.waiting.length === 1 && kept.text.includes('hit'));
    const began = performance.now();
    const done = shutdown(server as Server, { unreadyFor: '150ms', deadline: '30s', perf });
    expect(shutdown(server)).toBe(done);
    expect([await status('/readyz'), await status('/healthz'), await status('/hit')]).toEqual([
      503, 200, 200,
    ]);
    await waitFor(() => !server.listening);
    expect(performance.now() - began).toBeGreaterThanOrEqual(149);
    await waitFor(() => idle.isClosed && kept.isClosed);
    expect(pending.isClosed).toBe(false);
    slow.release();
    expect(await done).toMatchObject({ isComplete: true, cutConnections: 0, openConnections: 0 });
    await waitFor(() => pending.isClosed);
    expect(connectionsIn(pending.text)).toEqual(['close']);
    expect(pending.text).toContain('held');
    expect(perf.cache.stats().entries).toBe(0); // it is closed
  });

  it('says close on requests that arrive while it closes, hits at the front door too', async () => {
    const { slow, server, port, status, perf } = await shop();
    await status('/hit');
    // A connection that receives a request is not idle.
    const early = await open(port, `GET /hit HTTP/1.1\nHost: 127.0.0.1:${port}\n`);
    const other = await open(port, line('/slow'));
    await waitFor(() => slow.waiting.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const done = shutdown(server, { unreadyFor: 0, deadline: '30s' });
    await waitFor(() => !server.listening);
    const hits = perf.cache.stats().frontDoor.hits;
    early.socket.write('\r\n');
    await waitFor(() => early.isClosed);
    expect([connectionsIn(early.text), perf.cache.stats().frontDoor.hits]).toEqual([['close'], hits + 1]);
    slow.release();
    await done;
    await waitFor(() => other.isClosed);
  });

  it('lets uploads, slow downloads and pipelined requests end [K02]', async () => {
    const { slow, server, port } = await shop();
    const upload = await open(port, 'POST /upload HTTP/1.1\nHost: a\nContent-Length: 6\n\nabc');
    const pipelined = await open(port, line('/slow') + line('/hit') + line('/hit'));
    const big = connect(port, '127.0.0.1');
    sockets.push(big);
    big.pause();
    big.write(line('/big').replaceAll('\n', '\r\n'));
    let received = 0;
    big.on('data', (chunk) => (received += chunk.length));
    big.pause();
    const ended = once(big, 'close');
    await waitFor(() => slow.waiting.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 50)); // the download fills the buffers of the system
    const done = shutdown(server, { unreadyFor: 0, deadline: '30s' });
    await new Promise((resolve) => setTimeout(resolve, 120)); // two looks for idle connections
    slow.release();
    upload.socket.write('def');
    big.resume();
    await ended;
    expect(received).toBeGreaterThan(20_000_000);
    expect(await done).toMatchObject({ isComplete: true });
    await waitFor(() => upload.isClosed && pipelined.isClosed);
    expect(upload.text).toMatch(/Connection: close[\s\S]*6$/);
    expect(pipelined.text.match(/HTTP\/1.1 200/g)).toHaveLength(3);
  });

  it('ends event streams that have joined, those that begin later at once', async () => {
    const { slow, server, port } = await shop();
    const stream = await open(port, line('/events'));
    const late = await open(port, 'GET /events HTTP/1.1\n');
    await open(port, line('/slow'));
    await waitFor(() => slow.waiting.length === 1 && stream.text.includes('data: 1'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const done = shutdown(server, { unreadyFor: 0, deadline: '30s' });
    await waitFor(() => stream.isClosed);
    late.socket.write('Host: a\r\n\r\n');
    await waitFor(() => late.isClosed);
    expect(late.text).toMatch(/data: 1[\s\S]*0\r\n\r\n$/);
    slow.release();
    expect(await done).toMatchObject({ isComplete: true, endedStreams: 1 });
  });

  it('cuts at the deadline what does not end, upgraded connections too [K02]', async () => {
    const { slow, server, port } = await shop();
    server.on('upgrade', (_req, socket) => {
      socket.on('error', () => {});
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n');
    });
    const upgraded = await open(port, 'GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: x\n\n');
    const hung = await open(port, line('/slow'));
    await waitFor(() => slow.waiting.length === 1 && upgraded.text.includes('101'));
    let closings = 0;
    const onClosing = () => {
      closings++;
      throw new Error('a fault of the hook');
    };
    const summary = await shutdown(server, { unreadyFor: 0, deadline: '200ms', onClosing });
    expect(summary).toMatchObject({ isComplete: false, cutConnections: 2, openConnections: 0 });
    await waitFor(() => upgraded.isClosed && hung.isClosed);
    expect(closings).toBe(1);
  });
});

describe('shutdown', () => {
  const bare = async (listener: RequestListener = (_req, res) => void res.end()) => {
    const server = createServer(listener);
    later({ close: () => server.closeAllConnections() });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { server, port: (server.address() as AddressInfo).port };
  };

  it('ends several servers, one that is closed, and one whose close has begun', async () => {
    const slow = held();
    const [one, two] = [await bare(), await bare(slow.handler as never)];
    const pending = await open(two.port, line('/'));
    await waitFor(() => slow.waiting.length === 1);
    two.server.close();
    const never = createServer();
    const done = shutdown([one.server, two.server, never], { unreadyFor: 0 });
    expect(shutdown([two.server, one.server])).toBe(done);
    await waitFor(() => !one.server.listening);
    slow.release();
    expect(await done).toMatchObject({ isComplete: true });
    await waitFor(() => pending.isClosed);
    expect(connectionsIn(pending.text)).toEqual(['close']);
    expect(shutdown(one.server)).toBe(done);
  });

  it('makes health on another server unready by its middleware or by perf, and no other', async () => {
    const perf = later(hotpath());
    const probes = { byHealth: health(), byPerf: health({ perf }), other: health() };
    const { server } = await bare();
    await shutdown(server, { unreadyFor: 0, perf, health: probes.byHealth });
    const statuses = await Promise.all(
      Object.values(probes).map(async (probe) => (await probe.read()).status),
    );
    expect(statuses).toEqual(['fail', 'fail', 'pass']);
  });

  it('sends GOAWAY over HTTP/2 and lets open streams end', async () => {
    const waiting: (() => void)[] = [];
    const server = createHttp2Server((req, res) => {
      exchangeOf(req as never, res as never);
      waiting.push(() => res.end('held'));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const goaway = once(client, 'goaway');
    const stream = client.request({ ':path': '/' });
    stream.setEncoding('utf8');
    let text = '';
    stream.on('data', (chunk) => (text += chunk));
    await waitFor(() => waiting.length === 1);
    const done = shutdown(server, { unreadyFor: 0, deadline: '30s' });
    await goaway;
    for (const end of waiting) end();
    expect(await done).toMatchObject({ isComplete: true, cutConnections: 0 });
    expect(text).toBe('held');
    client.destroy();
  });

  it('sends GOAWAY over HTTP/2 on connections without a request too', async () => {
    const server = createHttp2Server((req, res) => {
      exchangeOf(req as never, res as never);
      res.end('ok');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const dial = async () => {
      const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
      later({ close: () => client.destroy() });
      await once(client, 'remoteSettings');
      return client;
    };
    const client = await dial();
    const response = client.request({ ':path': '/' }).resume();
    await once(response, 'end');
    const idle = await dial();
    const goaway = once(idle, 'goaway');
    const done = shutdown(server, { unreadyFor: 0, deadline: '30s' });
    await goaway;
    expect(await done).toMatchObject({ isComplete: true, cutConnections: 0 });
  });

  it('ends a server of HTTPS, with connections that have not begun their handshake', async () => {
    const server = createHttpsServer(certificates.server, (_req, res) => void res.end());
    later({ close: () => server.closeAllConnections() });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const silent = await open(port);
    const secure = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }).on('error', () => {});
    await once(secure, 'secureConnect');
    const done = shutdown(server, { unreadyFor: 0, deadline: '30s' });
    secure.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(secure.resume(), 'close');
    expect(await done).toMatchObject({ isComplete: true, cutConnections: 0 });
    await waitFor(() => silent.isClosed);
  });

  it('ends a server that is still about to listen', async () => {
    const server = createServer();
    later({ close: () => server.closeAllConnections() });
    server.listen(0, 'localhost');
    expect(await shutdown(server, { unreadyFor: 0 })).toMatchObject({ isComplete: true });
    await once(server, 'close');
    expect(server.listening).toBe(false);
  });

  it('works on a server without hotpath, and leaves its methods as they were', async () => {
    const { server, port } = await bare();
    const { status } = await new Promise<{ status: number | undefined }>((resolve) => {
      get({ port, agent: new Agent({ keepAlive: true }) }, (res) => {
        res.resume().on('end', () => resolve({ status: res.statusCode }));
      });
    });
    expect(status).toBe(200);
    expect(await shutdown(server, { unreadyFor: 0 })).toMatchObject({ isComplete: true });
    expect(Object.hasOwn(server, 'closeIdleConnections')).toBe(false);
    await expect(
      new Promise((_resolve, reject) => request({ port }).on('error', reject).end()),
    ).rejects.toThrow();
  });

  it.each([
    [undefined, {}, 'server'],
    [[], {}, 'server'],
    [createServer(), { unreadyFor: '5' }, 'unreadyFor'],
    [createServer(), { unreadyFor: '10s', deadline: '5s' }, 'unreadyFor'],
    [createServer(), { perf: {} }, 'perf'],
    [createServer(), { signals: true }, 'signals'],
  ])('rejects invalid arguments: %#', async (server, options, name) => {
    await expect(shutdown(server as never, options as never)).rejects.toThrow(name);
  });
});
