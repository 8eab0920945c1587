import type { IncomingMessage } from 'node:http';
import { guarded } from '../runtime/guard.js';
import { MOST_BODY_BYTES, type ProblemStatus } from './respond.js';

/** A body, or why it is refused. */
export type ReadBody =
  | { readonly value: unknown }
  | { readonly value?: undefined; readonly status: ProblemStatus; readonly detail: string };

const TOO_LARGE = { status: 413, detail: `The body is larger than ${MOST_BODY_BYTES} bytes.` } as const;
const NOT_JSON = { status: 400, detail: 'The body is not valid JSON.' } as const;

/**
 * Reads the JSON body of a request, or takes it from a parser of the app that has read it before. Forms and plain text,
 * which other sites can send without the browser's check, are refused. Never rejects.
 */
export async function readJsonBody(req: IncomingMessage): Promise<ReadBody> {
  const { headers } = req;
  if (!/^application\/json *(?:; *charset="?utf-8"? *)?$/i.test(headers['content-type'] ?? ''))
    return { status: 415, detail: 'The body must be JSON: `Content-Type: application/json`.' };
  if (req.readableDidRead) return takeParsed(req);
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    return { status: 415, detail: 'The body must not be compressed.' };
  if (Number(headers['content-length'] ?? 0) > MOST_BODY_BYTES) return TOO_LARGE;
  const bytes = await collect(req);
  if (bytes === 'aborted') return { status: 400, detail: 'The body is incomplete.' };
  return bytes === 'too-large' ? TOO_LARGE : parse(bytes);
}

function takeParsed(req: IncomingMessage): ReadBody {
  const { body } = req as { body?: unknown };
  if (typeof body === 'string' || Buffer.isBuffer(body)) return parse(Buffer.from(body));
  if (typeof body === 'object' && body !== null) return { value: body };
  return { status: 400, detail: 'A middleware has read the body and left none in `req.body`.' };
}

/** Bytes that are no UTF-8 are an error: replaced, they would name another URL or tag. */
const utf8 = new TextDecoder('utf-8', { fatal: true });

function parse(bytes: Uint8Array): ReadBody {
  try {
    return { value: JSON.parse(utf8.decode(bytes)) };
  } catch {
    return NOT_JSON;
  }
}

function collect(req: IncomingMessage): Promise<Buffer | 'too-large' | 'aborted'> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    req.on(
      'data',
      guarded('performance API', (chunk: Buffer) => {
        length += chunk.length;
        if (length <= MOST_BODY_BYTES) return void chunks.push(chunk);
        req.pause();
        resolve('too-large');
      }),
    );
    req.once(
      'end',
      guarded('performance API', () => resolve(Buffer.concat(chunks))),
    );
    req.once(
      'error',
      guarded('performance API', () => resolve('aborted')),
    );
    req.once(
      'close',
      guarded('performance API', () => resolve('aborted')),
    );
  });
}
