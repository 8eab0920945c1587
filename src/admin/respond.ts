import type { IncomingMessage, ServerResponse } from 'node:http';
import { isHttp2 } from '../exchange/connection.js';
import { PROBLEM_TYPE, type ProblemDetails } from '../http/problem-details.js';
import { linger } from '../middleware/size-limit/lingering-close.js';
import { guarded } from '../runtime/guard.js';

/** Bodies of requests up to this size are read to their end; for larger ones the connection closes. Bytes. */
export const MOST_BODY_BYTES = 64 * 1024;

/** How much more of a refused body is read, so that its client gets the response. Milliseconds, bytes. */
const AFTER_REFUSAL = { time: 1000, bytes: 1024 ** 2 };

/** Titles of problems by status: the reason phrases. */
const TITLES = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
} as const;

/** A status of a problem. */
export type ProblemStatus = keyof typeof TITLES;

/** Headers of earlier middlewares that would let pages of other origins read the response, or caches store it. */
const FOREIGN =
  /^(?:access-control-.*|cdn-cache-control|surrogate-control|content-(?:type|length|encoding)|etag|expires|last-modified|pragma)$/i;

/** Sets headers that every response of the room has: no cache stores it, no other origin reads, sniffs or frames it. */
export function protectResponse(res: ServerResponse): void {
  for (const name of res.getHeaderNames()) if (FOREIGN.test(name)) res.removeHeader(name);
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
  res.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  res.setHeader('Referrer-Policy', 'no-referrer');
  res.setHeader('X-Content-Type-Options', 'nosniff');
}

/** Sends a value as JSON; a HEAD request gets the headers alone. */
export function respondWithJson(req: IncomingMessage, res: ServerResponse, value: unknown): void {
  respondWith(req, res, 200, 'application/json; charset=utf-8', JSON.stringify(value));
}

/** Sends a problem (RFC 9457). @param detail that clients may read. */
export function respondWithProblem(
  req: IncomingMessage,
  res: ServerResponse,
  status: ProblemStatus,
  detail: string,
): void {
  const problem: ProblemDetails = { type: 'about:blank', title: TITLES[status], status, detail };
  respondWith(req, res, status, PROBLEM_TYPE, JSON.stringify(problem));
}

/** Sends a body; a HEAD request gets the headers alone. */
export function respondWith(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  type: string,
  content: string | Buffer,
): void {
  if (res.headersSent || res.destroyed) return;
  const body = Buffer.from(content);
  res.statusCode = status;
  if (!isHttp2(req)) res.statusMessage = '';
  closeAfterUnreadBody(req, res);
  res.setHeader('Content-Type', type);
  res.setHeader('Content-Length', body.length);
  if (req.method === 'HEAD') res.end();
  else res.end(body);
}

/** Node reads and drops the rest of a body after the response. A large one must not keep the server busy. */
function closeAfterUnreadBody(req: IncomingMessage, res: ServerResponse): void {
  if (isHttp2(req) || req.readableEnded) return;
  const { 'content-length': declared, 'transfer-encoding': coding } = req.headers;
  if (coding === undefined && Number(declared ?? 0) <= MOST_BODY_BYTES) return;
  res.setHeader('Connection', 'close');
  const discard = linger(req, req.socket, AFTER_REFUSAL);
  req.on(
    'data',
    guarded('performance API', (chunk: Buffer) => discard(chunk.length)),
  );
  req.once(
    'end',
    guarded('performance API', () => discard(undefined)),
  );
  req.resume();
}
