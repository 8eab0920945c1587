import { parseList } from './structured.js';

/**
 * Bounds of `Cache-Groups`. RFC 9875 §2 asks for 32 groups of 32 characters at least.
 */
const MOST_GROUPS = 128;
const LONGEST_GROUP = 256;

const NONE: readonly string[] = Object.freeze([]);

/**
 * Reads `Cache-Groups` (RFC 9875 §2), as `parseGroupInvalidation` does, within bounds.
 *
 * @returns `undefined` where there are more than 128, or one longer than 256 characters: to take only some of them
 * would leave a response that cannot be invalidated.
 */
export function parseCacheGroups(value: string | undefined): readonly string[] | undefined {
  if (value === undefined) return NONE;
  const groups = parseGroupInvalidation(value);
  const bounded = groups.length <= MOST_GROUPS && groups.every((group) => group.length <= LONGEST_GROUP);
  return bounded ? groups : undefined;
}

/**
 * Reads `Cache-Group-Invalidation` (RFC 9875 §3): a structured list of strings. Parameters are passed over.
 *
 * Groups belong to an origin (§2.1), and an invalidation counts only on the answer to an unsafe method (§3):
 * both are for the caller to see to.
 *
 * @param value the field's value, several lines joined by commas.
 * @returns the groups, each once, however many: what was to be invalidated must not live on. None where the
 * field is malformed, since it is then to be ignored (RFC 9651 §4.2).
 */
export function parseGroupInvalidation(value: string | undefined): readonly string[] {
  const members = value === undefined ? [] : parseList(value);
  const groups = new Set<string>();
  for (const member of members ?? []) {
    if (member.kind !== 'string') return [];
    groups.add(member.value);
  }
  return [...groups];
}
