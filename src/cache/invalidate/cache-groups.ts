import { parseGroupInvalidation } from '../../http/cache-groups.js';
import type { Selector } from '../../store/invalidation/selector.js';
import type { CacheContext } from '../options.js';
import { joinParts } from '../request/key.js';

/**
 * The tags of a response with those that it gets by its `Cache-Groups` (RFC 9875 §2): each group by its name, for
 * `purge({ tag })`, and by its name with the origin that it belongs to (§2.1), for what answers of that origin
 * invalidate.
 */
export function addGroupTags(
  tags: readonly string[],
  groups: readonly string[],
  context: CacheContext,
): readonly string[] {
  if (groups.length === 0) return tags;
  const { origin } = context.url;
  const named = groups.filter((group) => group !== '');
  return [...new Set([...tags, ...named, ...groups.map((group) => groupTag(origin, group))])];
}

/** What a `Cache-Group-Invalidation` selects (§3): groups of its own origin alone. */
export function groupSelectors(origin: string, value: string | undefined): Selector[] {
  return parseGroupInvalidation(value).map((group) => ({ tag: groupTag(origin, group) }));
}

function groupTag(origin: string, group: string): string {
  return joinParts(['group', origin, group]);
}
