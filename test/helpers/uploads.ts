import {
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
  request,
  type Server,
} from 'node:http';
import type { ErrorRequestHandler, Express, Request, RequestHandler, Response } from 'express';
import { onTestFinished } from 'vitest';
import { type StandaloneSizeLimitOptions, sizeLimit } from '../../src/middleware/size-limit/index.js';
import { bodyOf, listen, type majors } from './http.js';

/** Default body limit of the tests. Bytes. */
export const LIMIT = 64 * 1024;

/** A chunked request of this size, in chunks of 16 KiB. */
export function chunked(bytes: number, path = '/'): Buffer[] {
  const parts = [Buffer.from(`POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`)];
  for (let left = bytes; left > 0; left -= 16384) {
    const size = Math.min(left, 16384);
    parts.push(Buffer.from(`${size.toString(16)}\r\n${'x'.repeat(size)}\r\n`));
  }
  parts.push(Buffer.from('0\r\n\r\n'));
  return parts;
}

export function declared(bytes: number, path = '/', method = 'POST'): Buffer[] {
  return [
    Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n`),
    Buffer.alloc(bytes, 'x'),
  ];
}

/** Uploads with `http.request`, and resolves with the response, even if the upload does not complete. */
export function upload(
  port: number,
  options: RequestOptions,
  send: (req: ClientRequest) => void,
): Promise<{ status: number; connection: string | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const req = request({ port, host: '127.0.0.1', method: 'POST', ...options });
    req.on('error', reject);
    req.on('response', (res: IncomingMessage) => {
      bodyOf(res).then(
        (body) =>
          resolve({ status: res.statusCode!, connection: res.headers.connection, body: body.toString() }),
        reject,
      );
    });
    send(req);
  });
}

/** How often a connection stayed open for the two seconds in which the rest of a body may arrive. */
export function lingers(timers: { mock: { calls: unknown[][] } }): number {
  return timers.mock.calls.filter(([, milliseconds]) => milliseconds === 2_000).length;
}

/** The requests and errors that a handler behind the limit has seen. */
export interface Seen {
  calls: number;
  errors: (Error & { code?: string; status?: number; statusCode?: number; type?: string })[];
  bytes: number;
}

interface Limited {
  readonly port: number;
  readonly url: string;
  readonly server: Server;
  readonly seen: Seen;
}

/** Starts size-limited apps of one Express major, and closes them after the test. */
export function limitedOn(express: (typeof majors)[number][1]) {
  return async (
    handler: (req: Request, res: Response, seen: Seen) => unknown,
    options: StandaloneSizeLimitOptions = { limit: LIMIT },
    prepare?: (app: Express) => void,
  ): Promise<Limited> => {
    const seen: Seen = { calls: 0, errors: [], bytes: 0 };
    const app = express();
    app.use(sizeLimit(options));
    prepare?.(app);
    const route: RequestHandler = async (req, res, next) => {
      seen.calls++;
      try {
        await handler(req, res, seen);
      } catch (error) {
        next(error);
      }
    };
    app.use(route);
    const onError: ErrorRequestHandler = (error, _req, _res, next) => {
      seen.errors.push(error);
      next(error);
    };
    app.use(onError);
    const listening = await listen(app);
    onTestFinished(() => listening.close());
    return { port: listening.port, url: listening.url, server: listening.server, seen };
  };
}

/** Responds with the number of received bytes. */
export const echo = async (req: Request, res: Response, seen: Seen) => {
  seen.bytes = (await bodyOf(req)).length;
  res.json({ bytes: seen.bytes });
};
