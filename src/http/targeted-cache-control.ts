import { type CacheControlDirectives, parseCacheControl } from './cache-control.js';
import { type Member, parseDictionary } from './structured-fields.js';
import { isMalformedSurrogate, surrogateDirectives } from './surrogate-control.js';

/** Directives whose value is a number of seconds. */
const LIFETIMES: ReadonlySet<string> = new Set([
  'max-age',
  's-maxage',
  'stale-while-revalidate',
  'stale-if-error',
]);

/** Directives that permit more than the default. */
const ALLOWANCES: ReadonlySet<string> = new Set(['public', 'must-understand', 'immutable']);

/** Directives whose value may be a list of field names (RFC 9111 §5.2.2.4, §5.2.2.7). */
const FIELD_LISTS: ReadonlySet<string> = new Set(['private', 'no-cache']);

/**
 * Reads a targeted field such as `CDN-Cache-Control` (RFC 9213 §2.1): a structured dictionary, read strictly.
 *
 * - Unknown directives and all parameters are ignored.
 * - A lifetime that is no integer makes the field invalid: it must be ignored, and the other fields of the response
 *   are a better guess. A negative one is 0.
 * - A restricting directive counts with any value except `?0`: stricter is safer. A permitting one counts only
 *   without a value. `must-revalidate` does both (RFC 9111 §3.5): with a value it only restricts.
 *
 * @param value the field's value, several lines joined by commas.
 * @returns the directives; `undefined` if the field is empty or invalid, so that it is ignored.
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

/** The policy of a targeted field. */
export interface TargetedPolicy {
  /** The name of the field in the target list. */
  readonly field: string;
  readonly directives: CacheControlDirectives;
}

/**
 * The policy of the first field on a target list that is present and valid (RFC 9213 §2.2). With one,
 * `Cache-Control` and `Expires` do not apply to this cache.
 *
 * @param targets field names, from the most applicable to the least: `['cdn-cache-control']`.
 * @param read returns the value of a response field, several lines joined by commas.
 */
export function targetedPolicy(
  targets: readonly string[],
  read: (field: string) => string | undefined,
): TargetedPolicy | undefined {
  for (const field of targets) {
    const value = read(field);
    // RFC 9213 requires a structured field. `Surrogate-Control` is older, and has another syntax.
    const parse = field === 'surrogate-control' ? surrogateDirectives : targetedDirectives;
    const directives = value === undefined ? undefined : parse(value);
    if (directives) return { field, directives };
  }
  return undefined;
}

/** A directive that forbids storing or reusing a response, anywhere in the text. */
const RESTRICTION = /no-store|no-cache|private/i;

/**
 * A restriction written as a parameter (`public; no-store`). Structured fields ignore parameters, but a
 * directive was meant.
 */
const AS_PARAMETER = /;[ \t]*(?:no-store|no-cache|private)/i;

/**
 * Whether an invalid field of the target list contains a restriction. The field that
 * applies instead (RFC 9213 §2.2) may lack it, and a cache need not store a response that it may store.
 *
 * @param upTo the field that applies, if any: later fields are not checked.
 */
export function hidesRestriction(
  targets: readonly string[],
  read: (field: string) => string | undefined,
  upTo: string | undefined,
): boolean {
  for (const field of targets) {
    const value = read(field);
    if (value !== undefined && RESTRICTION.test(value)) {
      // `Surrogate-Control` may be valid for other caches, or in part.
      if (field === 'surrogate-control' && isMalformedSurrogate(value)) return true;
      if (field !== 'surrogate-control' && (field !== upTo || AS_PARAMETER.test(value))) return true;
    }
    if (field === upTo) return false;
  }
  return false;
}

/** In the syntax of `Cache-Control`. Without valid field names, the directive applies to all fields. */
function withFields(name: string, member: Member): string {
  if (member.kind !== 'string' && member.kind !== 'token') return name;
  return `${name}="${member.value.replace(/["\\]/g, '\\$&')}"`;
}
