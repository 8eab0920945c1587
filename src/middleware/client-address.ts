import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { withSocket } from '../exchange/connection.js';
import { reportFault } from '../exchange/run-listeners.js';

/** According to Express's `trust proxy`; the peer's address without Express, or if the setting throws. */
export function addressOf(req: IncomingMessage, socket: Socket | undefined): string | undefined {
  try {
    const { ip } = withSocket(req, socket) as IncomingMessage & { ip?: string };
    if (ip) return ip;
  } catch (error) {
    reportFault('trust proxy', error);
  }
  return socket?.remoteAddress;
}
