import { parseGroupInvalidation } from '../http/cache-groups.js';
import type { Selector } from '../store/selector.js';
import { joinParts } from './key.js';

/**
 * The tags that a response gets by its `Cache-Groups` (RFC 9875 §2): each group by its name, for `purge({ tag })`,
 * and by its name with the origin that it belongs to (§2.1), for what answers of that origin invalidate.
 */
export function groupTags(origin: string, groups: readonly string[]): string[] {
  return groups.flatMap((group) => (group === '' ? [] : [group]).concat(tagOf(origin, group)));
}

/** What a `Cache-Group-Invalidation` selects (§3): groups of its own origin alone. */
export function groupSelectors(origin: string, value: string | undefined): Selector[] {
  return parseGroupInvalidation(value).map((group) => ({ tag: tagOf(origin, group) }));
}

function tagOf(origin: string, group: string): string {
  return joinParts(['group', origin, group]);
}
