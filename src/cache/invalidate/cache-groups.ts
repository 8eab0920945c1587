import { parseGroupInvalidation } from '../../http/cache-groups.js';
import type { Selector } from '../../store/invalidation/selector.js';
import type { CacheContext } from '../options.js';
import { joinParts } from '../request/key.js';

/**
 * Adds the tags for the response's `Cache-Groups` (RFC 9875 §2). Each group gets two: its name, for `purge({ tag })`,
 * and its name with its origin (§2.1), for responses of that origin that invalidate it.
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

/** The selectors of a `Cache-Group-Invalidation` (§3): only groups of its own origin. */
export function groupSelectors(origin: string, value: string | undefined): Selector[] {
  return parseGroupInvalidation(value).map((group) => ({ tag: groupTag(origin, group) }));
}

function groupTag(origin: string, group: string): string {
  return joinParts(['group', origin, group]);
}
