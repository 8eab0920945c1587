import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Express } from 'express';
import { describe, expect, it } from 'vitest';
import { mountRows } from '../../compat/mounts.js';
import { ask } from '../../helpers/client.js';
import { type Listening, majors, raw, waitFor } from '../../helpers/http.js';
import { invariants, valuesOf } from '../../helpers/invariants.js';
import { pairOf } from '../../helpers/same.js';

const check = invariants();
const TEXT = 'some text, and then some more. '.repeat(200);
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/** A client that reads text as it arrives. */
class Reader {
  readonly socket: Socket;
  text = '';
  ended = false;
  constructor(port: number, request: string) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('error', () => {});
    this.socket.setEncoding('latin1').on('data', (text) => (this.text += text));
    this.socket.once('close', () => (this.ended = true));
    this.send(request);
  }
  send(text: string): void {
    this.socket.write(text.replace(/\r?\n/g, '\r\n'));
  }
  until(condition: (text: string) => boolean): Promise<void> {
    return waitFor(() => condition(this.text));
  }
}

describe.each(majors)('HTTP protocol on %s', (_name, express) => {
  describe.each(mountRows)('%s', (_mount, mount) => {
    const serve = (routes: (app: Express) => void) => pairOf(check, express, { mount, routes });
    const eachOf = ({ plain, ours }: { plain: Listening; ours: Listening }) => [plain, ours];

    it.each(['identity', 'gzip', 'br'])(
      'sends each event of a stream before the handler writes the next: %s [D17]',
      async (coding) => {
        let arrived = () => {};
        const pair = await serve((app) => {
          app.get(['/cached/events', '/plain'], async (req, res) => {
            res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
            if (req.query.flush !== undefined) res.flushHeaders();
            for (let i = 0; i < 5; i++) {
              const arrival = new Promise<void>((resolve) => (arrived = resolve));
              res.write(i === 2 ? ': keep-alive\n\n' : `data: event ${i}\n\n`);
              await arrival;
            }
            res.end('data: bye\n\n');
          });
        });
        for (const path of ['/plain', '/cached/events', '/cached/events?flush']) {
          const reader = new Reader(
            pair.ours.port,
            `GET ${path} HTTP/1.1\nHost: a\nAccept-Encoding: ${coding}\nConnection: close\n\n`,
          );
          for (let i = 0; i < 5; i++) {
            await reader.until((text) => text.includes(i === 2 ? ': keep-alive' : `data: event ${i}`));
            arrived();
          }
          await waitFor(() => reader.ended);
          expect(reader.text).toContain('data: bye');
        }
        for (const cache of pair.mounted.caches) expect(cache.stats().entries).toBe(0);
      },
    );

    it('leaves a manual upgrade, an ignored upgrade offer and CONNECT unchanged [D18]', async () => {
      const pair = await serve((app) => {
        app.get(['/cached/a', '/plain'], (_req, res) => void res.send(TEXT));
      });
      const offer = `GET /cached/a HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: Upgrade, close\nSec-WebSocket-Key: ${KEY}\n\n`;
      for (const { port } of eachOf(pair)) {
        const declined = await raw(port, offer);
        expect(declined.status).toBe(200);
        expect(declined.text).toBe(TEXT);
      }
      for (const { server, port } of eachOf(pair)) {
        server.on('upgrade', (_req, socket) => {
          socket.write(
            'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
          );
          socket.pipe(socket);
        });
        server.on('connect', (_req, socket) => {
          socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
          socket.pipe(socket);
        });
        for (const [request, answer] of [
          [offer, '101 Switching'],
          ['CONNECT a:443 HTTP/1.1\nHost: a:443\n\n', '200 Connection Established'],
        ] as const) {
          const reader = new Reader(port, request);
          await reader.until((text) => text.includes(answer));
          reader.send('hello');
          await reader.until((text) => text.endsWith('\r\n\r\nhello'));
          reader.socket.destroy();
          await waitFor(() => reader.ended);
        }
      }
    });

    it('forwards an interim response, and stores and counts only the final one [D16]', async () => {
      const pair = await serve((app) => {
        app.all(['/cached/hints', '/echo'], async (req, res) => {
          if (req.method === 'GET') res.writeEarlyHints({ link: '</a.css>; rel=preload; as=style' });
          let length = 0;
          for await (const chunk of req) length += chunk.length;
          res.send(`${length} ${TEXT}`);
        });
      });
      const { ours } = await pair.expectSame({ path: '/cached/hints' });
      expect(ours.map(({ interim }) => interim)).toEqual([[103], []]);
      expect(ours[1]!.header('x-cache')).toBe('HIT');
      for (const { port } of eachOf(pair)) {
        const reader = new Reader(
          port,
          'POST /echo HTTP/1.1\nHost: a\nContent-Length: 3\nExpect: 100-continue\nConnection: close\n\n',
        );
        await reader.until((text) => text.includes('100 Continue'));
        reader.send('abc');
        await waitFor(() => reader.ended);
        expect(reader.text).toContain(`3 ${TEXT}`);
      }
      const [registry] = pair.mounted.registries;
      if (!registry) return;
      const counted = await valuesOf(registry, 'http_requests_total');
      expect(counted.map(({ labels, value }) => [labels.status, value])).toEqual([
        ['200', 2],
        ['200', 1],
      ]);
    });

    it('answers pipelined requests in order: a slow miss, a hit, a HEAD, a 404 [D20]', async () => {
      const answer = new Map<string, () => void>();
      const pair = await serve((app) => {
        app.get('/cached/slow', async (req, res) => {
          await new Promise<void>((resolve) => answer.set(req.url, resolve));
          res.type('text').send(`slow ${TEXT}`);
        });
        app.get('/cached/fast', (_req, res) => void res.type('text').send(`fast ${TEXT}`));
      });
      await pair.expectSame({ path: '/cached/fast' });
      for (const { port } of eachOf(pair)) {
        for (const coding of ['identity', 'gzip']) {
          const path = `/cached/slow?${coding}`;
          const head = `HTTP/1.1\nHost: a\nAccept-Encoding: ${coding}\n`;
          const reader = new Reader(
            port,
            `GET ${path} ${head}\nGET /cached/fast ${head}\nHEAD /cached/fast ${head}\nGET /nowhere ${head}Connection: close\n\n`,
          );
          await waitFor(() => answer.has(path));
          expect(reader.text).toBe('');
          answer.get(path)!();
          answer.delete(path);
          await waitFor(() => reader.ended);
          const heads = reader.text.match(/HTTP\/1\.1 \d{3}/g);
          expect(heads).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 404']);
          if (coding === 'identity')
            expect(reader.text.match(/(?:slow|fast) some/g)).toEqual(['slow some', 'fast some']);
        }
      }
    });

    it('sends an HTTP/1.0 client no chunks and marks the end of the body, miss or hit [D20]', async () => {
      const pair = await serve((app) => {
        app.get('/cached/whole', (_req, res) => void res.type('text').send(TEXT));
        app.get('/cached/stream', (_req, res) => {
          res.type('text').write(TEXT);
          res.end(TEXT);
        });
      });
      for (const path of ['/cached/whole', '/cached/stream']) {
        for (const kept of ['', 'Connection: keep-alive\n']) {
          for (let i = 0; i < 3; i++) {
            const got = await raw(pair.ours.port, `GET ${path} HTTP/1.0\nHost: a\n${kept}\n`);
            expect(got.header('transfer-encoding')).toBeUndefined();
            expect(got.text).toBe(path.endsWith('whole') ? TEXT : TEXT + TEXT);
            const isKept = got.header('connection') === 'keep-alive';
            if (isKept) expect(Number(got.header('content-length'))).toBe(got.body.length);
          }
        }
      }
    });

    it('stores an empty 200 like any other, and does not treat it as a miss [D19]', async () => {
      let runs = 0;
      const pair = await serve((app) => {
        app.get('/cached/empty', (_req, res) => {
          runs++;
          res.status(200).end();
        });
      });
      const { ours } = await pair.expectSame({ path: '/cached/empty' }, { times: 3 });
      expect(ours.map((each) => each.header('x-cache'))).toEqual(['MISS', 'HIT', 'HIT']);
      expect(runs).toBe(2); // one of them in the app without hotpath
    });
  });

  it('leaves nothing in progress for a socket that the app takes over [D18, I08]', async () => {
    const [, mount] = mountRows[0]!;
    const pair = await pairOf(check, express, {
      mount,
      routes: (app) => {
        app.get('/taken', (req) => {
          req.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nmy');
        });
      },
    });
    const got = await raw(pair.ours.port, 'GET /taken HTTP/1.1\nHost: a\n\n');
    expect(got.text).toBe('my');
    await once(pair.ours.server, 'request', { signal: AbortSignal.timeout(1) }).catch(() => {});
    expect((await ask(pair.ours.port, { path: '/health', agent: false })).status).toBe(200);
  });
});
