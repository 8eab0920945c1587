import type { ServerResponse } from 'node:http';
import { readHeaderText } from '../../exchange/headers.js';
import { copyItem, type StoredResponse } from '../../store/stored-response.js';
import type { CacheState } from '../state.js';

/** The result of a comparison. `nothing`: the response to HEAD has no validator. */
export type HeadComparison = 'same' | 'differs' | 'nothing';

/**
 * Compares the response to a HEAD with the stored response, by its validators and its length (RFC 9111 §4.3.5).
 *
 * The standard accepts a response without a validator as revalidation. The safe profile does not: a separate handler
 * for HEAD may not know the resource.
 */
export function compareWithHead(
  state: CacheState,
  res: ServerResponse,
  entry: StoredResponse,
): HeadComparison {
  const etag = readHeaderText(res, 'etag');
  const lastModified = readHeaderText(res, 'last-modified');
  const length = readHeaderText(res, 'content-length');
  if (etag !== undefined && etag !== (entry.ownEtag ? entry.etag : undefined)) return 'differs';
  if (lastModified !== undefined && lastModified !== entry.lastModified) return 'differs';
  if (length !== undefined && Number(length) !== entry.body.length) return 'differs';
  const isRevalidated = etag !== undefined || lastModified !== undefined;
  return isRevalidated || state.settings.profile === 'rfc9111' ? 'same' : 'nothing';
}

/** Makes a stored response stale, unless another response has replaced it. */
export function makeStale({ entries, clock }: CacheState, entry: StoredResponse): void {
  const now = clock();
  if (entry.freshUntil > now) entries.replace(entry, copyItem(entry, { freshUntil: now }));
}
