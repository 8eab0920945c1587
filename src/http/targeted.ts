import { type CacheControlDirectives, parseCacheControl } from './cache-control.js';
import { type Member, parseDictionary } from './structured.js';
import { isMalformedSurrogate, surrogateDirectives } from './surrogate-control.js';

/** Directives whose value is a number of seconds. */
const LIFETIMES: ReadonlySet<string> = new Set([
  'max-age',
  's-maxage',
  'stale-while-revalidate',
  'stale-if-error',
]);

/** Directives that allow more than there would be without them. */
const ALLOWANCES: ReadonlySet<string> = new Set(['public', 'must-understand', 'immutable']);

/** Directives whose value may be a list of field names (RFC 9111 §5.2.2.4, §5.2.2.7). */
const FIELD_LISTS: ReadonlySet<string> = new Set(['private', 'no-cache']);

/**
 * Reads a targeted field such as `CDN-Cache-Control` (RFC 9213 §2.1): a structured dictionary, read strictly.
 *
 * - Unknown directives and all parameters are passed over.
 * - A lifetime that is no integer makes the field invalid: it is not to be consumed, and what the response says
 *   elsewhere is a better guess than ours. A negative one is 0.
 * - A directive that restricts counts whatever its value is, but for `?0`: stricter is safer. One that allows counts
 *   only without a value; of `must-revalidate`, which does both (RFC 9111 §3.5), a value leaves the restriction.
 *
 * @param value the field's value, several lines joined by commas.
 * @returns the directives; `undefined` where the field is empty or invalid, so that it is to be ignored.
 */
export function targetedDirectives(value: string): CacheControlDirectives | undefined {
  const members = parseDictionary(value);
  if (!members || members.size === 0) return undefined;
  const directives: string[] = [];
  for (const [name, member] of members) {
    if (LIFETIMES.has(name)) {
      if (member.kind !== 'integer') return undefined;
      directives.push(`${name}=${member.value}`);
    } else if (member.value === true || FIELD_LISTS.has(name)) {
      if (member.value !== false) directives.push(FIELD_LISTS.has(name) ? withFields(name, member) : name);
    } else if (member.value !== false && !ALLOWANCES.has(name)) {
      directives.push(name === 'must-revalidate' ? 'proxy-revalidate' : name);
    }
  }
  return parseCacheControl(directives);
}

/** The policy that a targeted field sets. */
export interface TargetedPolicy {
  /** The field, as it stands in the target list. */
  readonly field: string;
  readonly directives: CacheControlDirectives;
}

/**
 * The policy of the first field on a target list that is present and valid (RFC 9213 §2.2). Where there is one,
 * `Cache-Control` and `Expires` do not count for this cache.
 *
 * @param targets field names, from the most applicable to the least: `['cdn-cache-control']`.
 * @param read gives the value of a response's field, several lines joined by commas.
 */
export function targetedPolicy(
  targets: readonly string[],
  read: (field: string) => string | undefined,
): TargetedPolicy | undefined {
  for (const field of targets) {
    const value = read(field);
    // A structured field since RFC 9213; this one is older, and reads otherwise.
    const parse = field === 'surrogate-control' ? surrogateDirectives : targetedDirectives;
    const directives = value === undefined ? undefined : parse(value);
    if (directives) return { field, directives };
  }
  return undefined;
}

/** A directive that keeps a response from being stored or used again, wherever it stands in the text. */
const RESTRICTION = /no-store|no-cache|private/i;

/**
 * Whether a field of the target list that does not count, since it is malformed, speaks of a restriction. The field
 * that does count instead (RFC 9213 §2.2) may know nothing of it, and a cache need not store what it may store.
 *
 * @param upTo the field that counts, where one of the list does: those after it are not looked at.
 */
export function hidesRestriction(
  targets: readonly string[],
  read: (field: string) => string | undefined,
  upTo: string | undefined,
): boolean {
  for (const field of targets) {
    const value = read(field);
    if (value !== undefined && RESTRICTION.test(value)) {
      // `Surrogate-Control` may be valid for others, or in part.
      if (field === 'surrogate-control' ? isMalformedSurrogate(value) : field !== upTo) return true;
    }
    if (field === upTo) return false;
  }
  return false;
}

/** In the syntax of `Cache-Control`; with no names, or what cannot be names, the directive means all fields. */
function withFields(name: string, member: Member): string {
  if (member.kind !== 'string' && member.kind !== 'token') return name;
  return `${name}="${member.value.replace(/["\\]/g, '\\$&')}"`;
}
