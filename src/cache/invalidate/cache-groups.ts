import { parseGroupInvalidation } from '../../http/cache-groups.js';
import type { Selector } from '../../store/invalidation/selector.js';
import type { CacheContext, CacheRuleSettings } from '../options.js';
import { ANY_HOST, joinParts } from '../request/key.js';

/**
 * Adds the tags for the response's `Cache-Groups` (RFC 9875 §2). Each group gets two: its name, for `purge({ tag })`,
 * and its name with its origin (§2.1), for responses of that origin that invalidate it.
 */
export function addGroupTags(
  tags: readonly string[],
  groups: readonly string[],
  context: CacheContext,
  rule: CacheRuleSettings | undefined,
): readonly string[] {
  if (groups.length === 0) return tags;
  const named = groups.filter((group) => group !== '');
  const host = rule?.vary.host;
  const tagOf = (group: string) =>
    host === undefined ? groupTag(context.url, group) : sharedGroupTag(context.url, host, group);
  return [...new Set([...tags, ...named, ...groups.map(tagOf)])];
}

/**
 * The selectors of a `Cache-Group-Invalidation` (§3): groups of its own origin, and those of entries that all hosts of
 * the app share. Such an entry is a response of this origin too.
 *
 * @param hosts the values of `vary.host` in the rules.
 */
export function groupSelectors(url: URL, value: string | undefined, hosts: SharedHosts): Selector[] {
  return parseGroupInvalidation(value).flatMap((group) => [
    { tag: groupTag(url, group) },
    ...Array.from(hosts, (host) => ({ tag: sharedGroupTag(url, host, group) })),
  ]);
}

/** The distinct values of `vary.host` in the rules of a cache. */
export type SharedHosts = Iterable<string | false>;

function groupTag({ origin }: URL, group: string): string {
  return joinParts(['group', origin, group]);
}

/** Another first part: entries of the named host that are not shared form groups of their own. */
function sharedGroupTag({ protocol }: URL, host: string | false, group: string): string {
  return joinParts(['shared-group', `${protocol}//${host || ANY_HOST}`, group]);
}
