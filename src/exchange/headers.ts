import type { IncomingMessage, OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { responseInternals } from '../runtime/node-internals.js';
import type { ResponseHeaders } from './response-head.js';

/** All forms in which headers may be passed to `writeHead`. */
export type HeadersArgument =
  | OutgoingHttpHeaders
  | readonly OutgoingHttpHeader[]
  | readonly (readonly [string, OutgoingHttpHeader])[];

/** A header field of a response; several lines of one name are an array. */
export type HeaderField = [name: string, value: string | string[]];

/** The header fields set so far, with their names as written. */
export function readHeaders(res: ServerResponse): HeaderField[] {
  // The HTTP/2 compatibility response has only names in lower case.
  const { getRawHeaderNames } = res as { getRawHeaderNames?: () => string[] };
  const names = getRawHeaderNames ? getRawHeaderNames.call(res) : res.getHeaderNames();
  return names.map((name) => {
    const value = res.getHeader(name) ?? '';
    // An array with one element is one line, like a string.
    return [name, Array.isArray(value) && value.length !== 1 ? value.map(String) : String(value)];
  });
}

/**
 * Sets headers that were given to `writeHead` on the response, so that `getHeaders()` returns them.
 *
 * If no header was set before, Node sends them without setting them. The result on the wire is the same: the object
 * form replaces by name; the array forms replace earlier headers and keep their own duplicates.
 *
 * @throws the errors of `setHeader` for an invalid name or value, as `writeHead` itself does.
 */
export function applyHeaders(res: ServerResponse, headers: HeadersArgument): void {
  if (!Array.isArray(headers)) {
    const record = headers as OutgoingHttpHeaders;
    for (const name of Object.keys(record)) {
      if (name) res.setHeader(name, record[name] as OutgoingHttpHeader);
    }
    return;
  }
  const pairs = toPairs(headers);
  for (const [name] of pairs) res.removeHeader(name);
  for (const [name, value] of pairs) {
    if (name) append(res, name, value);
  }
}

function append(res: ServerResponse, name: string, value: OutgoingHttpHeader): void {
  const before = res.getHeader(name);
  if (before === undefined) {
    res.setHeader(name, value);
    return;
  }
  // The HTTP/2 compatibility response has no `appendHeader`.
  const list = (Array.isArray(before) ? before : [String(before)]).concat(
    Array.isArray(value) ? value : String(value),
  );
  res.setHeader(name, list);
}

function toPairs(headers: readonly unknown[]): [string, OutgoingHttpHeader][] {
  if (Array.isArray(headers[0])) return headers as [string, OutgoingHttpHeader][];
  if (headers.length % 2 !== 0) {
    throw Object.assign(
      new TypeError("The argument 'headers' is invalid: a flat array needs a value for every name"),
      {
        code: 'ERR_INVALID_ARG_VALUE',
      },
    );
  }
  const pairs: [string, OutgoingHttpHeader][] = [];
  for (let i = 0; i < headers.length; i += 2) {
    pairs.push([headers[i] as string, headers[i + 1] as OutgoingHttpHeader]);
  }
  return pairs;
}

/**
 * A header's value as text; several lines are joined as one list. Some frameworks set each header as an array with one
 * element, so values are read with this function wherever their text matters.
 */
export function readHeaderText(res: Pick<ResponseHeaders, 'getHeader'>, name: string): string | undefined {
  const value = res.getHeader(name);
  if (value === undefined) return undefined;
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/**
 * Declares the length of a body in one chunk. Node does so only if the headers were not read before, which
 * `compression` does. So it is declared here, under Node's own conditions.
 *
 * @param length bytes; negative if it is not known.
 * @param isNative whether the next method below is Node's.
 */
export function declareLength(
  req: IncomingMessage,
  res: ServerResponse,
  length: number,
  isNative: boolean,
): void {
  if (length < 0 || req.method === 'HEAD' || req.httpVersion === '1.0') return;
  if (res.statusCode === 204 || res.statusCode === 304) return;
  if (res.hasHeader('content-length') || res.hasHeader('transfer-encoding') || res.hasHeader('trailer'))
    return;
  const internals = responseInternals(res);
  if (internals._removedContLen) return;
  // As Node's own `end` does. A header costs 0.5 µs more, and others that patch the response expect one.
  if (isNative && internals._contentLength === null) internals._contentLength = length;
  else res.setHeader('Content-Length', length);
}
