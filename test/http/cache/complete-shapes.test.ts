import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Request, Response } from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ADDED_HEADERS, cacheApp, expectSame } from '../../helpers/cache.js';
import { majors, parse, waitFor } from '../../helpers/http.js';

/** The fill may not know its length, a hit does. */
const FRAMING = [...ADDED_HEADERS, 'content-length', 'transfer-encoding'];

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hotpath-shapes-'));
  writeFileSync(join(folder, 'page.html'), '<p>page</p>'.repeat(100));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Records a callback, or the value that a call returned. */
type Note = (what: string, value?: unknown) => void;
type Shape = (res: Response, note: Note, req: Request) => unknown;

const storable: [how: string, shape: Shape][] = [
  ['end()', (res) => res.end()],
  ['end(callback)', (res, note) => res.end(() => note('called'))],
  ['end(text)', (res) => res.end('text')],
  ['end(text, callback)', (res, note) => res.end('text', () => note('called'))],
  ['end(text, encoding, callback)', (res, note) => res.end('c3a9', 'hex', () => note('called'))],
  ['end(bytes)', (res) => res.end(new Uint8Array([0, 255, 128, 10]))],
  ['end(null)', (res) => res.end(null)],
  [
    'end twice',
    (res, note) => {
      res.end('once');
      res.once('error', () => {});
      note('same', res.end('twice', () => note('called')) === res);
    },
  ],
  [
    'write after end',
    (res, note) => {
      res.once('error', () => {});
      res.end('ended');
      note(
        'write',
        res.write('more', () => note('called')),
      );
    },
  ],
  [
    'write with callbacks in every encoding',
    (res, note) => {
      res.write(Buffer.from([0xff, 0xfe]), () => note('bytes'));
      res.write('é', 'latin1', () => note('latin1'));
      res.write('aGk=', 'base64', () => note('base64'));
      res.write('hé', 'utf16le');
      res.write('');
      note('returned', typeof res.write('é'));
      res.end('c3a9', 'hex');
    },
  ],
  [
    'write("") and end()',
    (res) => {
      res.write('');
      res.end();
    },
  ],
  [
    'cork and uncork',
    (res) => {
      res.cork();
      res.write('one ');
      res.write('two ');
      res.uncork();
      res.end('three');
    },
  ],
  [
    'flushHeaders',
    (res) => {
      res.flushHeaders();
      setImmediate(() => res.end('late'));
    },
  ],
  [
    'writeHead with headers',
    (res) => res.writeHead(200, { 'X-One': '1', Link: ['</a>', '</b>'] }).end('text'),
  ],
  [
    'writeHead with a reason',
    (res) => res.writeHead(200, 'Fine', { 'Content-Type': 'text/plain' }).end('text'),
  ],
  ['writeHead with a flat list', (res) => res.writeHead(200, ['X-Two', '1', 'X-Two', '2']).end('text')],
  ['a pipe', (res) => Readable.from(['one ', 'two ', 'three']).pipe(res)],
  ['sendFile', (res) => res.sendFile(join(folder, 'page.html'), { maxAge: '1h' })],
  ['download', (res) => res.download(join(folder, 'page.html'), 'päge.html', { maxAge: '1h' })],
  ['json', (res) => res.json({ a: ['é', null] })],
  ['jsonp', (res, _note, req) => res.jsonp({ for: req.query.callback })],
  ['send of bytes', (res) => res.send(Buffer.from([1, 2, 3]))],
  ['redirect for good', (res) => res.redirect(301, '/elsewhere')],
  ['format', (res) => res.format({ text: () => res.send('text'), html: () => res.send('<p>') })],
  [
    'headers of many lines',
    (res) => {
      res.set('Link', ['</a>; rel=preload', '</b>; rel=preload']);
      res.append('WWW-Authenticate', 'Basic');
      res.append('WWW-Authenticate', 'Digest realm="x"');
      res.append('X-Single', 'alone').status(200).end('text');
    },
  ],
  [
    'trailers',
    (res) => {
      res.writeHead(200, { Trailer: 'X-Sum' });
      res.write('with');
      res.addTrailers({ 'X-Sum': '42' });
      res.end();
    },
  ],
  [
    'early hints and a 102 before it',
    (res) => {
      res.writeEarlyHints({ link: '</style.css>; rel=preload' });
      res.writeProcessing();
      res.end('final');
    },
  ],
];

