import type { IncomingMessage, ServerResponse } from 'node:http';
import { guarded } from '../../runtime/guard.js';
import { serverOf } from '../../runtime/server-connections.js';
import { shutdownStateOf } from './shutdown-state.js';

/**
 * Ends a long response, such as an event stream, when `shutdown` closes its server. Without it, the response keeps the
 * server open until the deadline. If the server is closing already, the response ends at once.
 *
 * @param end ends it. Default: `res.end()`.
 * @returns a function that cancels this; it is not needed when the response closes.
 */
export function endOnShutdown(
  req: IncomingMessage,
  res: ServerResponse,
  end: () => void = () => void res.end(),
): () => void {
  const server = serverOf(req);
  if (!server) return () => {}; // a stand-in for a request, whose server nobody shuts down
  const { endings, isEnding } = shutdownStateOf(server);
  const ending = guarded('endOnShutdown', end);
  if (isEnding) {
    setImmediate(ending);
    return () => {};
  }
  endings.add(ending);
  const cancel = () => void endings.delete(ending);
  res.once('close', guarded('endOnShutdown', cancel));
  return cancel;
}
