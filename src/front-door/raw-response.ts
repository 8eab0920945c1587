import type { IncomingMessage, ServerResponse } from 'node:http';
import { responseInternals } from '../runtime/node-internals.js';

/** Whether someone other than Node listens for the end of a response, and may look at its headers then. */
export function hasEndListeners(res: ServerResponse): boolean {
  // One listener of `finish` is Node's own.
  return res.listenerCount('finish') > 1 || res.listenerCount('close') > 0;
}

/**
 * Shorter bodies are sent as one string with the head, which is faster (measured). Node writes the string from its
 * stack. A string followed by a buffer needs an allocation and a vectored write.
 */
const MOST_AS_TEXT = 4 * 1024;

/**
 * Limit up to which Node writes a string from its stack. Bodies from Redis are sent as strings up to this limit. V8
 * counts their buffers as external memory until the next minor collection. With buffers of 10 kB there are few other
 * young objects, so it started a full collection about as often as a minor one. That took a fifth of the CPU time of such hits.
 */
const STACK = 16 * 1024;

/** The buffer in which head and body are joined. */
const joinBuffer = Buffer.allocUnsafeSlow(STACK);

/** A response to send. */
export interface RawResponse {
  readonly status: number;
  /** Status line and validated fields with line ends, including `Date`. */
  readonly text: string;
  /** `undefined` for a status without a body. */
  readonly body: Buffer | undefined;
  /** The body was read from Redis for this response, and is usually garbage afterwards. */
  readonly isFromRedis: boolean;
}

/**
 * Sends a response whose header lines are prepared text, on a response of Node that is not patched.
 *
 * `writeHead` would validate and join all fields again, which is most of the cost of a response. The text goes directly
 * to the method that `writeHead` calls; the bytes sent are the same.
 */
export function sendRaw(
  req: IncomingMessage,
  res: ServerResponse,
  { status, text, body, isFromRedis }: RawResponse,
): void {
  const inside = responseInternals(res);
  const length = body && String(body.length);
  res.statusCode = status;
  res.sendDate = false; // it is in the text
  if (length === undefined) inside._hasBody = false; // as `writeHead` does
  inside._storeHeader!(text, length === undefined ? NONE : ['Content-Length', length]);
  if (!body || req.method === 'HEAD') res.end();
  // With `strictContentLength`, Node must see the body itself.
  else if (res.strictContentLength || !(sendAsText(res, body, isFromRedis) || sendAsBytes(res, body)))
    res.end(body);
}

/** Sends the same with Node's documented methods, so that listeners can read the header fields. */
export function sendPlain(
  req: IncomingMessage,
  res: ServerResponse,
  { status, text, body }: RawResponse,
): void {
  for (const [name, values] of fieldsOf(text)) res.setHeader(name, values.length === 1 ? values[0]! : values);
  if (body) res.setHeader('Content-Length', body.length);
  res.writeHead(status);
  if (!body || req.method === 'HEAD') res.end();
  else res.end(body);
}

const NONE: readonly string[] = Object.freeze([]);

/**
 * Sends a short body as one string with the pending head. Node writes heads as Latin-1, so each character is one byte.
 *
 * @returns whether it was sent.
 */
function sendAsText(res: ServerResponse, body: Buffer, isFromRedis: boolean): boolean {
  const inside = responseInternals(res);
  const { _header: head } = inside;
  if (typeof head !== 'string') return false;
  if (body.length > (isFromRedis ? STACK - head.length : MOST_AS_TEXT)) return false;
  inside._header = isFromRedis ? joinFlat(head, body) : head + body.toString('latin1');
  res.end();
  inside._header = head;
  return true;
}

/**
 * `head + body` in Latin-1. V8 would build a rope and flatten it at the write, into a second string of that length: half
 * of what such a response allocates.
 */
function joinFlat(head: string, body: Buffer): string {
  const at = joinBuffer.write(head, 'latin1');
  joinBuffer.set(body, at);
  return joinBuffer.toString('latin1', 0, at + body.length);
}

/**
 * Sends head and body in one write, as `end` does, but without the empty chunk that `end` adds to learn when they were
 * written.
 *
 * @returns whether they were sent.
 */
function sendAsBytes(res: ServerResponse, body: Buffer): boolean {
  const inside = responseInternals(res);
  const { _header: head } = inside;
  const { socket } = res;
  if (!socket?.writable) return false; // absent while earlier pipelined responses are being sent
  if (typeof head !== 'string' || inside._headerSent !== false) return false;
  socket.cork();
  socket.write(head, 'latin1');
  socket.write(body);
  socket.uncork();
  inside._headerSent = true;
  res.end(); // waits for what the kernel has not taken
  return true;
}

/** Values by name; a name may have several lines. */
function fieldsOf(text: string): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  const [, ...lines] = text.split('\r\n');
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon);
    const values = fields.get(name);
    if (values) values.push(line.slice(colon + 2));
    else fields.set(name, [line.slice(colon + 2)]);
  }
  return fields;
}
