import type { IncomingMessage } from 'node:http';

/** Whether hotpath made the request itself; no client waits for its response. */
export function isInternal(req: IncomingMessage): boolean {
  return (req as { hotpath?: { readonly internal?: boolean } }).hotpath?.internal === true;
}
