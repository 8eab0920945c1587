import type { ServerResponse } from 'node:http';
import { readHeaderText } from '../../exchange/headers.js';
import { copyItem, type StoredResponse } from '../../store/stored-response.js';
import type { CacheState } from '../state.js';

/** What the answer to a HEAD says of the stored answer to a GET. */
export type HeadComparison = 'same' | 'differs' | 'nothing';

/**
 * Compares them (RFC 9111 §4.3.5): by the validators that the answer has, and by its length.
 *
 * The standard takes an answer without any validator for a confirmation. In the safe profile it says nothing: a
 * handler of its own for HEAD would keep alive what it knows nothing of.
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
  const isConfirmed = etag !== undefined || lastModified !== undefined;
  return isConfirmed || state.settings.profile === 'rfc9111' ? 'same' : 'nothing';
}

/** Makes a stored response stale, unless another has taken its place. */
export function makeStale({ entries, clock }: CacheState, entry: StoredResponse): void {
  const now = clock();
  if (entry.freshUntil > now) entries.replace(entry, copyItem(entry, { freshUntil: now }));
}
