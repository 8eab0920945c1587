import type { IncomingMessage, ServerResponse } from 'node:http';
import { isHttp2 } from '../../exchange/connection.js';
import { PROBLEM_TYPE, type ProblemDetails } from '../../http/problem-details.js';
import { HotpathError } from '../../options/errors.js';
import { INFLATABLE } from './decompressed-size.js';

/** The error for readers of a body that is too large. Express and body parsers turn it into a 413. */
export interface BodyTooLargeError extends HotpathError {
  readonly code: 'HOTPATH_BODY_TOO_LARGE';
  readonly status: 413;
  readonly statusCode: 413;
  readonly type: 'entity.too.large';
  readonly expose: true;
  /** Bytes that were accepted. */
  readonly limit: number;
}

/** The error for readers of a body whose coding is not accepted (415), or that is not in its coding (400). */
export interface BodyCodingError extends HotpathError {
  readonly code: 'HOTPATH_BODY_CODING';
  readonly status: 400 | 415;
  readonly statusCode: 400 | 415;
  readonly type: 'encoding.invalid' | 'encoding.unsupported';
  readonly expose: true;
}

/** The error for readers of a compressed body when other bodies need the memory of its decoder. */
export interface BodyEvictedError extends HotpathError {
  readonly code: 'HOTPATH_BODY_TOO_SLOW' | 'HOTPATH_BODY_OVERLOAD';
  /** 408: the client sent too little for too long. 503: the body waited for memory, or for its reader. */
  readonly status: 408 | 503;
  readonly statusCode: 408 | 503;
  readonly type: 'request.timeout' | 'service.unavailable';
  /** Whether the message is meant for clients: for a 408, not for a 503. */
  readonly expose: boolean;
}

/** A refused body: the response for the client, and the error for the reader. */
export interface Rejection {
  readonly problem: ProblemDetails;
  readonly error: BodyTooLargeError | BodyCodingError | BodyEvictedError;
}

/** The body is larger than the limit. */
export function tooLarge(limit: number): Rejection {
  return refusal(413, 'Content Too Large', `The request body is larger than the limit of ${limit} bytes.`, {
    code: 'HOTPATH_BODY_TOO_LARGE',
    type: 'entity.too.large',
    limit,
  });
}

/** The decoded body is larger than the limit. */
export function growsTooLarge(limit: number): Rejection {
  return refusal(
    413,
    'Content Too Large',
    `The decompressed request body is larger than the limit of ${limit} bytes.`,
    { code: 'HOTPATH_BODY_TOO_LARGE', type: 'entity.too.large', limit },
  );
}

/** The body is not in the coding that it declares. */
export function notInItsCoding(): Rejection {
  return refusal(400, 'Bad Request', 'The request body does not match its Content-Encoding.', {
    code: 'HOTPATH_BODY_CODING',
    type: 'encoding.invalid',
  });
}

/** The coding is unsupported, or there is more than one. */
export function codingNotAccepted(): Rejection {
  return refusal(
    415,
    'Unsupported Media Type',
    `One content coding of these is accepted here: ${INFLATABLE}. ` +
      'An app that decodes others itself sets the option sizeLimit: { inflated: false }.',
    { code: 'HOTPATH_BODY_CODING', type: 'encoding.unsupported' },
  );
}

/** The window of its coding takes more memory than is accepted. */
export function windowTooLarge(coding: string, bits: number, most: number): Rejection {
  const name = coding === 'br' ? 'a Brotli' : 'a zstd';
  const asked = Number.isFinite(bits) ? `of ${bits} bits` : 'that grows';
  return refusal(
    415,
    'Unsupported Media Type',
    `The request body is compressed with ${name} window ${asked}; the limit is ${most} bits.`,
    { code: 'HOTPATH_BODY_CODING', type: 'encoding.unsupported' },
  );
}

/** Other bodies need the memory of the decoder, and the client sends too little. */
export function tooSlow(): Rejection {
  return refusal(
    408,
    'Request Timeout',
    'The compressed request body arrived too slowly while the server was short of memory for decompression.',
    { code: 'HOTPATH_BODY_TOO_SLOW', type: 'request.timeout' },
  );
}

/** Other bodies need the memory of the decoder, and the body waited too long for more, or for its reader. */
export function overloaded(): Rejection {
  return refusal(
    503,
    'Service Unavailable',
    'The server is short of memory for decompression. Try again later.',
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
    error: Object.assign(error, {
      status,
      statusCode: status,
      type,
      expose: status < 500,
      ...more,
    }) as Rejection['error'],
  };
}

/** Headers that the handler may have set and that do not belong to an error response. */
const OF_ANOTHER_ANSWER =
  /^(?:content-(?:type|length|encoding|range|disposition|language|location)|etag|expires|last-modified|location|retry-after|set-cookie|trailer|transfer-encoding)$/i;

/** Sends the problem as the response, with `Connection: close`. */
export function sendProblem(req: IncomingMessage, res: ServerResponse, problem: ProblemDetails): void {
  res.end(setProblemHead(req, res, problem));
}

/** Sets the status and headers of the problem. @returns its body. */
export function setProblemHead(req: IncomingMessage, res: ServerResponse, problem: ProblemDetails): string {
  const body = JSON.stringify(problem);
  for (const name of res.getHeaderNames()) if (OF_ANOTHER_ANSWER.test(name)) res.removeHeader(name);
  res.statusCode = problem.status;
  // HTTP/2 has neither a reason phrase, of which Node warns, nor this field; there only the stream ends.
  if (!isHttp2(req)) {
    res.statusMessage = problem.title;
    res.setHeader('Connection', 'close');
  }
  res.setHeader('Content-Type', PROBLEM_TYPE);
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.setHeader('Cache-Control', 'no-store');
  // The codings that would be accepted (RFC 9110 §15.5.16).
  if (problem.status === 415) res.setHeader('Accept-Encoding', INFLATABLE);
  if (problem.status === 503) res.setHeader('Retry-After', '5');
  return body;
}
