import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline as pipelined } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import type { Request, Response } from 'express';
import { describe, it } from 'vitest';
import { casesFor, mountRows, placeOf } from '../../compat/mounts.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { majors } from '../../helpers/http.js';
import { invariants } from '../../helpers/invariants.js';
import { pairOf, type Remembered } from '../../helpers/same.js';

const check = invariants();
const TEXT = 'some text, and then some more. '.repeat(200);
const folder = fileURLToPath(new URL('../../../src/http', import.meta.url));
const file = fileURLToPath(new URL('../../../src/http/cache-control.ts', import.meta.url));
const big = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 251));

type Handler = (req: Request, res: Response) => unknown;
const tick = () => nextTurn();

/** All ways to send a response; D14. */
const shapes: Record<string, Handler> = {
  'end()': (_req, res) => res.end(),
  'end(callback)': (_req, res) => res.end(() => {}),
  'end(chunk)': (_req, res) => res.end(TEXT),
  'end(chunk, callback)': (_req, res) => res.end(TEXT, () => {}),
  'end(chunk, encoding, callback)': (_req, res) => res.end('c3a9', 'hex', () => {}),
  'end(Uint8Array)': (_req, res) => res.end(new Uint8Array([1, 2, 255])),
  'end twice': (_req, res) => {
    res.on('error', () => {});
    res.end(TEXT);
    res.end('again');
  },
  'write after end': (_req, res) => {
    res.on('error', () => {});
    res.end(TEXT);
    res.write('late', () => {});
  },
  'write, end': (_req, res) => {
    res.write(TEXT);
    res.end('the end');
  },
  'write(callback), end in it': (_req, res) => {
    res.write(TEXT, () => res.end('the end'));
  },
  'write(encoding, callback)': (_req, res) => {
    res.write('Zm9v', 'base64', () => res.end());
  },
  "write('')": (_req, res) => {
    res.write('');
    res.end(TEXT);
  },
  'writes, ticks between': async (_req, res) => {
    for (let i = 0; i < 5; i++) {
      res.write(`${i} ${TEXT}`);
      await tick();
    }
    res.end();
  },
  'writeHead, write, end': (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain', 'X-A': '1' });
    res.write(TEXT);
    res.end();
  },
  'writeHead with a length': (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': TEXT.length }).end(TEXT);
  },
  'setHeaders, appendHeader': (_req, res) => {
    res.setHeaders(new Headers({ 'X-A': '1' }));
    res.appendHeader('X-B', '1').appendHeader('X-B', '2');
    res.end(TEXT);
  },
  flushHeaders: async (_req, res) => {
    res.type('text').flushHeaders();
    await tick();
    res.end(TEXT);
  },
  // Without `uncork` before the end, Node 22 and 24 lose what `end` is given.
  'cork, uncork': (_req, res) => {
    res.cork();
    res.write(TEXT);
    res.write(TEXT);
    res.uncork();
    res.end();
  },
  pipe: (_req, res) => {
    res.type('text');
    createReadStream(file).pipe(res);
  },
  'pipe, into a big body': (_req, res) => {
    Readable.from([big, big]).pipe(res);
  },
  'E13 pipeline': (_req, res) => pipelined(createReadStream(file), res.type('text')),
  'E13 pipeline, of a big body': (_req, res) => pipelined(Readable.from([big, big, TEXT]), res.type('text')),
  'E13 pipeline, end: false': async (_req, res) => {
    await pipelined(createReadStream(file), res.type('text'), { end: false });
    res.end('\nthe end');
  },
  'for await with drain': async (_req, res) => {
    res.type('text');
    for (let i = 0; i < 20; i++) {
      if (!res.write(TEXT.repeat(5))) await new Promise((resolve) => res.once('drain', resolve));
    }
    res.end();
  },
  sendFile: (_req, res) => res.sendFile(file),
  'sendFile, root': (_req, res) => res.sendFile('vary.ts', { root: folder, maxAge: '1m', immutable: true }),
  'sendFile of nothing': (_req, res) => res.sendFile('nothing', { root: folder }),
  download: (_req, res) => res.download(file, 'ü.ts'),
  redirect: (_req, res) => res.redirect(303, '/elsewhere'),
  'redirect, HTML': (req, res) => {
    req.headers.accept = 'text/html';
    res.redirect('/elsewhere?a=<b>');
  },
  jsonp: (_req, res) => res.jsonp({ text: TEXT }),
  json: (_req, res) => res.json({ text: TEXT }),
  'json, null': (_req, res) => res.json(null),
  'status, json': (_req, res) => res.status(201).json([TEXT]),
  'send(string)': (_req, res) => res.send(TEXT),
  'send(Buffer)': (_req, res) => res.send(Buffer.from(TEXT)),
  'send(Buffer), text': (_req, res) => res.type('html').send(Buffer.from(TEXT)),
  'send()': (_req, res) => res.send(),
  'D19 an empty string': (_req, res) => res.send(''),
  'D19 an empty buffer': (_req, res) => res.send(Buffer.alloc(0)),
  sendStatus: (_req, res) => res.sendStatus(418),
  'status 206 by hand': (_req, res) => {
    res.status(206).set('Content-Range', 'bytes 0-3/10').type('text').end('abcd');
  },
  links: (_req, res) => res.links({ next: '/2', last: '/9' }).send(TEXT),
  append: (_req, res) =>
    res.append('Link', '<a>').append('Link', '<b>').append('Warning', '199 x').send(TEXT),
  attachment: (_req, res) => res.attachment('a "b".txt').send(TEXT),
  format: (_req, res) => res.format({ text: () => res.send(TEXT), json: () => res.json({ TEXT }) }),
  vary: (_req, res) => res.vary('Accept').vary('Origin, X-A').send(TEXT),
  cookie: (_req, res) => res.cookie('a', 'b c', { httpOnly: true }).clearCookie('d').send(TEXT),
  location: (_req, res) => res.status(201).location('/new').end(),
  'etag of its own': (_req, res) => res.set('ETag', '"mine"').send(TEXT),
  'no etag': (req, res) => {
    const before = req.app.get('etag fn');
    req.app.set('etag', false);
    res.send(TEXT);
    req.app.set('etag fn', before);
  },
  '204': (_req, res) => res.status(204).end(),
  '204, send': (_req, res) => res.status(204).send(TEXT),
  '205, send': (_req, res) => res.status(205).send(TEXT),
  '304, send': (_req, res) => res.status(304).send(TEXT),
  '304, by hand': (_req, res) => res.writeHead(304, { ETag: '"x"' }).end(),
  'D15 trailers': (_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/plain', Trailer: 'X-Sum' });
    res.write(TEXT);
    res.addTrailers({ 'X-Sum': 'abc' });
    res.end();
  },
  'D15 trailers, of a small body': (_req, res) => {
    res.setHeader('Trailer', 'X-Sum');
    res.write('a');
    res.addTrailers([
      ['X-Sum', '1'],
      ['X-Sum', '2'],
    ]);
    res.end('b');
  },
  'D16 writeContinue': async (_req, res) => {
    res.writeContinue();
    await tick();
    res.send(TEXT);
  },
  'D16 writeProcessing': async (_req, res) => {
    res.writeProcessing();
    res.writeProcessing();
    await tick();
    res.send(TEXT);
  },
  'D16 writeEarlyHints': async (_req, res) => {
    res.writeEarlyHints({ link: '</a.css>; rel=preload; as=style' });
    await tick();
    res.send(TEXT);
  },
  'D03 a body longer than declared': (_req, res) => {
    res.writeHead(200, { 'Content-Length': 3, Connection: 'close' });
    res.end('abcdef');
  },
  'a throw after the head': async (_req, res) => {
    await new Promise((resolve) => res.type('text').write(TEXT, resolve));
    throw new Error('on purpose');
  },
  'destroy before the head': (_req, res) => res.destroy(),
  'destroy half-way': (_req, res) => {
    res.writeHead(200, { 'Content-Length': 100_000 });
    res.write(TEXT, () => res.destroy());
  },
};

