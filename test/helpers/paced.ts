import { connect, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import type { Request, Response } from 'express';
import type { StandaloneCacheOptions } from 'hotpath/cache';
import { type CacheApp, type CacheAppOptions, cacheApp } from './cache.js';
import { parse, waitFor } from './http.js';
import { times } from './times.js';

export const piece = (i: number) => `piece ${i} `.padEnd(1000, 'x');
export const PIECES = 5;
export const LENGTH = PIECES * 1000;
export const WHOLE = times(PIECES, piece).join('');

/** A client on a plain socket, which shows the bytes received so far. */
export class Client {
  readonly socket: Socket;
  closed = false;
  #wire = Buffer.alloc(0);

  constructor(port: number, headers: Record<string, string> = {}, version = '1.1', path = '/x') {
    const lines = Object.entries({ Host: `127.0.0.1:${port}`, ...headers }).map(([n, v]) => `${n}: ${v}\r\n`);
    this.socket = connect(port, '127.0.0.1', () =>
      this.socket.write(`GET ${path} HTTP/${version}\r\n${lines.join('')}\r\n`),
    );
    this.socket.on('data', (data: Buffer) => {
      this.#wire = Buffer.concat([this.#wire, data]);
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
    });
  }

  get answer() {
    return this.#wire.includes('\r\n\r\n') ? parse(this.#wire) : undefined;
  }
  get body(): string {
    return this.answer?.text ?? '';
  }
  get isWhole(): boolean {
    return this.body === WHOLE;
  }
  leave(): void {
    this.socket.destroy();
  }
}

/** A handler that writes pieces on demand of the test; later runs send the complete body at once. */
export async function paced(
  express: CacheAppOptions['express'],
  options: {
    cache?: StandaloneCacheOptions;
    before?: CacheAppOptions['before'];
    head?: (res: Response, req: Request) => void;
    declared?: number | false;
    /** Responds in later runs. Default: the complete body. */
    again?: (res: Response) => unknown;
    /** Writes the first response. Default: all pieces, without backpressure. */
    send?: (res: Response, pieces: PassThrough) => unknown;
  } = {},
) {
  let arrived = 0;
  const pieces = new PassThrough({ highWaterMark: 1 << 20 });
  const { declared = LENGTH } = options;
  const write = async (res: Response) => {
    for await (const data of pieces) res.write(data);
    res.end();
  };
  const made = await cacheApp({
    express,
    cache: { routes: { '/x': { ttl: 60 } }, ...options.cache },
    before: (app) => {
      app.use((_req, _res, next) => {
        arrived++;
        next();
      });
      options.before?.(app);
    },
    routes: (app, { count }) =>
      app.get('/x', (req, res) => {
        const run = count();
        options.head?.(res, req);
        if (run > 1) return void (options.again ?? ((again) => again.send(WHOLE)))(res);
        if (declared !== false) res.set('Content-Length', String(declared));
        res.flushHeaders();
        void (async () => (options.send ?? write)(res, pieces))();
      }),
  });
  let written = 0;
  return {
    ...made,
    request: (headers?: Record<string, string>, version?: string) => new Client(made.port, headers, version),
    arrived: (n: number) => waitFor(() => arrived >= n),
    write(n = 1) {
      for (let i = 0; i < n; i++) pieces.write(piece(written++));
    },
    end: () => void pieces.end(),
    pieces,
  };
}
export type Paced = Awaited<ReturnType<typeof paced>>;

/** A leader and its followers, after all have received the first piece. */
export async function following(made: Paced, count: number, headers: Record<string, string> = {}) {
  const leader = made.request(headers);
  await waitFor(() => made.runs() === 1);
  made.write();
  await waitFor(() => leader.body.length === 1000);
  const followers = times(count, () => made.request(headers));
  await waitFor(() => followers.every(({ body }) => body.length === 1000));
  return { leader, followers };
}

export async function settled({ cache }: CacheApp) {
  await waitFor(() => cache.stats().pending === 0);
}
