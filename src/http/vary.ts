const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const NONE: readonly string[] = Object.freeze([]);

/** A limit above any reasonable response. Responses with more names in total for one URL are not stored. */
export const MOST_NAMES = 16;

/**
 * Reads `Vary` (RFC 9110 §12.5.5).
 *
 * @returns the field names in lower case, sorted, each once. `'*'` if the response varies by more than header fields,
 * `undefined` if the list is malformed or too long.
 */
export function parseVary(
  value: string | readonly string[] | undefined,
): readonly string[] | '*' | undefined {
  if (value === undefined) return NONE;
  const names = new Set<string>();
  for (const part of (typeof value === 'string' ? value : value.join(',')).split(',')) {
    const name = part.trim().toLowerCase();
    if (name === '') continue; // empty list elements are allowed (§5.6.1)
    if (name === '*') return '*';
    if (name.length > 128 || !TOKEN.test(name)) return undefined;
    names.add(name);
    if (names.size > MOST_NAMES) return undefined;
  }
  return [...names].sort();
}

/** `Vary` with these names added, each once; `'*'` stays as it is. */
export function addVary(value: string | readonly string[] | undefined, names: readonly string[]): string {
  if (value === undefined) return names.join(', ');
  const present = typeof value === 'string' ? value : value.join(', ');
  const known = new Set(present.split(',').map((name) => name.trim().toLowerCase()));
  if (known.has('*')) return present;
  const added = names.filter((name) => !known.has(name.toLowerCase()));
  return present ? [present, ...added].join(', ') : added.join(', ');
}
