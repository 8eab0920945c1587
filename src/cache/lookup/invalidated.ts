import type { ResponseHead } from '../../store/stored-response.js';
import type { CacheState } from '../state.js';

/**
 * The end of freshness that the log sets for an entry, as `log.limit`. If the requested URL differs from the URL of the
 * entry (No-Vary-Search), purges of the requested URL count too.
 *
 * @param url path and query of the request.
 */
export function validUntil({ log }: CacheState, entry: ResponseHead, url: string): number {
  const limit = log.limit(entry);
  return entry.url === url ? limit : Math.min(limit, log.limitOfUrl(url, entry.since, entry));
}
