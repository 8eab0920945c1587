import { once } from 'node:events';
import { connect } from 'node:net';

/** Default number of requests per batch. */
const BATCH = 250;

/**
 * Requests many paths over one connection, in batches, as fast as the server accepts them.
 *
 * @param between runs after each batch.
 * @param atOnce requests per batch.
 * @returns the bodies, in order. Responses must have a `Content-Length`.
 */
export async function askMany(
  port: number,
  paths: readonly string[],
  between?: () => unknown,
  atOnce = BATCH,
): Promise<string[]> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const bodies: string[] = [];
  let rest = '';
  let wake = () => {};
  socket.setEncoding('latin1').on('data', (text) => {
    rest += text;
    for (let length: number | undefined; (length = lengthOfAnswer(rest)) !== undefined; ) {
      bodies.push(rest.slice(rest.indexOf('\r\n\r\n') + 4, length));
      rest = rest.slice(length);
    }
    wake();
  });
  for (let from = 0; from < paths.length; from += atOnce) {
    const batch = paths.slice(from, from + atOnce);
    socket.write(batch.map((path) => `GET ${path} HTTP/1.1\r\nHost: shop.example\r\n\r\n`).join(''));
    while (bodies.length < from + batch.length) {
      if (socket.destroyed) throw new Error('the connection was closed');
      await new Promise<void>((resolve) => {
        wake = resolve;
        socket.once('close', resolve);
      });
      socket.removeAllListeners('close');
    }
    await between?.();
  }
  socket.destroy();
  return bodies;
}

/** The head and body of the first response in the text; `undefined` while it is incomplete. */
function lengthOfAnswer(text: string): number | undefined {
  const head = text.indexOf('\r\n\r\n');
  if (head < 0) return undefined;
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, head + 2))?.[1];
  if (length === undefined) throw new Error(`an answer without a length: ${text.slice(0, head)}`);
  const end = head + 4 + Number(length);
  return text.length >= end ? end : undefined;
}
