import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Express } from 'express';
import express5 from 'express';
// @ts-expect-error: an alias of express 4, which has no types under this name
import express4Untyped from 'express4';

/** Express 4, with the types of Express 5 (the tests use only what both have). */
export const express4 = express4Untyped as typeof express5;
export { express5 };

const both: [name: string, express: typeof express5][] = [
  ['Express 5', express5],
  ['Express 4', express4],
];

/** Both majors, for `describe.each(majors)('%s', (_name, express) => …)`, or the one of `useMajor`. */
export const majors = [...both];

/** Leaves one major in `majors`, for a file of tests. */
export function useMajor(major: '4' | '5'): void {
  majors.splice(0, majors.length, ...both.filter(([name]) => name.endsWith(major)));
}

/** Repetitive tests run in full on Express 5, and in part on Express 4, where hotpath runs the same code. */
export function partOn4<T>(major: string, all: T, part: T): T {
  return major === 'Express 5' ? all : part;
}

/** Number of simultaneous requests in tests of many requests. */
export function crowdOf(major: string): number {
  return partOn4(major, 1000, 250);
}

/** A server that listens on a free port. */
export interface Listening {
  url: string;
  port: number;
  server: Server;
  /** Ends the server and every connection of it. */
  close(): Promise<void>;
}

/** Serves an app, a listener or a given server on a free port of the loopback interface. */
export async function listen(app: Express | RequestListener | Server): Promise<Listening> {
  const server =
    'listen' in app && !('handle' in app) ? (app as Server) : createServer(app as RequestListener);
  // Tests open a thousand connections before the first is accepted. With the default backlog of 511 the system
  // refuses some.
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    server,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A response as received from the wire. */
export interface RawAnswer {
  /** The status line and the header lines, as text. */
  head: string;
  status: number;
  /** Every header line in order, with the name as it was sent. */
  headers: [name: string, value: string][];
  /** The body without chunked coding. */
  body: Buffer;
  /** The body as UTF-8. */
  text: string;
  /** All bytes that were received, heads included. */
  wire: Buffer;
  /** The first value of a header, by any case of its name. */
  header(name: string): string | undefined;
}

/** Options of `raw`. */
export interface RawOptions {
  /** The request has method HEAD: the response has no body, with any Content-Length. */
  head?: boolean;
  /** Waits for one response and then closes, for kept-alive connections. Default: reads to the end. */
  first?: boolean;
  /** Time limit in milliseconds. Default 30,000. */
  timeout?: number;
}

/**
 * Sends bytes over a plain socket and returns the response. Line ends of a text become CRLF unless it has CRLF
 * already; end the head with an empty line. Resolves when the response is complete or the server closes.
 */
export async function raw(
  port: number,
  request: string | readonly (string | Buffer)[],
  options: RawOptions = {},
): Promise<RawAnswer> {
  const text = typeof request === 'string' && !request.includes('\r\n') ? crlf(request) : request;
  const isHead = options.head ?? (typeof text === 'string' && text.startsWith('HEAD '));
  const socket = connect(port, '127.0.0.1');
  try {
    const wire = await receive(socket, options.timeout ?? 30_000, isHead, () => {
      for (const part of typeof text === 'string' ? [text] : text) socket.write(part);
    });
    return parse(wire, isHead);
  } finally {
    socket.destroy();
  }
}

/** Parses bytes into a response. @throws when they contain no complete head. */
export function parse(wire: Buffer, isHead = false): RawAnswer {
  const at = wire.indexOf('\r\n\r\n');
  if (at < 0) throw new Error(`no whole answer came: ${JSON.stringify(wire.toString('latin1'))}`);
  const head = wire.subarray(0, at).toString('latin1');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const header = (name: string) => headers.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
  const rest = wire.subarray(at + 4);
  let body = rest;
  if (isHead) body = Buffer.alloc(0);
  else if (header('transfer-encoding') === 'chunked') body = unchunk(rest);
  else if (header('content-length') !== undefined) body = rest.subarray(0, Number(header('content-length')));
  const status = Number(statusLine.split(' ')[1]);
  return { head, status, headers, body, text: body.toString(), wire, header };
}

/**
 * Resolves when `condition` holds.
 * @param timeout milliseconds until failure; long enough for a busy machine.
 * @throws after `timeout` milliseconds.
 */
export async function waitFor(condition: () => unknown, timeout = 30_000): Promise<void> {
  const begun = Date.now();
  // Most conditions hold at once or after a turn or two of the event loop, so the first checks use no timer. Later ones
  // are rarer: many ask a server, and what they wait for needs the processor too.
  for (let attempt = 0; !(await condition()); attempt++) {
    const waited = Date.now() - begun;
    if (waited > timeout) throw new Error(`waited ${timeout} ms in vain for ${condition}`);
    await new Promise<void>((resolve) => {
      if (attempt < 4) setImmediate(resolve);
      else setTimeout(resolve, Math.min(1 + waited / 20, 50));
    });
  }
}

/** The whole body of a request. */
export async function bodyOf(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function crlf(text: string): string {
  return text.replace(/\n/g, '\r\n');
}

function receive(socket: Socket, timeout: number, isHead: boolean, send: () => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => {
      const got = Buffer.concat(chunks).toString('latin1').slice(0, 2000);
      reject(new Error(`no whole answer within ${timeout} ms; got ${JSON.stringify(got)}`));
    }, timeout);
    const settle = () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks));
    };
    socket.on('connect', send);
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (isWhole(Buffer.concat(chunks), isHead)) settle();
    });
    socket.on('close', settle);
    // A reset after the response does not affect it: the received bytes are returned.
    socket.on('error', () => settle());
    socket.on('timeout', reject);
  });
}

/** Whether the bytes are a complete response. */
export function isWhole(wire: Buffer, isHead: boolean): boolean {
  const at = wire.indexOf('\r\n\r\n');
  if (at < 0) return false;
  const head = wire.subarray(0, at).toString('latin1').toLowerCase();
  // With `close` in the head, read until the server closes.
  if (/\r\nconnection: *close/.test(head)) return false;
  const status = Number(head.split(' ')[1]);
  if (status < 200) return false;
  if (isHead || status === 204 || status === 304) return true;
  const rest = wire.subarray(at + 4);
  const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1];
  if (length !== undefined) return rest.length >= Number(length);
  if (/\r\ntransfer-encoding: *chunked/.test(head))
    return rest.subarray(-5).toString('latin1') === '0\r\n\r\n';
  return false;
}

function unchunk(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0) break;
    const size = Number.parseInt(bytes.subarray(at, end).toString('latin1'), 16);
    if (!size) break;
    parts.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return Buffer.concat(parts);
}
