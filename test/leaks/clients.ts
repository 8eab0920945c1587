import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { KeyPair } from './certificates.js';

/** A request as sent over the wire: header values hold one byte per character. */
export interface WireRequest {
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body?: string | undefined;
}

/** A response; header names are in lower case, values of one name are joined by commas. */
export interface WireResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** The time limit for a response. */
const PATIENCE_MS = 30_000;

/** The connection of one client: the requests of one call are in flight together. */
export interface Connection {
  /** An error stands for a missing response. */
  send(requests: readonly WireRequest[]): Promise<(WireResponse | Error)[]>;
  close(): void;
}

export type Transport = 'http' | 'https' | 'http2';

export interface ConnectionOptions {
  readonly transport: Transport;
  readonly port: number;
  /** The authority of the server's certificate. */
  readonly ca: string | undefined;
  /** The client certificate. */
  readonly shown: KeyPair | undefined;
}

export function openConnection({ transport, port, ca, shown }: ConnectionOptions): Connection {
  if (transport === 'http2') return new Http2Connection(port);
  const host = '127.0.0.1';
  return new PipelinedConnection(() =>
    transport === 'http'
      ? connect(port, host)
      : connectTls({ port, host, ca, servername: 'localhost', ...shown }),
  );
}

interface Expected {
  readonly isHead: boolean;
  readonly settle: (response: WireResponse | Error) => void;
}

/** HTTP/1.1: all requests of a batch are written at once, and Node passes them to the app at once. */
class PipelinedConnection implements Connection {
  readonly #connect: () => Socket;
  readonly #expected: Expected[] = [];
  #socket: Socket | undefined;
  #received: Buffer = Buffer.alloc(0);

  constructor(connectSocket: () => Socket) {
    this.#connect = connectSocket;
  }

  async send(requests: readonly WireRequest[]): Promise<(WireResponse | Error)[]> {
    const socket = this.#open();
    const responses = requests.map(
      ({ method }) =>
        new Promise<WireResponse | Error>((settle) => {
          this.#expected.push({ isHead: method === 'HEAD', settle });
        }),
    );
    socket.write(requests.map(serialise).join(''), 'latin1');
    const timer = setTimeout(() => socket.destroy(), PATIENCE_MS);
    const all = await Promise.all(responses);
    clearTimeout(timer);
    return all;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #open(): Socket {
    if (this.#socket) return this.#socket;
    const socket = this.#connect();
    this.#socket = socket;
    this.#received = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
      this.#take();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
      const error = new Error(`the connection closed before ${this.#expected.length} responses`);
      for (const { settle } of this.#expected.splice(0)) settle(error);
    });
    return socket;
  }

  #take(): void {
    for (let first = this.#expected[0]; first; first = this.#expected[0]) {
      const taken = parseResponse(this.#received, first.isHead);
      if (!taken) return;
      this.#received = this.#received.subarray(taken.length);
      if (taken.response.status >= 200) {
        this.#expected.shift();
        first.settle(taken.response);
      }
    }
  }
}

function serialise({ method, target, headers, body }: WireRequest): string {
  let text = `${method} ${target} HTTP/1.1\r\n`;
  for (const [name, value] of headers) text += `${name}: ${value}\r\n`;
  if (body !== undefined) text += `Content-Length: ${body.length}\r\n`;
  return `${text}\r\n${body ?? ''}`;
}

/** The first response in the bytes; `undefined` while it is incomplete. */
function parseResponse(
  bytes: Buffer,
  isHead: boolean,
): { response: WireResponse; length: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = Number(statusLine.slice(9, 12));
  const headers = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf(':');
    const name = line.slice(0, at).toLowerCase();
    const value = line.slice(at + 1).trim();
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const start = end + 4;
  const whole = (body: Buffer, length: number) => ({ response: { status, headers, body }, length });
  if (isHead || status < 200 || status === 204 || status === 304) return whole(Buffer.alloc(0), start);
  if (headers.get('transfer-encoding') === 'chunked') {
    const chunks: Buffer[] = [];
    for (let at = start; ; ) {
      const lineEnd = bytes.indexOf('\r\n', at);
      if (lineEnd < 0) return undefined;
      const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
      const next = lineEnd + 2 + size + 2;
      if (next > bytes.length) return undefined;
      if (size === 0) return whole(Buffer.concat(chunks), next);
      chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
      at = next;
    }
  }
  const length = Number(headers.get('content-length') ?? 0);
  if (start + length > bytes.length) return undefined;
  return whole(bytes.subarray(start, start + length), start + length);
}

class Http2Connection implements Connection {
  readonly #port: number;
  #session: ClientHttp2Session | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  send(requests: readonly WireRequest[]): Promise<(WireResponse | Error)[]> {
    this.#session ??= connectHttp2(`http://127.0.0.1:${this.#port}`).on('error', () => {});
    const session = this.#session;
    return Promise.all(requests.map((request) => sendOnStream(session, request)));
  }

  close(): void {
    this.#session?.destroy();
  }
}

function sendOnStream(session: ClientHttp2Session, request: WireRequest): Promise<WireResponse | Error> {
  const fields: Record<string, string> = { ':method': request.method, ':path': request.target };
  for (const [name, value] of request.headers) {
    const key = name.toLowerCase();
    if (key === 'host') fields[':authority'] = value;
    else fields[key] = value;
  }
  // No `content-length`: HTTP/2 bodies do not need one.
  const stream = session.request(fields, { endStream: request.body === undefined });
  if (request.body !== undefined) stream.end(request.body, 'latin1');
  return new Promise((settle) => {
    const chunks: Buffer[] = [];
    let head: Record<string, unknown> | undefined;
    const timer = setTimeout(() => stream.close(), PATIENCE_MS);
    stream.on('response', (fields) => {
      head = fields;
    });
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('error', () => {});
    stream.on('close', () => {
      clearTimeout(timer);
      if (!head) return settle(new Error('the stream closed without a response'));
      const headers = new Map(Object.entries(head).map(([name, value]) => [name, String(value)] as const));
      settle({ status: Number(head[':status']), headers, body: Buffer.concat(chunks) });
    });
  });
}
