import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { proxyTo } from '../../conformance/proxy.js';
import { type Listening, listen, majors, raw } from '../../helpers/http.js';

const open: Listening[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close()));
});

async function serve(app: Parameters<typeof listen>[0]): Promise<Listening> {
  const server = await listen(app);
  open.push(server);
  return server;
}

describe.each(majors)('the proxy before the origin of the suite, in %s', (_name, express) => {
  async function proxied(origin: Parameters<typeof createServer>[1]): Promise<Listening> {
    const { url } = await serve(createServer(origin as never));
    const app = express();
    app.disable('x-powered-by');
    app.use(proxyTo(url));
    return serve(app);
  }
  const ask = (port: number, lines = '') =>
    raw(port, `GET /some/path?a=1 HTTP/1.1\r\nHost: example.test\r\n${lines}Connection: close\r\n\r\n`);

  it('forwards status, phrase, the case of names, duplicates and fields that Connection names', async () => {
    const { port } = await proxied((_req, res) => {
      res.sendDate = false;
      res.writeHead(299, 'Quite Fine', [
        ...['X-CaSe', 'one', 'x-case', 'two', 'Connection', 'close, X-Case', 'Proxy-Connection', 'kept'],
      ]);
      res.end('body');
    });
    const answer = await ask(port);
    expect(answer.head).toContain('HTTP/1.1 299 Quite Fine');
    expect(answer.headers.filter(([name]) => !/^(date|keep-alive|transfer-encoding)$/i.test(name))).toEqual([
      ['X-CaSe', 'one'],
      ['X-CaSe', 'two'],
      ['Connection', 'X-Case'],
      ['Proxy-Connection', 'kept'],
    ]);
    expect(answer.text).toBe('body');
  });

  it('forwards the request: method, target, fields and body', async () => {
    const { url } = await proxied(async (req, res) => {
      const chunks: Buffer[] = [];
      for await (const chunk of req) chunks.push(chunk as Buffer);
      res.end(`${req.method} ${req.url} ${req.headers['x-given']} ${Buffer.concat(chunks)}`);
    });
    const answer = await fetch(`${url}/p?q=1`, { method: 'PUT', headers: { 'X-Given': 'v' }, body: 'sent' });
    expect(await answer.text()).toBe('PUT /p?q=1 v sent');
  });

  it('forwards trailers and an interim response', async () => {
    const { port } = await proxied((_req, res) => {
      res.writeEarlyHints({ link: '</style.css>; rel=preload' });
      res.setHeader('Trailer', 'X-Sum');
      res.write('body');
      res.addTrailers([['X-Sum', '42']]);
      res.end();
    });
    const wire = (await ask(port)).wire.toString('latin1');
    expect(wire).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/style\.css>; rel=preload\r\n/i);
    expect(wire).toMatch(/\r\n0\r\nX-Sum: 42\r\n\r\n$/);
  });

  it('streams: the first bytes arrive before the origin has ended', async () => {
    let finish = () => {};
    const { url } = await proxied((_req, res) => {
      res.write('first');
      finish = () => res.end('last');
    });
    const reader = (await fetch(url)).body?.getReader();
    expect(Buffer.from((await reader?.read())?.value as Uint8Array).toString()).toBe('first');
    finish();
    expect(Buffer.from((await reader?.read())?.value as Uint8Array).toString()).toBe('last');
  });

  it('sends 502 for an origin that hangs up, and aborts a response that the origin aborts', async () => {
    const { url } = await proxied((req, res) => {
      if (req.url === '/silent') return void req.socket.destroy();
      res.writeHead(200, { 'Content-Length': '10' });
      res.write('half', () => req.socket.destroy());
    });
    expect((await fetch(`${url}/silent`)).status).toBe(502);
    await expect(fetch(`${url}/half`).then((answer) => answer.text())).rejects.toThrow();
  });

  it('forwards only the declared length of a longer response', async () => {
    const { url } = await proxied((_req, res) => {
      res.setHeader('Content-Length', '4');
      res.end('body and more');
    });
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([200, 'body']);
  });

  it('disconnects from the origin when the client leaves', async () => {
    const origin = createServer();
    const asked = once(origin, 'request');
    const { url } = await serve(origin);
    const app = express();
    app.use(proxyTo(url));
    const leave = new AbortController();
    const answer = fetch((await serve(app)).url, { signal: leave.signal });
    const [req] = await asked;
    const gone = once(req.socket, 'close');
    leave.abort();
    await expect(answer).rejects.toThrow();
    await gone;
  });
});
