import { type CacheControlDirectives, parseCacheControl } from './cache-control.js';

/** The name of this cache in device parameters and in `Surrogate-Capability`. */
export const SURROGATE_DEVICE = 'hotpath';

/** Announces to the handler that this cache reads the field (Edge Architecture Specification §3.1). */
export const SURROGATE_CAPABILITY = `${SURROGATE_DEVICE}="Surrogate/1.0"`;

const RESTRICTIONS: ReadonlySet<string> = new Set([
  'no-store',
  'no-cache',
  'private',
  'must-revalidate',
  'proxy-revalidate',
]);

/** Directives that concern caching; others, such as `content="ESI/1.0"`, do not. */
const KNOWN: ReadonlySet<string> = new Set([
  ...RESTRICTIONS,
  'public',
  'max-age',
  's-maxage',
  'stale-while-revalidate',
  'stale-if-error',
]);

const LIFETIME = /^\d+(?:\+\d+)?$/;

/**
 * Reads `Surrogate-Control` (Edge Architecture Specification, a W3C note of 2001, §3.2), the predecessor of the
 * targeted fields. It has the syntax of `Cache-Control` with parameters.
 *
 * - A directive with a device parameter is for that device alone; one for hotpath wins over one for all devices.
 * - The second number of `max-age=600+60`, the time for stale use by surrogates, is ignored:
 *   `stale-while-revalidate` is the present form.
 * - A lifetime that is no number makes the field invalid, as in a targeted field.
 *
 * @param value the field's value, several lines joined by commas.
 * @returns the directives; `undefined` without any for this cache, so that the field is ignored.
 */
export function surrogateDirectives(value: string): CacheControlDirectives | undefined {
  const forAll = new Map<string, string>();
  const forUs = new Map<string, string>();
  for (const member of splitOutsideQuotes(value, ',')) {
    const [directive = '', ...devices] = splitOutsideQuotes(member, ';').map((part) => part.trim());
    const isForUs = devices.includes(SURROGATE_DEVICE);
    if (devices.length > 0 && !isForUs) continue;
    const equals = directive.indexOf('=');
    const name = (equals < 0 ? directive : directive.slice(0, equals)).toLowerCase();
    if (!KNOWN.has(name)) continue;
    const argument = equals < 0 ? undefined : unquoted(directive.slice(equals + 1));
    if (!isFlag(name) && !LIFETIME.test(argument ?? '')) return undefined;
    if (name === 'public' && argument !== undefined) continue; // a permission counts only in its defined form
    const text = isFlag(name) ? name : `${name}=${argument!.split('+')[0]}`;
    const found = isForUs ? forUs : forAll;
    const before = found.get(name);
    found.set(name, before === undefined ? text : `${before},${text}`);
  }
  const directives = new Map([...forAll, ...forUs]);
  return directives.size === 0 ? undefined : parseCacheControl([...directives.values()]);
}

/** Whether a restriction may be hidden: an unclosed quote, or an invalid directive for this cache. */
export function isMalformedSurrogate(value: string): boolean {
  let quoted = false;
  for (let i = 0; i < value.length; i++) {
    if (quoted && value[i] === '\\') i++;
    else if (value[i] === '"') quoted = !quoted;
  }
  if (quoted) return true;
  for (const member of splitOutsideQuotes(value, ',')) {
    const [directive = '', ...devices] = splitOutsideQuotes(member, ';').map((part) => part.trim());
    // A directive in place of a device: `max-age=60; private`.
    if (devices.some((device) => device === '' || KNOWN.has(nameOf(device).toLowerCase()))) return true;
    if (devices.length > 0 && !devices.includes(SURROGATE_DEVICE)) continue;
    const equals = directive.indexOf('=');
    const name = nameOf(directive);
    if (!/^[\w-]*$/.test(name)) return true;
    const isLifetime = KNOWN.has(name.toLowerCase()) && !isFlag(name.toLowerCase());
    if (isLifetime && !LIFETIME.test(equals < 0 ? '' : unquoted(directive.slice(equals + 1)))) return true;
  }
  return false;
}

function nameOf(directive: string): string {
  const equals = directive.indexOf('=');
  return (equals < 0 ? directive : directive.slice(0, equals)).trim();
}

function isFlag(name: string): boolean {
  return RESTRICTIONS.has(name) || name === 'public';
}

function unquoted(argument: string): string {
  return argument.length > 1 && argument.startsWith('"') && argument.endsWith('"')
    ? argument.slice(1, -1)
    : argument;
}

function splitOutsideQuotes(text: string, separator: ',' | ';'): string[] {
  const parts: string[] = [];
  let quoted = false;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (quoted && character === '\\') i++;
    else if (character === '"') quoted = !quoted;
    else if (character === separator && !quoted) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}
