/**
 * The directives of a `Cache-Control` field: RFC 9111 §5.2, RFC 5861, RFC 8246. Lifetimes are whole seconds.
 *
 * The durations read here serve requests as well as responses; `max-stale`, `min-fresh` and
 * `only-if-cached` are for requests alone.
 */
export interface CacheControlDirectives {
  readonly public: boolean;
  /** `true`, or the fields that only a private cache may store (§5.2.2.7). */
  readonly private: boolean | readonly string[];
  readonly noStore: boolean;
  /** `true`, or the fields that may not be reused without revalidation (§5.2.2.4). */
  readonly noCache: boolean | readonly string[];
  readonly noTransform: boolean;
  readonly mustRevalidate: boolean;
  readonly proxyRevalidate: boolean;
  readonly mustUnderstand: boolean;
  readonly immutable: boolean;
  readonly onlyIfCached: boolean;
  readonly maxAge?: number | undefined;
  readonly sMaxage?: number;
  readonly staleWhileRevalidate?: number;
  readonly staleIfError?: number;
  readonly minFresh?: number | undefined;
  /** How many seconds after its lifetime a request accepts a response; `Infinity` without a bound (§5.2.1.2). */
  readonly maxStale?: number | undefined;
}

/** The largest lifetime that caches must support (§1.2.2); longer ones are cut to this. */
export const MAX_DELTA_SECONDS = 2 ** 31;

const FLAGS = {
  public: 'public',
  'no-store': 'noStore',
  'no-transform': 'noTransform',
  'must-revalidate': 'mustRevalidate',
  'proxy-revalidate': 'proxyRevalidate',
  'must-understand': 'mustUnderstand',
  immutable: 'immutable',
  'only-if-cached': 'onlyIfCached',
} as const;

const FIELD_LISTS = { private: 'private', 'no-cache': 'noCache' } as const;

const LIFETIMES = {
  'max-age': 'maxAge',
  's-maxage': 'sMaxage',
  'stale-while-revalidate': 'staleWhileRevalidate',
  'stale-if-error': 'staleIfError',
  'min-fresh': 'minFresh',
  'max-stale': 'maxStale',
} as const;

// Maps, because a lookup on an object would find a directive named `constructor`.
const flags = new Map(Object.entries(FLAGS));
const fieldLists = new Map(Object.entries(FIELD_LISTS));
const lifetimes = new Map(Object.entries(LIFETIMES));

type Writable = { -readonly [Name in keyof CacheControlDirectives]: CacheControlDirectives[Name] };

const NONE: CacheControlDirectives = Object.freeze({
  public: false,
  private: false,
  noStore: false,
  noCache: false,
  noTransform: false,
  mustRevalidate: false,
  proxyRevalidate: false,
  mustUnderstand: false,
  immutable: false,
  onlyIfCached: false,
});

/**
 * Reads `Cache-Control`; several lines are one list (RFC 9110 §5.3). It never throws, and takes linear time.
 *
 * - Names are case-insensitive. Text inside a quoted string is no directive. Unknown directives are ignored.
 * - A lifetime that is no number (`abc`, `-1`, `1.5`, nothing) is 0, so stale, as §4.2.1 recommends. A lifetime
 *   above 2^31 is cut to 2^31.
 * - The shortest of duplicate lifetimes wins; `private` and `no-cache` without fields win over those with fields.
 * - A quoted string without an end extends to the end of the value.
 */
export function parseCacheControl(
  value: string | readonly string[] | number | undefined,
): CacheControlDirectives {
  if (value === undefined) return NONE;
  const directives: Writable = { ...NONE };
  // Each line separately, so that an unclosed quote on one does not hide the next.
  for (const line of typeof value === 'object' ? value : [value]) {
    for (const member of members(String(line))) read(member, directives);
  }
  return directives;
}

/** A name or an argument (RFC 9110 §5.6.2). */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/i;
/** A quoted string and nothing else (RFC 9110 §5.6.4). */
const QUOTED = /^"(?:[^"\\]|\\.)*"$/s;

