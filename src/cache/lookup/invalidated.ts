import type { ResponseHead } from '../../store/stored-response.js';
import type { CacheState } from '../state.js';

/**
 * Until when the log lets an entry be fresh for who asks for a URL, as `log.limit` has it. Where that is another than
 * its own, what was recorded of it counts as well: nobody is to get what is older than a purge of what they ask for.
 *
 * @param url path and query.
 */
export function validUntil({ log }: CacheState, entry: ResponseHead, url: string): number {
  const limit = log.limit(entry);
  return entry.url === url ? limit : Math.min(limit, log.limitOfUrl(url, entry.since, entry));
}
