import compressible from 'compressible';
import { readHeaderText } from '../../exchange/headers.js';
import type { ResponseHeaders } from '../../exchange/response-head.js';

/** Whether the `Content-Type` of a response can be compressed, by `mime-db`; not where there is none. */
export function compressibleByType(_req: unknown, res: Pick<ResponseHeaders, 'getHeader'>): boolean {
  const type = readHeaderText(res, 'content-type');
  return type !== undefined && compressible(type) === true;
}
