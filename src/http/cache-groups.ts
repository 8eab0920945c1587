import { parseList } from './structured-fields.js';

/**
 * Limits of `Cache-Groups`. RFC 9875 §2 requires at least 32 groups of 32 characters.
 */
const MOST_GROUPS = 128;
const LONGEST_GROUP = 256;

const NONE: readonly string[] = Object.freeze([]);

/**
 * Reads `Cache-Groups` (RFC 9875 §2), like `parseGroupInvalidation`, within limits.
 *
 * @returns `undefined` for more than 128 groups or one longer than 256 characters. With only some of its groups,
 * a response could not be invalidated reliably.
 */
export function parseCacheGroups(value: string | undefined): readonly string[] | undefined {
  if (value === undefined) return NONE;
  const groups = parseGroupInvalidation(value);
  const bounded = groups.length <= MOST_GROUPS && groups.every((group) => group.length <= LONGEST_GROUP);
  return bounded ? groups : undefined;
}

/**
 * Reads `Cache-Group-Invalidation` (RFC 9875 §3): a structured list of strings. Parameters are ignored.
 *
 * The caller must check that the groups belong to its origin (§2.1), and that the response answers an unsafe method
 * (§3).
 *
 * @param value the field's value, several lines joined by commas.
 * @returns all groups without duplicates, with no limit, because each must be invalidated. None for a malformed
 * field, which must be ignored (RFC 9651 §4.2).
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
