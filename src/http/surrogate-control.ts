import { type CacheControlDirectives, parseCacheControl } from './cache-control.js';

/** The name under which this cache is addressed, and by which it makes itself known. */
export const DEVICE = 'hotpath';

/** What this cache says of itself to whoever it asks (Edge Architecture Specification §3.1): it reads the field. */
export const CAPABILITY = `${DEVICE}="Surrogate/1.0"`;

const RESTRICTIONS: ReadonlySet<string> = new Set([
  'no-store',
  'no-cache',
  'private',
  'must-revalidate',
  'proxy-revalidate',
]);

/** What makes the field speak of this cache at all; others, as `content="ESI/1.0"`, are about other things. */
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
 * Reads `Surrogate-Control` (Edge Architecture Specification, a W3C note of 2001, §3.2), the older brother of the
 * targeted fields, whose syntax is that of `Cache-Control` with parameters.
 *
 * - A directive whose parameter names a device is for that device alone; one for ours comes before one for all.
 * - Of `max-age=600+60`, the second number, for which surrogates may go on with what is stale, is not used:
 *   `stale-while-revalidate` says that, as caches write it today.
 * - A lifetime that is no number makes the field invalid, as it does a targeted field.
 *
 * @param value the field's value, several lines joined by commas.
 * @returns the directives; `undefined` where there is none for this cache, so that the field is to be ignored.
 */
export function surrogateDirectives(value: string): CacheControlDirectives | undefined {
  const forAll = new Map<string, string>();
  const forUs = new Map<string, string>();
  for (const member of splitOutsideQuotes(value, ',')) {
    const [directive = '', ...devices] = splitOutsideQuotes(member, ';').map((part) => part.trim());
    const isForUs = devices.includes(DEVICE);
    if (devices.length > 0 && !isForUs) continue;
    const equals = directive.indexOf('=');
    const name = (equals < 0 ? directive : directive.slice(0, equals)).toLowerCase();
    if (!KNOWN.has(name)) continue;
    const argument = equals < 0 ? undefined : unquoted(directive.slice(equals + 1));
    if (!isFlag(name) && !LIFETIME.test(argument ?? '')) return undefined;
    if (name === 'public' && argument !== undefined) continue; // what allows counts only as it is defined
    const text = isFlag(name) ? name : `${name}=${argument!.split('+')[0]}`;
    const found = isForUs ? forUs : forAll;
    const before = found.get(name);
    found.set(name, before === undefined ? text : `${before},${text}`);
  }
  const directives = new Map([...forAll, ...forUs]);
  return directives.size === 0 ? undefined : parseCacheControl([...directives.values()]);
}

/** Whether a restriction may be hidden: a quotation never ends, or what is for this cache is not as it should be. */
export function isMalformedSurrogate(value: string): boolean {
  let quoted = false;
  for (let i = 0; i < value.length; i++) {
    if (quoted && value[i] === '\\') i++;
    else if (value[i] === '"') quoted = !quoted;
  }
  if (quoted) return true;
  for (const member of splitOutsideQuotes(value, ',')) {
    const [directive = '', ...devices] = splitOutsideQuotes(member, ';').map((part) => part.trim());
    // A directive in the place of a device: `max-age=60; private`.
    if (devices.some((device) => device === '' || KNOWN.has(device.toLowerCase()))) return true;
    if (devices.length > 0 && !devices.includes(DEVICE)) continue;
    const equals = directive.indexOf('=');
    const name = (equals < 0 ? directive : directive.slice(0, equals)).trim();
    if (!/^[\w-]*$/.test(name)) return true;
    const isLifetime = KNOWN.has(name.toLowerCase()) && !isFlag(name.toLowerCase());
    if (isLifetime && !LIFETIME.test(equals < 0 ? '' : unquoted(directive.slice(equals + 1)))) return true;
  }
  return false;
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
