import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import type { Socket } from 'node:net';

/** Recorded for a request whose client left before the answer was whole; it is never sent. */
export const CLIENT_CLOSED_REQUEST = 499;

/**
 * Asked at `finish`, which comes for a client that left as well: whether the response went out whole.
 *
 * @param socket of the request as it arrived.
 */
export function isComplete(req: IncomingMessage, res: ServerResponse, socket: Socket | undefined): boolean {
  if (req.httpVersionMajor < 2) return !(socket?.destroyed || socket?.errored);
  const { stream } = res as unknown as Http2ServerResponse;
  return stream.rstCode === 0 && !stream.aborted;
}
