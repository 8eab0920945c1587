import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';

/** Members of `ServerResponse` that Node does not document. Each may be missing in a later version. */
export interface ResponseInternals {
  /** `writeHead` hands the status line and the fields to it. */
  _storeHeader?: (firstLine: string, fields: readonly string[]) => void;
  /** Whether the status and the method allow a body. */
  _hasBody?: boolean;
  /** The status line and the fields, once they are known; they are sent with the first bytes of the body. */
  _header?: string | null;
  _headerSent?: boolean;
  /** Whether `100 Continue` was sent. */
  _sent100?: boolean;
  /** The length that `writeHead` declares, if the app has set none; `null` while it is not known. Bytes. */
  _contentLength?: number | null;
  /** Whether the app has removed `Content-Length`. */
  _removedContLen?: boolean;
}

/** Members of `IncomingMessage` that Node does not document. */
export interface RequestInternals {
  /** Node calls it to discard an unread body. */
  _dump(): void;
  /** Whether a reader has begun to read the body. */
  _consumed?: boolean;
  /** The targets of `pipe`. */
  readonly _readableState?: { readonly pipes?: readonly Writable[] };
}

/** The response, with the members that Node does not document. */
export function responseInternals(res: ServerResponse): ResponseInternals {
  return res as unknown as ResponseInternals;
}

/** The request, with the members that Node does not document. */
export function requestInternals(req: IncomingMessage): RequestInternals {
  return req as unknown as RequestInternals;
}
