import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Declares the length of a body that comes in one piece. Node does that by itself, but only where nobody asked for
 * the headers before: `compression` does, so it is declared here under Node's own conditions.
 *
 * @param length bytes; negative where it is not known.
 */
export function declareLength(req: IncomingMessage, res: ServerResponse, length: number): void {
  if (length < 0 || req.method === 'HEAD' || req.httpVersion === '1.0') return;
  if (res.statusCode === 204 || res.statusCode === 304) return;
  if (res.hasHeader('content-length') || res.hasHeader('transfer-encoding') || res.hasHeader('trailer'))
    return;
  if ((res as unknown as { _removedContLen?: boolean })._removedContLen) return;
  res.setHeader('Content-Length', length);
}
