import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { guarded } from '../../runtime/guard.js';
import { requestInternals } from '../../runtime/node-internals.js';
import { isNodeSocket } from '../../runtime/node-response.js';

/** How long, and how much, a request is read after its response. */
export interface LingerBounds {
  /** Milliseconds. */
  readonly time: number;
  /** Bytes. */
  readonly bytes: number;
}

/**
 * Keeps the connection of a refused upload open until the client has had time to read the response. Meanwhile
 * it reads and discards the body; then it closes the connection.
 *
 * Closing a socket with unread data resets it, and the reset can overtake the response. Node closes at once
 * after `Connection: close`. Express destroys the socket when a handler fails after the headers were sent, as
 * the handler of a refused upload will. Both are delayed here.
 *
 * @param socket the socket on which the request arrived.
 * @returns a function to call with the length of each piece, and with `undefined` at the end.
 */
export function linger(
  req: IncomingMessage,
  socket: Socket | null | undefined,
  bounds: LingerBounds,
): (bytes: number | undefined) => void {
  if (!isNodeSocket(socket)) return () => {}; // an adapter has no connection to keep open
  const { destroy, destroySoon } = socket;
  let left = bounds.bytes;
  let isRead = false;
  let isAnswered = false;
  let isClosing = false;
  let timer: NodeJS.Timeout | undefined;
  const release = guarded('lingering close', () => {
    clearTimeout(timer);
    socket.destroy = destroy;
    socket.destroySoon = destroySoon;
  });
  const close = guarded('lingering close', () => {
    // On a pipelined connection, earlier responses may still be waiting.
    if (!isAnswered || isClosing) return;
    isClosing = true;
    release();
    socket.destroySoon();
  });
  socket.once('close', release);
  socket.destroySoon = () => {
    isAnswered = true;
    if (isRead) close();
    else timer ??= setTimeout(close, bounds.time).unref();
  };
  socket.destroy = function (this: Socket, error?: Error): Socket {
    // The connection failed, or both sides have ended: no client is reading.
    if (!error && !socket.readableEnded && !socket.writableFinished) return this;
    release();
    return destroy.call(this, error);
  };
  // After the response, Node discards what arrives, and the bytes would not be counted.
  requestInternals(req)._dump = () => {};
  socket.resume();
  return (bytes) => {
    if (bytes === undefined) {
      isRead = true;
      close();
    } else if ((left -= bytes) < 0) {
      if (isAnswered) close();
      else socket.pause();
    }
  };
}

/**
 * The same for a stream of HTTP/2, which Node keeps open after the response for as long as the client sends. It is reset
 * without an error, which tells the client to stop (RFC 9113 §8.1).
 */
export function lingerStream(res: ServerResponse, bounds: LingerBounds): (bytes: number | undefined) => void {
  const { stream } = res as { stream?: ServerHttp2Stream };
  if (typeof stream?.close !== 'function') return () => {};
  let left = bounds.bytes;
  let timer: NodeJS.Timeout | undefined;
  const close = guarded('lingering close', () => stream.close(constants.NGHTTP2_NO_ERROR));
  const wait = guarded('lingering close', () => {
    if (left < 0) close();
    else timer ??= setTimeout(close, bounds.time).unref();
  });
  stream.once(
    'close',
    guarded('lingering close', () => clearTimeout(timer)),
  );
  if (stream.writableFinished) wait();
  else stream.once('finish', wait);
  return (bytes) => {
    if (bytes === undefined || (left -= bytes) >= 0) return;
    if (timer) close();
    else stream.pause();
  };
}

/**
 * Closes the connection once the response has been sent, for a response whose head promised to keep it.
 *
 * @param lingerMs until a connection closes that cannot linger.
 */
export function closeAfter(res: ServerResponse, socket: Socket | undefined, lingerMs: number): void {
  const destroy = guarded('lingering close', () => void socket?.destroy?.());
  const close = guarded('lingering close', () => {
    if (isNodeSocket(socket)) socket.destroySoon();
    else setTimeout(destroy, lingerMs).unref();
  });
  if (res.writableFinished) close();
  else res.once('finish', close);
}
