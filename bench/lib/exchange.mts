// Sends one request over its own socket and returns the raw response, to inspect contenders.
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  /** As received, in its coding. */
  readonly body: Buffer;
}

export async function get(port: number, path: string, headers: Record<string, string>): Promise<Answer> {
  const sent = request({ host: '127.0.0.1', port, path, headers, agent: false, timeout: 20_000 });
  sent.on('timeout', () => sent.destroy(new Error(`no answer from ${path}`)));
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return {
    status: response.statusCode as number,
    headers: response.headers,
    rawHeaders: response.rawHeaders,
    body: Buffer.concat(chunks),
  };
}

/** The decoded body. */
export function decode({ headers, body }: Answer): Buffer {
  const coding = headers['content-encoding'] ?? 'identity';
  if (coding === 'gzip') return gunzipSync(body);
  if (coding === 'br') return brotliDecompressSync(body);
  return body;
}
