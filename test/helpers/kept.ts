import { connect, type Socket } from 'node:net';
import { isWhole, parse, type RawAnswer } from './http.js';

/** One connection for many requests in turn, opened again when the server has closed it. */
export interface Kept {
  /** Sends a head, which must end with an empty line, and resolves with the response. */
  ask(head: string): Promise<RawAnswer>;
  close(): void;
}

/** Costs a third of a connection for each request. */
export function keepConnection(port: number): Kept {
  let socket: Socket | undefined;
  let wire: Buffer = Buffer.alloc(0);
  let check = () => {};

  const open = () => {
    const opened = connect(port, '127.0.0.1');
    opened.on('data', (chunk) => {
      wire = wire.length === 0 ? chunk : Buffer.concat([wire, chunk]);
      check();
    });
    opened.on('error', () => {}); // `close` follows
    opened.on('close', () => {
      if (socket === opened) socket = undefined;
      check();
    });
    return opened;
  };

  const ask = async (head: string): Promise<RawAnswer> => {
    const isHead = head.startsWith('HEAD ');
    const isNew = socket === undefined;
    socket ??= open();
    wire = Buffer.alloc(0);
    socket.write(head);
    await new Promise<void>((resolve) => {
      check = () => {
        if (socket === undefined || isWhole(wire, isHead)) resolve();
      };
    });
    // The server may close an idle connection while a request is sent to it.
    if (wire.length === 0 && !isNew) return ask(head);
    return parse(wire, isHead);
  };
  return { ask, close: () => socket?.destroy() };
}
