import { type StoredField, type StoredResponse, sizeOf } from '../../store/stored-response.js';
import type { MiddlewareRequest } from '../request/cache-request.js';
import type { CacheState } from '../state.js';

/** Far more than key, tags and headers take, so that most fills need no sum. Bytes. */
const AMPLE = 64 * 1024;

/** As long as a generated tag may be. */
const ETAG = 'W/"ffffff-AAAAAAAAAAAAAAAAAAAAAAAAAAA"';
const NO_BODY = Buffer.alloc(0);

/**
 * Whether an entry is larger than the whole memory tier with its key, tags and headers, so that no tier keeps it. The
 * body alone may fit. To be called within `head`, and only of use where the length of the body is known then.
 */
export function exceedsMemory(
  { settings, redisLookups }: CacheState,
  { exchange, key, target }: MiddlewareRequest,
  tags: readonly string[],
): boolean {
  const { length, res } = exchange;
  const { maxBytes } = settings.memory;
  if (redisLookups || length === undefined || length + AMPLE <= maxBytes) return false;
  const headers = Object.entries(res.getHeaders()).map(
    ([name, value]): StoredField => [name, Array.isArray(value) ? value : String(value)],
  );
  const head = { kind: 'response', url: target, etag: ETAG, tags, headers, body: NO_BODY } as const;
  return sizeOf(key, head as Partial<StoredResponse> as StoredResponse) + length > maxBytes;
}