const requests: { method?: string; headers?: Record<string, string> }[] = [
  {},
  { headers: { 'Accept-Encoding': 'gzip' } },
  { headers: { 'Accept-Encoding': 'br' } },
  { method: 'HEAD' },
  { method: 'HEAD', headers: { 'Accept-Encoding': 'gzip' } },
  { method: 'POST', headers: { 'Accept-Encoding': 'gzip' } },
  { headers: { 'If-None-Match': 'W/"nothing"', 'Accept-Encoding': 'gzip' } },
];

const names = Object.keys(shapes);
/** They end the connection. They go first: what the others leave on the next connection is found at the end. */
const ENDS_CONNECTION = /^(D03|destroy|a throw after)/;
const ordered = [
  ...names.filter((name) => ENDS_CONNECTION.test(name)),
  ...names.filter((name) => !ENDS_CONNECTION.test(name)),
];

describe.each(majors)('response methods on %s', (major, express) => {
  const remembered: Remembered = { answers: new Map() };
  // Pairwise: every shape meets every way of mounting, every request and both majors, and so do these each other.
  it.each(mountRows)(
    'sends the same with and without hotpath, for each shape, cached or not: %s [D14, D15, D16, D19, E13]',
    async (way, mount) => {
      const pair = await pairOf(check, express, {
        mount,
        remembered,
        routes(app) {
          for (const [i, name] of names.entries()) {
            app.all([`/plain/${i}`, `/cached/${i}`], (req, res, next) => {
              // Express 4 ignores the return value of a handler.
              Promise.resolve(shapes[name]!(req, res)).catch(next);
            });
          }
        },
      });
      for (const name of casesFor(major, way, ordered)) {
        const i = names.indexOf(name);
        // Node itself throws for an invalid trailer.
        const possible = name.startsWith('D15')
          ? requests.filter(({ method }) => method !== 'HEAD')
          : requests;
        const request = possible[(i + placeOf(way)) % possible.length]!;
        try {
          await pair.expectSame({ path: `/plain/${i}`, ...request }, { times: 1 });
          // Stored by the first request.
          await pair.expectSame({ path: `/cached/${i}` });
          if (request === requests[0]) continue;
          await pair.expectSame(
            { path: `/cached/${i}`, ...request },
            { times: request.method === 'POST' ? 1 : 2 },
          );
        } catch (error) {
          throw new Error(`${name}, for ${JSON.stringify(request)}: ${error}`, { cause: error });
        }
      }
    },
  );
});