/**
 * Whether a `Cache-Control` breaks the grammar (RFC 9111 §5.2), so that a restricting directive may be hidden in it.
 * Examples are an unclosed quote, a quoted name, two directives in one member (`public; no-store`), a flag
 * with an argument (`public=bad`). A lifetime that is no number is allowed: it counts as 0.
 */
export function isMalformedCacheControl(value: string | readonly string[] | number | undefined): boolean {
  if (value === undefined) return false;
  for (const line of typeof value === 'object' ? value : [value]) {
    for (const member of members(String(line))) if (isMalformed(member.trim())) return true;
  }
  return false;
}

function isMalformed(member: string): boolean {
  if (member === '') return false; // empty members are allowed (RFC 9110 §5.6.1)
  const equals = member.indexOf('=');
  const name = (equals < 0 ? member : member.slice(0, equals)).trim();
  if (!TOKEN.test(name)) return true;
  if (equals < 0) return false;
  if (flags.has(name.toLowerCase())) return true;
  const argument = member.slice(equals + 1).trim();
  return argument !== '' && !TOKEN.test(argument) && !QUOTED.test(argument);
}

const ORDER = [
  'public',
  'private',
  'no-store',
  'no-cache',
  'must-understand',
  'no-transform',
  ...lifetimes.keys(),
  'must-revalidate',
  'proxy-revalidate',
  'immutable',
  'only-if-cached',
] as const;

/** Writes directives in a fixed order, without those that are off or absent. */
export function formatCacheControl(directives: Partial<CacheControlDirectives>): string {
  const parts: string[] = [];
  for (const name of ORDER) {
    const value = directives[(flags.get(name) ?? fieldLists.get(name) ?? lifetimes.get(name))!];
    if (value === undefined || value === false) continue;
    if (typeof value === 'object') {
      if (value.length > 0) parts.push(`${name}="${value.join(', ')}"`);
    } else if (value === true || value === Number.POSITIVE_INFINITY) parts.push(name);
    else parts.push(`${name}=${value}`);
  }
  return parts.join(', ');
}

function read(member: string, directives: Writable): void {
  const equals = member.indexOf('=');
  const name = (equals < 0 ? member : member.slice(0, equals)).trim().toLowerCase();
  const argument = equals < 0 ? undefined : unquote(member.slice(equals + 1).trim());
  const flag = flags.get(name);
  if (flag) {
    directives[flag] = true; // even with an argument: the intent is clear, and stricter is safer
    return;
  }
  const list = fieldLists.get(name);
  if (list) {
    const fields = parseFieldNames(argument);
    const before = directives[list];
    if (fields.length === 0 || before === true) directives[list] = true;
    else if (before) (before as string[]).push(...fields);
    else directives[list] = fields;
    return;
  }
  const lifetime = lifetimes.get(name);
  if (!lifetime) return;
  const unbounded = lifetime === 'maxStale' && argument === undefined;
  const seconds = unbounded ? Number.POSITIVE_INFINITY : deltaSeconds(argument);
  directives[lifetime] = Math.min(seconds, directives[lifetime] ?? Number.POSITIVE_INFINITY);
}

/** Splits at commas outside quoted strings. */
function members(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  const found: string[] = [];
  let quoted = false;
  let start = 0;
  for (let i = 0; i < line.length; i++) {
    const character = line[i];
    if (quoted && character === '\\') i++;
    else if (character === '"') quoted = !quoted;
    else if (character === ',' && !quoted) {
      found.push(line.slice(start, i));
      start = i + 1;
    }
  }
  found.push(line.slice(start));
  return found;
}

function unquote(argument: string): string {
  if (!argument.startsWith('"')) return argument;
  const ended = argument.length > 1 && argument.endsWith('"');
  return argument.slice(1, ended ? -1 : undefined).replace(/\\(.)/g, '$1');
}

function parseFieldNames(argument: string | undefined): string[] {
  if (argument === undefined) return [];
  return argument
    .split(',')
    .map((field) => field.trim().toLowerCase())
    .filter((field) => field !== '');
}

function deltaSeconds(argument: string | undefined): number {
  if (argument === undefined || !/^\d+$/.test(argument)) return 0;
  return Math.min(Number(argument), MAX_DELTA_SECONDS);
}
