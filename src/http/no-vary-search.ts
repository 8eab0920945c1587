import { type Member, parseDictionary } from './structured-fields.js';

/** Every common query parser reads at least this many. */
const MOST_PARAMETERS = 200;

/** Differences between queries that do not matter (draft-ietf-httpbis-no-vary-search §4). */
export interface SearchVariance {
  /** Whether the order of parameters with different names does not matter. */
  readonly anyOrder: boolean;
  /** Whether `names` lists the parameters that do not matter, or the only ones that do. */
  readonly mode: 'ignore' | 'keep';
  /** Parameter names in canonical form. */
  readonly names: ReadonlySet<string>;
}

/**
 * Reads `No-Vary-Search` (draft-ietf-httpbis-no-vary-search §5.1): a structured dictionary of `key-order`,
 * `params` and `except`; other keys are ignored.
 *
 * @param value the field's value, several lines joined by commas.
 * @returns `undefined` if every difference matters: without the field, and with anything invalid in it, which costs
 * only a few hits.
 */
export function parseNoVarySearch(value: string | undefined): SearchVariance | undefined {
  const members = value === undefined ? undefined : parseDictionary(value);
  if (!members) return undefined;
  const anyOrder = flagOf(members.get('key-order'));
  const params = members.get('params');
  const all = params?.kind === 'list' ? false : flagOf(params);
  if (anyOrder === undefined || all === undefined) return undefined;
  const except = members.get('except');
  if (except && !all) return undefined;
  const names = namesOf(all ? except : params?.kind === 'list' ? params : undefined);
  if (!names) return undefined;
  const variance: SearchVariance = { anyOrder, mode: all ? 'keep' : 'ignore', names };
  return all || anyOrder || names.size > 0 ? variance : undefined;
}

/**
 * The canonical form of all queries that a variance makes equivalent (§6), for comparison and for keys, not for
 * sending. It has at most three times the length of the query.
 *
 * In two cases it is stricter than the draft, because the response depends on how the app reads the query:
 *
 * - Octets that are not valid UTF-8 are compared unchanged; the draft treats them all as equal.
 * - A query of more than 200 parameters is compared unchanged. Parsers stop at a limit (usually 1000), and parameters
 *   beyond it must not become readable because earlier ones are removed.
 *
 * @param query the text after the `?`; `undefined` without one.
 * @param variance `undefined`: every difference matters.
 */
export function normaliseQuery(
  query: string | undefined,
  variance: SearchVariance | undefined,
): string | undefined {
  if (!variance) return query;
  const pieces = query?.split('&', MOST_PARAMETERS + 1) ?? [];
  if (pieces.length > MOST_PARAMETERS) return `?${query}`; // no other result contains a `?`
  const pairs: [name: string, value: string][] = [];
  for (const piece of pieces) {
    if (piece === '') continue;
    const equals = piece.indexOf('=');
    const name = canonical(equals < 0 ? piece : piece.slice(0, equals));
    if (variance.names.has(name) === (variance.mode === 'ignore')) continue;
    pairs.push([name, equals < 0 ? '' : canonical(piece.slice(equals + 1))]);
  }
  // The sort is stable, so values of one name keep their order. The order of names only needs to be consistent.
  if (variance.anyOrder) pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return pairs.map(([name, value]) => `${name}=${value}`).join('&');
}

/** Whether two queries are equivalent (§6). */
export function equivalentQuery(
  a: string | undefined,
  b: string | undefined,
  variance: SearchVariance | undefined,
): boolean {
  return a === b || normaliseQuery(a, variance) === normaliseQuery(b, variance);
}

/** Whether two variances call the same queries equivalent. */
export function isSameVariance(a: SearchVariance, b: SearchVariance): boolean {
  const isAlike = a.anyOrder === b.anyOrder && a.mode === b.mode && a.names.size === b.names.size;
  return isAlike && [...a.names].every((name) => b.names.has(name));
}

/** A boolean, `false` where there is none; `undefined` for anything else. */
function flagOf(member: Member | undefined): boolean | undefined {
  if (!member) return false;
  return member.kind === 'boolean' ? member.value : undefined;
}

/** The names in an inner list of strings, none where there is no list; `undefined` for anything else. */
function namesOf(member: Member | undefined): ReadonlySet<string> | undefined {
  const names = new Set<string>();
  if (!member) return names;
  if (member.kind !== 'list') return undefined;
  for (const item of member.value) {
    if (item.kind !== 'string') return undefined;
    names.add(canonical(item.value)); // §5.3: written as in a query
  }
  return names;
}

/**
 * The canonical form of a name or value: decoded (`+` is a space), and encoded again in one way. Text that
 * cannot be decoded is unchanged, after a `:`, which never occurs in encoded text.
 */
function canonical(text: string): string {
  if (/[^\x20-\x7e]/.test(text)) return `:${text}`; // octets of an unknown charset
  try {
    return encodeURIComponent(decodeURIComponent(text.replaceAll('+', ' ')));
  } catch {
    return `:${text}`;
  }
}
