import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import type { Socket } from 'node:net';
import { isHttp2 } from './connection.js';

/** The status recorded if the client disconnects before the response is complete. Never sent. */
export const CLIENT_CLOSED_REQUEST = 499;

const SWITCHING_PROTOCOLS = 101;

/** The state of an exchange at its end. */
interface EndedExchange {
  readonly res: ServerResponse;
  readonly closed: boolean;
  readonly aborted: boolean;
  readonly isUpgrade: boolean;
}

/** The status of a response that has ended, as it is recorded. */
export function readFinalStatus(ended: EndedExchange): number {
  const { res, isUpgrade } = ended;
  if (isWhole(ended)) return res.statusCode;
  return isUpgrade && !res.headersSent && !res.destroyed ? SWITCHING_PROTOCOLS : CLIENT_CLOSED_REQUEST;
}

/** Whether the client left before the response was complete. The app may respond with a 499 of its own. */
export function wasAborted(ended: EndedExchange): boolean {
  return !isWhole(ended) && readFinalStatus(ended) === CLIENT_CLOSED_REQUEST;
}

function isWhole({ res, closed, aborted }: EndedExchange): boolean {
  return closed ? !aborted : res.writableFinished;
}

/**
 * Whether the response was sent completely. To be called at `finish`, which Node also emits when the client
 * disconnects.
 *
 * @param socket the socket on which the request arrived.
 */
export function isComplete(req: IncomingMessage, res: ServerResponse, socket: Socket | undefined): boolean {
  if (!isHttp2(req)) return !(socket?.destroyed || socket?.errored);
  const { stream } = res as unknown as Http2ServerResponse;
  return stream.rstCode === 0 && !stream.aborted;
}