const others: [how: string, shape: Shape][] = [
  ['redirect for now', (res) => res.redirect('/elsewhere')],
  ['204', (res) => res.status(204).end()],
  ['sendStatus', (res) => res.sendStatus(404)],
  ['a cookie', (res) => res.cookie('a', '1').cookie('b', '2').send('cookies')],
];

describe.each(majors)('response shapes (%s)', (_, express) => {
  async function both(shape: Shape) {
    const notes: Record<'alone' | 'cached', string[]> = { alone: [], cached: [] };
    const closed: string[] = [];
    const make = (kind: 'alone' | 'cached') =>
      cacheApp({
        express,
        cache: {
          routes: kind === 'cached' ? { '/x': { ttl: 60 } } : { '/x': false },
          statusHeader: kind === 'cached',
        },
        routes: (app, { count }) =>
          app.get('/x', (req, res) => {
            count();
            res.once('close', () => closed.push(kind));
            shape(
              res,
              (what, value) => notes[kind].push(value === undefined ? what : `${what}: ${value}`),
              req,
            );
          }),
      });
    return { alone: await make('alone'), cached: await make('cached'), notes, closed };
  }

  it.each(storable)(
    'sends what Express sends, from fill and hit: %s [D14, D15, D16, D19, D23, I-SAME]',
    async (_how, shape) => {
      const { alone, cached, notes, closed } = await both(shape);
      const path = '/x?callback=call';
      const expected = await alone.get(path);
      expectSame(await cached.get(path), expected);
      // Callbacks come at the end at the latest; a callback missing now never comes.
      await waitFor(() => closed.length === 2);
      await delay(5);
      expect(notes.cached.sort()).toEqual(notes.alone.sort());
      const hit = await cached.get(path);
      expectSame(hit, expected, [...FRAMING, 'trailer']);
      expect(hit.headers.get('trailer')).toBeNull();
      expect(hit.headers.get('content-length')).toBe(
        String(Buffer.byteLength(await bytesOf(cached.url + path), 'latin1')),
      );
      expect(cached.runs()).toBe(1);
    },
  );

  it.each(others)(
    'sends what Express sends when the response is not stored: %s [D14, I-SAME]',
    async (_how, shape) => {
      const { alone, cached } = await both(shape);
      const expected = await alone.get('/x');
      for (let i = 0; i < 2; i++) expectSame(await cached.get('/x'), expected);
      expect(cached.runs()).toBe(2);
    },
  );

  it('sends a stored 204 without Content-Length, as Express does [D14]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60, statuses: [200, 204, 205, 404] } } },
      routes: (app, { count }) =>
        app.get('/x', (req, res) => {
          count();
          res.status(Number(req.query.status)).end();
        }),
    });
    for (const status of [204, 205, 404]) {
      const answers = [];
      for (let i = 0; i < 2; i++) answers.push(await made.raw(`GET /x?status=${status} HTTP/1.1`));
      const [fill, hit] = answers;
      expect([hit!.status, hit!.header('content-length')]).toEqual([status, fill!.header('content-length')]);
      expect(hit!.header('transfer-encoding')).toBe(fill!.header('transfer-encoding'));
    }
    expect(made.runs()).toBe(3);
  });

  it('stores an empty 200 like any other response [D19]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          res.end();
        }),
    });
    for (let i = 0; i < 3; i++)
      expect(await made.raw('GET /x HTTP/1.1')).toMatchObject({ status: 200, text: '' });
    expect(made.runs()).toBe(1);
  });

  it('stores the final response and does not repeat interim ones [D16]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          res.writeEarlyHints({ link: '</style.css>; rel=preload' });
          res.end('final');
        }),
    });
    const ask = async () => (await wireOf(made.port, get(made.port, 'close'))).toString('latin1');
    const fill = await ask();
    expect(fill).toMatch(/^HTTP\/1.1 103 /);
    expect(fill).toMatch(/\r\n\r\nHTTP\/1.1 200 OK\r\n/);
    const hit = await ask();
    expect(hit).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(hit).toMatch(/\r\n\r\nfinal$/);
    expect(made.runs()).toBe(1);
  });

  it('serves fill and hit without chunks to an HTTP/1.0 client, from one entry [D20]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          res.write('one ');
          res.end('two');
        }),
    });
    for (const version of ['1.0', '1.0', '1.1']) {
      const answer = await made.raw(`GET /x HTTP/${version}\nConnection: close`);
      expect(answer.text).toBe('one two');
      expect(answer.header('transfer-encoding')).toBeUndefined();
    }
    expect(made.runs()).toBe(1);
  });

  it('keeps the order of a slow fill and a hit in one packet, each with its framing [D20]', async () => {
    const made = await cacheApp({
      express,
      cache: { routes: { '/:name': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/:name', async (req, res) => {
          count();
          if (req.params.name === 'slow') await delay(50);
          res.write(`${req.params.name} `);
          res.end('body');
        }),
    });
    await made.get('/fast');
    const one = (path: string, more = '') =>
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${made.port}\r\n${more}\r\n`;
    const wire = await wireOf(
      made.port,
      one('/slow') + one('/fast') + one('/slow') + one('/fast', 'Connection: close\r\n'),
    );
    const bodies = wire.toString('latin1').split('HTTP/1.1 200 OK').slice(1);
    expect(bodies.map((part) => /(slow|fast) /.exec(part)?.[1])).toEqual(['slow', 'fast', 'slow', 'fast']);
    expect(parse(Buffer.from(`HTTP/1.1 200 OK${bodies[1]}`)).text).toBe('fast body');
    expect(made.runs()).toBe(2);
  });

  it('keeps an entry unchanged when middlewares change headers and body of a hit [D22]', async () => {
    const made = await cacheApp({
      express,
      before: (app) =>
        app.use((_req, res, next) => {
          const { end, writeHead } = res;
          res.writeHead = function (this: Response, ...args: unknown[]) {
            const link = this.getHeader('Link');
            if (Array.isArray(link)) link.push('</evil>');
            this.removeHeader('X-Kept');
            return (writeHead as (...args: unknown[]) => Response).apply(this, args);
          } as typeof res.writeHead;
          res.end = function (this: Response, ...args: unknown[]) {
            const result = (end as (...args: unknown[]) => Response).apply(this, args);
            if (args[0] instanceof Uint8Array) args[0].fill(0x21);
            return result;
          } as typeof res.end;
          next();
        }),
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', async (_req, res) => {
          count();
          await delay(10);
          res
            .set('Link', ['</a>', '</b>'] as never)
            .set('X-Kept', 'yes')
            .end(Buffer.from('body'));
        }),
    });
    await Promise.all(Array.from({ length: 10 }, () => made.get('/x')));
    const texts = [];
    for (let i = 0; i < 5; i++) {
      const { text, headers } = await made.get('/x');
      expect(headers.get('link')).toBe('</a>, </b>, </evil>');
      texts.push(text);
    }
    expect(new Set(texts)).toEqual(new Set(['body']));
    expect(made.runs()).toBe(1);
  });

  it('keeps an entry unchanged when the handler overwrites its buffer later [D22]', async () => {
    const buffer = Buffer.from('body');
    const made = await cacheApp({
      express,
      cache: { routes: { '/x': { ttl: 60 } } },
      routes: (app, { count }) =>
        app.get('/x', (_req, res) => {
          count();
          res.end(buffer);
        }),
    });
    await made.get('/x');
    buffer.fill('!');
    expect((await made.get('/x')).text).toBe('body');
    expect(made.runs()).toBe(1);
  });
});

function get(port: number, connection: string): string {
  return `GET /x HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: ${connection}\r\n\r\n`;
}

/** The body as latin1 text, one character per byte. */
async function bytesOf(url: string): Promise<string> {
  return Buffer.from(await (await fetch(url, { redirect: 'manual' })).arrayBuffer()).toString('latin1');
}

/** All bytes that arrive until the server closes. */
function wireOf(port: number, request: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks)));
  });
}
