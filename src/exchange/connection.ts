import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { guarded } from '../runtime/guard.js';

/**
 * The socket of a request, to be taken when the request arrives. Later `req.socket` may be `null`: undici sets that
 * on a request which it was given as a body (`undici.request(upstream, { body: req })`).
 */
export function socketOf(req: IncomingMessage, res: ServerResponse): Socket | undefined {
  return (req.socket as Socket | null) ?? res.socket ?? undefined;
}

/** The request with the socket that it arrived on, for Express's getters (`protocol`, `ip`), which read it. */
export function withSocket(req: IncomingMessage, socket: Socket | undefined): IncomingMessage {
  if ((req.socket as Socket | null) || !socket) return req;
  return Object.create(req, { socket: { value: socket }, connection: { value: socket } }) as IncomingMessage;
}

/** Of each socket, callbacks of the responses that wait behind others on it. */
const waiting = new WeakMap<Socket, Set<() => void>>();

const onSocketClose = guarded('close', function (this: Socket) {
  const callbacks = waiting.get(this);
  waiting.delete(this);
  for (const callback of callbacks ?? []) callback();
});

/**
 * Calls back when the socket closes, for a response that has no socket yet: a pipelined request whose predecessors are
 * not answered, or an upgrade. Node tells such a response nothing. One listener serves all responses of a socket, as
 * Node warns of more than ten.
 *
 * @param callback must not throw.
 * @returns a function that removes the callback.
 */
export function onConnectionClose(socket: Socket, callback: () => void): () => void {
  if (typeof socket.once !== 'function') return () => {}; // an adapter's stand-in for a socket
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
