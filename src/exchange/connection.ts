import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { guarded } from '../runtime/guard.js';

/**
 * The socket of a request. To be read when the request arrives: undici sets `req.socket` to `null` when the request is
 * sent on as a body (`undici.request(upstream, { body: req })`).
 */
export function socketOf(req: IncomingMessage, res: ServerResponse): Socket | undefined {
  return (req.socket as Socket | null) ?? res.socket ?? undefined;
}

/** Whether a request uses HTTP/2. Test doubles of requests have no version. */
export function isHttp2(req: IncomingMessage): boolean {
  return req.httpVersionMajor > 1;
}

/** The request with its original socket, for Express's getters (`protocol`, `ip`), which read it. */
export function withSocket(req: IncomingMessage, socket: Socket | undefined): IncomingMessage {
  if ((req.socket as Socket | null) || !socket) return req;
  return Object.create(req, { socket: { value: socket }, connection: { value: socket } }) as IncomingMessage;
}

/** Callbacks of the queued responses of each socket. */
const waiting = new WeakMap<Socket, Set<() => void>>();

const onSocketClose = guarded('close', function (this: Socket) {
  const callbacks = waiting.get(this);
  waiting.delete(this);
  for (const callback of callbacks ?? []) callback();
});

/** Whether responses of pipelined requests wait for their turn on a connection, as far as hotpath follows them. */
export function hasQueuedResponses(socket: Socket): boolean {
  return waiting.has(socket);
}

/**
 * Calls back when the socket closes, for a response without a socket: a pipelined request whose predecessors are
 * pending, or an upgrade. Node emits no event on such a response. One listener serves all responses of a socket,
 * because Node warns about more than ten.
 *
 * @param callback must not throw.
 * @returns a function that removes the callback.
 */
export function onConnectionClose(socket: Socket, callback: () => void): () => void {
  if (typeof socket.once !== 'function') return () => {}; // an adapter's substitute for a socket
  let callbacks = waiting.get(socket);
  if (!callbacks) {
    waiting.set(socket, (callbacks = new Set()));
    socket.once('close', onSocketClose);
  }
  callbacks.add(callback);
  return () => {
    callbacks.delete(callback);
    if (callbacks.size > 0 || waiting.get(socket) !== callbacks) return;
    waiting.delete(socket);
    socket.removeListener('close', onSocketClose);
  };
}
