import type { IncomingMessage, ServerResponse } from 'node:http';

const SWITCHING_PROTOCOLS = 101;

/**
 * Whether a response lasts as long as its client wants: an event stream, or a connection with another protocol. Its
 * duration is independent of the speed of the app.
 */
export function isLongLived(req: IncomingMessage, res: ServerResponse): boolean {
  if (res.statusCode === SWITCHING_PROTOCOLS || (req as { upgrade?: boolean | null }).upgrade === true)
    return true;
  const type = res.getHeader('content-type');
  return typeof type === 'string' && /^text\/event-stream\b/i.test(type);
}
