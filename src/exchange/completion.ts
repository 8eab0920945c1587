import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import type { Socket } from 'node:net';

/** The status recorded if the client disconnects before the response is complete. Never sent. */
export const CLIENT_CLOSED_REQUEST = 499;

/**
 * Whether the response was sent completely. To be called at `finish`, which Node also emits when the client
 * disconnects.
 *
 * @param socket the socket on which the request arrived.
 */
export function isComplete(req: IncomingMessage, res: ServerResponse, socket: Socket | undefined): boolean {
  if (req.httpVersionMajor < 2) return !(socket?.destroyed || socket?.errored);
  const { stream } = res as unknown as Http2ServerResponse;
  return stream.rstCode === 0 && !stream.aborted;
}
