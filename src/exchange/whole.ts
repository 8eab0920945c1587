import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

/** Recorded for a request whose client left before the answer was whole; it is never sent. */
export const CLIENT_CLOSED_REQUEST = 499;

/** Asked at `finish`, which comes for a client that left as well: whether the response went out whole. */
export function wentOutWhole(req: IncomingMessage, res: ServerResponse): boolean {
  if (req.httpVersionMajor < 2) return !(req.socket.destroyed || req.socket.errored);
  const { stream } = res as unknown as Http2ServerResponse;
  return stream.rstCode === 0 && !stream.aborted;
}
