import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readHeaderText } from '../../exchange/headers.js';
import { contentRange, ifRangeHolds, multipartBody, selectRanges } from '../../http/range.js';
import type { StoredResponse } from '../../store/stored-response.js';

/**
 * Applies the `Range` of a request to a complete response (RFC 9110 §14.2). Sets status and headers on `res`.
 *
 * @returns the body to send; `undefined` for the complete response.
 */
export function selectByteRanges(
  req: IncomingMessage,
  res: ServerResponse,
  entry: StoredResponse,
): readonly Uint8Array[] | undefined {
  const { range, 'if-range': ifRange } = req.headers;
  if (range === undefined || req.method !== 'GET' || entry.status !== 200) return undefined;
  if (ifRange !== undefined && !ifRangeHolds(String(ifRange), entry)) return undefined;
  const { body } = entry;
  const selection = selectRanges(range, body.length);
  if (selection.kind === 'whole') return undefined;
  if (selection.kind === 'unsatisfiable') {
    res.statusCode = 416;
    res.setHeader('Content-Range', contentRange(undefined, body.length));
    res.removeHeader('Content-Type');
    res.setHeader('Content-Length', 0);
    return [];
  }
  res.statusCode = 206;
  const [first, ...others] = selection.parts;
  if (first && others.length === 0) {
    res.setHeader('Content-Range', contentRange(first, body.length));
    res.setHeader('Content-Length', first.end - first.start + 1);
    return [body.subarray(first.start, first.end + 1)];
  }
  const boundary = randomBytes(16).toString('hex');
  const multipart = multipartBody(selection.parts, body, readHeaderText(res, 'content-type'), boundary);
  res.setHeader('Content-Type', multipart.contentType);
  res.setHeader('Content-Length', multipart.length);
  return multipart.pieces;
}
