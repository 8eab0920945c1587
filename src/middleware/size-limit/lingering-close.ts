import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { guarded } from '../../runtime/guard.js';

/** How long, and how much, a request is read on after its answer. */
export interface LingerBounds {
  /** Milliseconds. */
  readonly time: number;
  /** Bytes. */
  readonly bytes: number;
}

/**
 * Keeps the connection of a refused upload open until the client has had time to read the answer, and reads
 * and discards meanwhile; then closes it.
 *
 * To close a socket that has unread data is to reset it, and a reset can overtake the answer. Node closes at
 * once after `Connection: close`, and Express destroys the socket when a handler fails after the headers went
 * (which the handler of a request that was refused half-way will do), so both are put off here.
 *
 * @param socket of the request as it arrived.
 * @returns what to call with the length of each piece that arrives, and with `undefined` at the end.
 */
export function linger(
  req: IncomingMessage,
  socket: Socket | null | undefined,
  bounds: LingerBounds,
): (bytes: number | undefined) => void {
  if (!socket) return () => {};
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
    // Not answered yet: others' answers may stand before ours on a pipelined connection.
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
    // An error of the connection itself, or both its sides done: there is nobody to wait for.
    if (!error && !socket.readableEnded && !socket.writableFinished) return this;
    release();
    return destroy.call(this, error);
  };
  // Node stops handing on what arrives once the answer is out; then nobody would count it.
  (req as unknown as { _dump: () => void })._dump = () => {};
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
