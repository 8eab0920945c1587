import type { IncomingMessage, ServerResponse } from 'node:http';
import { PROBLEM_TYPE, type ProblemDetails } from '../../http/problem-details.js';
import { HotpathError } from '../../options/errors.js';
import { INFLATABLE } from './decompressed-size.js';

/** What readers of the body receive when it grows too large: what Express and body parsers make a 413 of. */
export interface BodyTooLargeError extends HotpathError {
  readonly code: 'HOTPATH_BODY_TOO_LARGE';
  readonly status: 413;
  readonly statusCode: 413;
  readonly type: 'entity.too.large';
  /** Bytes that were accepted. */
  readonly limit: number;
}

/** What readers of the body receive when its coding is not accepted (415), or the body is not in it (400). */
export interface BodyCodingError extends HotpathError {
  readonly code: 'HOTPATH_BODY_CODING';
  readonly status: 400 | 415;
  readonly statusCode: 400 | 415;
  readonly type: 'encoding.invalid' | 'encoding.unsupported';
}

/** What readers of a compressed body receive when other bodies need the memory of its decoder. */
export interface BodyEvictedError extends HotpathError {
  readonly code: 'HOTPATH_BODY_TOO_SLOW' | 'HOTPATH_BODY_OVERLOAD';
  /** 408: the client sent too little for too long. 503: the body waited for memory, or for its reader. */
  readonly status: 408 | 503;
  readonly statusCode: 408 | 503;
  readonly type: 'request.timeout' | 'service.unavailable';
}

/** Why a body is refused: the answer to the client, and the error for whoever reads the body. */
export interface Rejection {
  readonly problem: ProblemDetails;
  readonly error: BodyTooLargeError | BodyCodingError | BodyEvictedError;
}

/** More arrives than is accepted. */
export function tooLarge(limit: number): Rejection {
  return refusal(
    413,
    'Content Too Large',
    `The request body is larger than the ${limit} bytes that are accepted here.`,
    { code: 'HOTPATH_BODY_TOO_LARGE', type: 'entity.too.large', limit },
  );
}

/** More comes out of the coding than is accepted. */
export function growsTooLarge(limit: number): Rejection {
  return refusal(
    413,
    'Content Too Large',
    `Without its Content-Encoding the request body is larger than the ${limit} bytes that are accepted here.`,
    { code: 'HOTPATH_BODY_TOO_LARGE', type: 'entity.too.large', limit },
  );
}

/** What comes is not in the coding that it names. */
export function notInItsCoding(): Rejection {
  return refusal(
    400,
    'Bad Request',
    'The request body is not in the coding that its Content-Encoding names.',
    {
      code: 'HOTPATH_BODY_CODING',
      type: 'encoding.invalid',
    },
  );
}

/** A coding that can't be taken off, or more than one. */
export function codingNotAccepted(): Rejection {
  return refusal(
    415,
    'Unsupported Media Type',
    `One content coding of these is accepted here: ${INFLATABLE}.`,
    { code: 'HOTPATH_BODY_CODING', type: 'encoding.unsupported' },
  );
}

/** The window of its coding takes more memory than is accepted. */
export function windowTooLarge(bits: number, most: number): Rejection {
  return refusal(
    415,
    'Unsupported Media Type',
    `The request body is compressed with a Brotli window of ${bits} bits; at most ${most} are accepted here.`,
    { code: 'HOTPATH_BODY_CODING', type: 'encoding.unsupported' },
  );
}

/** Others need the memory of its decoder, and its client sends too little. */
export function tooSlow(): Rejection {
  return refusal(
    408,
    'Request Timeout',
    'The compressed request body comes too slowly while the server is short of memory for such bodies.',
    { code: 'HOTPATH_BODY_TOO_SLOW', type: 'request.timeout' },
  );
}

/** Others need the memory of its decoder, and it has waited too long for more, or for its reader. */
export function overloaded(): Rejection {
  return refusal(
    503,
    'Service Unavailable',
    'The server is short of memory for compressed request bodies. Try again later.',
    { code: 'HOTPATH_BODY_OVERLOAD', type: 'service.unavailable' },
  );
}

function refusal(
  status: number,
  title: string,
  detail: string,
  { code, type, ...more }: Pick<Rejection['error'], 'code' | 'type'> & { limit?: number },
): Rejection {
  const error = new HotpathError(code, detail);
  return {
    problem: { type: 'about:blank', title, status, detail, ...more },
    error: Object.assign(error, { status, statusCode: status, type, ...more }) as Rejection['error'],
  };
}

/** Of what the handler had begun to describe, what does not belong to another answer. */
const OF_ANOTHER_ANSWER =
  /^(?:content-(?:type|length|encoding|range|disposition|language|location)|etag|expires|last-modified|retry-after|set-cookie|trailer|transfer-encoding)$/i;

/** Sends the problem as the answer, and announces that the connection ends with it. */
export function sendProblem(req: IncomingMessage, res: ServerResponse, problem: ProblemDetails): void {
  const body = JSON.stringify(problem);
  for (const name of res.getHeaderNames()) if (OF_ANOTHER_ANSWER.test(name)) res.removeHeader(name);
  res.statusCode = problem.status;
  res.statusMessage = problem.title;
  res.setHeader('Content-Type', PROBLEM_TYPE);
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.setHeader('Cache-Control', 'no-store');
  // RFC 9110 §15.5.16: what would have been accepted.
  if (problem.status === 415) res.setHeader('Accept-Encoding', INFLATABLE);
  if (problem.status === 503) res.setHeader('Retry-After', '5');
  // HTTP/2 has no such field; there only the stream ends.
  if (req.httpVersionMajor < 2) res.setHeader('Connection', 'close');
  res.end(body);
}
