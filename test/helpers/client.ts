import { type Agent, type OutgoingHttpHeaders, request as send } from 'node:http';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';

/** A request of a test. */
export interface Ask {
  /** Default `/`. */
  path?: string;
  /** Default `GET`. */
  method?: string | undefined;
  headers?: OutgoingHttpHeaders | undefined;
  body?: string | Buffer | undefined;
  /** The user: sent as the cookie `user`. The response may hold the canary of this user. */
  user?: string;
  /** `false`: uses a separate connection. */
  agent?: Agent | false | undefined;
  /** A Unix socket instead of a port. */
  socketPath?: string;
  /** Closes the connection on abort. */
  signal?: AbortSignal;
}

/** A response with details of how it arrived. */
export interface Got {
  status: number;
  reason: string;
  /** Every header line in order, with the name as it was sent. */
  headers: [name: string, value: string][];
  /** The body without its `Content-Encoding`. */
  body: Buffer;
  /** The body on the wire, with chunks joined. */
  coded: Buffer;
  trailers: string[];
  /** Status codes of interim responses (1xx) before the final one. */
  interim: number[];
  /** False for a response that was cut off. */
  whole: boolean;
  /** The values of a header, by any case of its name; `undefined` when it is not there. */
  header(name: string): string | undefined;
}

/**
 * Sends a request through the client of Node and resolves with the response, complete or cut off. The status is 0 if
 * the connection was closed before a response.
 */
export function ask(port: number, wanted: Ask = {}): Promise<Got> {
  const { path = '/', method = 'GET', headers = {}, body, user, agent, socketPath, signal } = wanted;
  const cookie = user === undefined ? {} : { Cookie: `user=${user}` };
  return new Promise((resolve, reject) => {
    const interim: number[] = [];
    const where = socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath };
    const req = send({ ...where, path, method, headers: { ...cookie, ...headers }, agent, signal });
    req.on('information', ({ statusCode }) => interim.push(statusCode));
    let isAnswered = false;
    req.on('error', (error: NodeJS.ErrnoException) => {
      if (isAnswered) return; // counted as an incomplete response
      if (error.code === 'ECONNRESET') resolve(nothing(interim));
      else reject(error);
    });
    req.on('response', (res) => {
      isAnswered = true;
      const chunks: Buffer[] = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', () => {}); // cut off; `complete` is false
      res.on('close', () => {
        const coded = Buffer.concat(chunks);
        const lines: [string, string][] = [];
        for (let i = 0; i < res.rawHeaders.length; i += 2) {
          lines.push([res.rawHeaders[i]!, res.rawHeaders[i + 1]!]);
        }
        const header = (name: string) => {
          const values = lines.filter(([key]) => key.toLowerCase() === name.toLowerCase());
          return values.length === 0 ? undefined : values.map(([, value]) => value).join(', ');
        };
        const decoded = res.complete ? decode(coded, header('content-encoding')) : coded;
        resolve({
          status: res.statusCode!,
          reason: res.statusMessage!,
          headers: lines,
          body: decoded,
          coded,
          trailers: res.rawTrailers,
          interim,
          whole: res.complete,
          header,
        });
      });
    });
    req.end(body);
  });
}

function nothing(interim: number[]): Got {
  const none = Buffer.alloc(0);
  return {
    status: 0,
    reason: '',
    headers: [],
    body: none,
    coded: none,
    trailers: [],
    interim,
    whole: false,
    header: () => undefined,
  };
}

function decode(bytes: Buffer, coding: string | undefined): Buffer {
  if (bytes.length === 0) return bytes;
  if (coding === 'gzip') return gunzipSync(bytes);
  if (coding === 'br') return brotliDecompressSync(bytes);
  if (coding === 'deflate') return inflateSync(bytes);
  return bytes;
}
