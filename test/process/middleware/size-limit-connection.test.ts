import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import type { Request, RequestHandler } from 'express';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { sizeLimit } from '../../../src/middleware/size-limit/index.js';
import { bodyOf, type Listening, listen, majors, parse, raw, waitFor } from '../../helpers/http.js';
import { chunked, declared, echo, LIMIT, limitedOn, lingers, upload } from '../../helpers/uploads.js';

let server: Listening | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
  vi.restoreAllMocks();
});

describe.each(majors)('the connection of a body that is too large, on %s', (_name, express) => {
  const serve = limitedOn(express);

  describe('receives the 413 [F07]', () => {
    const sizes = [1, 64].map((mb) => mb * 1024 * 1024);
    const cases = sizes.flatMap((bytes) => [true, false].map((isDeclared) => ({ bytes, isDeclared })));
    // A second request finds what the first has left; a long body takes most of the time of this file.
    const timesFor = (bytes: number) => (bytes > 1024 * 1024 ? 2 : 5);

    it.each(cases)(
      'http.request, keep-alive: $bytes bytes, declared: $isDeclared',
      async ({ bytes, isDeclared }) => {
        const { port } = await serve(echo);
        const agent = new Agent({ keepAlive: true });
        const body = Buffer.alloc(bytes, 'x');
        for (let i = 0; i < timesFor(bytes); i++) {
          const headers = isDeclared ? { 'content-length': bytes } : { 'transfer-encoding': 'chunked' };
          const answer = await upload(port, { agent, headers }, (req) => req.end(body));
          expect(answer.status).toBe(413);
          expect(JSON.parse(answer.body).limit).toBe(LIMIT);
        }
        agent.destroy();
      },
    );

    it.each(cases)('fetch: $bytes bytes, declared: $isDeclared', async ({ bytes, isDeclared }) => {
      const { url } = await serve(echo);
      for (let i = 0; i < timesFor(bytes); i++) {
        const piece = new Uint8Array(65536);
        const pieces = Readable.from(Array.from({ length: bytes / piece.length }, () => piece));
        const answer = isDeclared
          ? await fetch(url, { method: 'POST', body: new Uint8Array(bytes) })
          : await fetch(url, {
              method: 'POST',
              body: Readable.toWeb(pieces) as never,
              duplex: 'half',
            } as RequestInit);
        expect(answer.status).toBe(413);
        expect(await answer.json()).toMatchObject({ limit: LIMIT });
      }
    });

    it.each(cases)(
      'a client that sends all before it reads: $bytes bytes, declared: $isDeclared',
      async ({ bytes, isDeclared }) => {
        const { port } = await serve(echo);
        const socket = connect(port, '127.0.0.1');
        socket.pause();
        const pieces = isDeclared ? declared(bytes) : chunked(bytes);
        const sent = Promise.all(
          pieces.map(
            (piece) =>
              new Promise<void>((resolve, reject) => {
                socket.write(piece, (error) => (error ? reject(error) : resolve()));
              }),
          ),
        );
        await sent;
        const chunks: Buffer[] = [];
        socket.on('data', (chunk) => chunks.push(chunk)).resume();
        await once(socket, 'close');
        expect(parse(Buffer.concat(chunks)).status).toBe(413);
      },
    );

    it('for a slow upload', async () => {
      const { port } = await serve(echo, { limit: 1000 });
      const answer = await upload(port, { headers: { 'transfer-encoding': 'chunked' } }, (req) => {
        const timer = setInterval(() => req.write('x'.repeat(100)), 2);
        req.once('response', () => clearInterval(timer));
      });
      expect(answer).toMatchObject({ status: 413, connection: 'close' });
    });

    it('for a handler that fails at once because of it', async () => {
      const { port } = await serve(echo);
      for (let i = 0; i < 20; i++) {
        const answer = await upload(port, { headers: { 'transfer-encoding': 'chunked' } }, (req) => {
          req.end(Buffer.alloc(1024 * 1024));
        });
        expect(answer.status).toBe(413);
      }
    });
  });

  it('cuts an endless upload after the 413 [F08]', async () => {
    const { port } = await serve(echo);
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    const piece = `10000\r\n${'x'.repeat(65536)}\r\n`;
    let sent = 0;
    const more = () => {
      while (!socket.destroyed && sent < 1024 ** 3) {
        sent += piece.length;
        if (!socket.write(piece)) return;
      }
    };
    socket.on('drain', more);
    socket.resume();
    more();
    // Without the cut, the server would read the whole gigabyte and keep the connection.
    await closed;
    expect(sent).toBeLessThan(200 * 1024 * 1024);
  });

  it('closes a silent connection within seconds after the 413 [F08]', async () => {
    const { port } = await serve(echo);
    const socket = connect(port, '127.0.0.1');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    const ended = once(socket, 'end');
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LIMIT + 1}\r\n\r\nxxx`);
    // Node itself would wait for five minutes, too long for a test.
    await ended;
    expect(parse(Buffer.concat(chunks)).status).toBe(413);
    socket.destroy();
  });

  it('with checkContinue, rejects before the body is sent, and invites a small one [F09]', async () => {
    const { port, server: http } = await serve(echo);
    http.on('checkContinue', http.listeners('request')[0] as never);
    const head = (bytes: number) =>
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\nExpect: 100-continue\r\n\r\n`;
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const refused = await raw(port, [head(LIMIT + 1)]);
    expect(refused.head).toMatch(/^HTTP\/1\.1 413/);
    expect(lingers(timers)).toBe(0);
    timers.mockRestore();
    const socket = connect(port, '127.0.0.1');
    socket.write(head(3));
    const [invitation] = (await once(socket, 'data')) as [Buffer];
    expect(invitation.toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('abc');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200/);
    socket.destroy();
  });

  it('without checkContinue, sends a 413 for a body that is too large [F09]', async () => {
    const { port } = await serve(echo);
    const answer = await raw(port, [
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LIMIT + 1}\r\nExpect: 100-continue\r\n\r\n`,
    ]);
    expect(answer.head.replace(/^HTTP\/1\.1 100 Continue\s*/, '')).toBe('');
    expect(answer.wire.toString()).toContain('HTTP/1.1 413');
  });

  it('never hangs and counts nothing twice behind a body parser [F11]', async () => {
    const app = express();
    app.use(express.text({ type: () => true, limit: '10mb' }));
    app.use(sizeLimit({ limit: LIMIT }));
    app.use(((req, res) => res.json({ bytes: req.body.length })) as RequestHandler);
    server = await listen(app);
    expect((await raw(server.port, chunked(LIMIT * 2))).text).toBe(`{"bytes":${LIMIT * 2}}`);
    expect((await raw(server.port, declared(LIMIT))).text).toBe(`{"bytes":${LIMIT}}`);
    // The declared length is known.
    const timers = vi.spyOn(globalThis, 'setTimeout');
    expect((await raw(server.port, declared(LIMIT + 1))).status).toBe(413);
    expect(lingers(timers)).toBe(0);
    timers.mockRestore();
  });

  it('reports once that it is behind a body parser, and not when it is first [F11]', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const warnings = () => warn.mock.calls.filter(([, options]) => JSON.stringify(options).includes('LATE'));
    const app = express();
    app.use('/first', sizeLimit({ limit: LIMIT }), express.text({ type: () => true }));
    app.use('/late', express.text({ type: () => true }), sizeLimit({ limit: LIMIT }));
    app.use(((_req, res) => void res.send('ok')) as RequestHandler);
    server = await listen(app);
    for (const path of ['/first', '/first'])
      expect((await raw(server.port, declared(100, path))).status).toBe(200);
    expect((await raw(server.port, 'GET /late HTTP/1.1\nHost: a\n\n')).status).toBe(200);
    expect(warnings()).toEqual([]);
    for (let i = 0; i < 3; i++) expect((await raw(server.port, declared(100, '/late'))).status).toBe(200);
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]![0]).toContain('before body parsers');
  });

  it.each([
    ['Transfer-Encoding beside Content-Length', 'Transfer-Encoding: chunked\r\nContent-Length: 3'],
    ['two lengths', 'Content-Length: 3\r\nContent-Length: 4'],
    ['a coding that is not the last', 'Transfer-Encoding: chunked, gzip'],
    ['a coding twice', 'Transfer-Encoding: chunked, chunked'],
  ])('makes of %s no second request and no body over the limit [F04]', async (_case, fields) => {
    const paths: string[] = [];
    const { port } = await serve(async (req, res) => {
      paths.push(req.path);
      res.json((await bodyOf(req)).length);
    });
    const answer = await raw(port, [
      `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n`,
    ]);
    expect(answer.status).toBe(400);
    expect(paths).not.toContain('/smuggled');
  });

  it('never reads the rest of a rejected body as a request [F12]', async () => {
    const { port, seen } = await serve(echo, { limit: 10 });
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
    const answers = [
      await raw(port, [
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      ]),
      await raw(port, [
        `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`,
      ]),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(413);
      expect(answer.wire.toString().match(/HTTP\/1\.1/g)).toHaveLength(1);
    }
    expect(seen.calls).toBe(1); // the chunked request itself
  });

  it('leaves nothing uncaught when no handler reads the body', async () => {
    const uncaught: unknown[] = [];
    const record = (error: unknown) => uncaught.push(error);
    process.on('uncaughtException', record);
    process.on('unhandledRejection', record);
    let request: Request | undefined;
    const { port } = await serve((req) => {
      request = req;
      req.resume();
    });
    expect((await raw(port, chunked(LIMIT * 2))).status).toBe(413);
    await waitFor(() => request!.closed);
    process.off('uncaughtException', record);
    process.off('unhandledRejection', record);
    expect(uncaught).toEqual([]);
  });

  it('ends a client that leaves during its upload as without hotpath', async () => {
    const { port, seen } = await serve(echo);
    const socket = connect(port, '127.0.0.1');
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxxx`);
    await waitFor(() => seen.calls === 1);
    socket.destroy();
    await waitFor(() => seen.errors.length === 1);
    expect(seen.errors[0]).toMatchObject({ code: 'ECONNRESET' });
  });

  it('keeps the connection open after an accepted body', async () => {
    const { port } = await serve(echo);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (let i = 0; i < 3; i++) {
      const answer = await upload(port, { agent, headers: { 'content-length': 5 } }, (req) => {
        req.once('socket', (socket) => socket.once('connect', () => ports.add(socket.localPort)));
        req.end('12345');
      });
      expect(answer.status).toBe(200);
    }
    expect(ports.size).toBe(1);
    agent.destroy();
  });
});
