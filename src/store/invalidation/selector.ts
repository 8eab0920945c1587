import { parse, pathToRegexp, type Token, TokenData } from 'path-to-regexp';
import {
  canonicalHost,
  canonicalPath,
  canonicalPathText,
  canonicalTarget,
} from '../../http/canonical-url.js';
import { pathAndQueryOf } from '../../http/request-target.js';
import { HotpathError } from '../../options/errors.js';
import { formatValue } from '../../options/format-value.js';
import { readPattern } from '../../options/route-table.js';
import { type Stamped, urlName } from '../stored-response.js';

/** The target of a purge or an expiry. */
export type Selector =
  /** All entries with the tag. */
  | { readonly tag: string }
  /**
   * A path with its query, such as `/api/products?page=2`: for every host, partition and variant. Or a full
   * URL, such as `https://shop.example/api/products`: for that host only, whatever the scheme. Every spelling
   * of the URL matches, in either case, with or without a final slash, and with or without parameters that a
   * rule ignores.
   */
  | { readonly url: string }
  /**
   * A path pattern in Express 5 syntax, such as `/api/products/:id`. It matches every spelling and every
   * query.
   */
  | { readonly pattern: string }
  /** All entries. */
  | { readonly all: true };

/** One record of a validated selector, with the function that matches it. */
export interface CompiledSelector {
  readonly kind: 'tag' | 'url' | 'pattern' | 'all';
  /** For a URL, its name in the log. */
  readonly value: string;
  matches(entry: Stamped): boolean;
}

/** Returns additional names of a URL by its name. */
export type Widen = (name: string) => Iterable<string>;

/**
 * Validates a selector and returns its records.
 *
 * @param widen returns other names under which responses to a URL may be stored.
 * @returns at least one; several for a URL that has several readings or is stored under several names.
 * @throws HotpathError `HOTPATH_SELECTOR_INVALID` for anything but the four forms.
 */
export function compileSelectors(selector: Selector, widen: Widen = () => []): CompiledSelector[] {
  const given: Record<string, unknown> =
    typeof selector === 'object' && selector !== null ? { ...selector } : {};
  const keys = Object.keys(given).filter((key) => given[key] !== undefined);
  const [kind] = keys;
  const value = kind === undefined ? undefined : given[kind];
  if (keys.length !== 1) throw invalid(selector);
  if (kind === 'all' && value === true) return [{ kind, value: '', matches: () => true }];
  if (typeof value !== 'string' || value === '') throw invalid(selector);
  if (kind === 'tag') return [{ kind, value, matches: (entry) => entry.tags.includes(value) }];
  if (kind === 'pattern') return [{ kind, value, matches: matcherOf(value) }];
  const names = kind === 'url' ? namesOfUrl(value) : undefined;
  if (!names) throw invalid(selector);
  const all = new Set(names.flatMap((name) => [name, ...widen(name)]));
  return [...all].map((name) => ({ kind: 'url', value: name, matches: (entry) => isNamed(entry, name) }));
}

/** The first record of `compileSelectors`, and the only one for every form except a URL. */
export function compileSelector(selector: Selector): CompiledSelector {
  return compileSelectors(selector)[0]!;
}

/** Matches paths against a pattern, both in their canonical spelling. */
export function compileUrlPattern(pattern: string): (path: string) => boolean {
  const respelled = (tokens: readonly Token[]): Token[] =>
    tokens.map((token) => {
      if (token.type === 'group') return { ...token, tokens: respelled(token.tokens) };
      return token.type === 'text' ? { ...token, value: canonicalPathText(token.value) } : token;
    });
  // As in a route, a final slash is ignored, except for the root.
  const path = pattern === '/' ? pattern : pattern.replace(/\/+$/, '');
  const { regexp } = pathToRegexp(new TokenData(respelled(parse(path).tokens), path));
  return (path) => regexp.test(path);
}

/** A pattern is compared with each path that is looked up, and its expression doubles its time with each wildcard. */
const MOST_WILDCARDS = 5;
const LONGEST_PATTERN = 1000;

function matcherOf(pattern: string): (entry: Stamped) => boolean {
  if (pattern.length > LONGEST_PATTERN || pattern.split('*').length - 1 > MOST_WILDCARDS) {
    throw new HotpathError(
      'HOTPATH_SELECTOR_INVALID',
      `selector: pattern: expected at most ${LONGEST_PATTERN} characters and ${MOST_WILDCARDS} wildcards, ` +
        `received ${formatValue(pattern)}`,
    );
  }
  const reading = readPattern(pattern);
  if (!('value' in reading)) {
    throw new HotpathError(
      'HOTPATH_SELECTOR_INVALID',
      `selector: pattern: expected ${reading.expected}, received ${formatValue(pattern)}`,
    );
  }
  const matches = compileUrlPattern(pattern);
  // A wildcard can match an empty segment: `/x//` matches `/x/*rest`.
  return ({ path }) => matches(canonicalPath(path)) || (path.includes('//') && matches(path));
}

function isNamed({ url, host }: Stamped, name: string): boolean {
  return name === (name.startsWith('/') ? urlName(url) : host !== undefined && urlName(url, host));
}

/** The names of a URL in each of its readings; `undefined` if the text is not a URL. */
function namesOfUrl(url: string): string[] | undefined {
  const isFull = /^https?:\/\/[^/?#\\]/i.test(url) && URL.canParse(url);
  if (!isFull && !url.startsWith('/')) return undefined;
  const host = isFull ? canonicalHost(new URL(url).host) : '';
  const target = pathAndQueryOf(url)!;
  // Clients send no fragment, but the caller may have left a `#` in a name unencoded. Both readings count.
  const targets = target.includes('#') ? [target.slice(0, target.indexOf('#')), target] : [target];
  return targets.map((text) => host + canonicalTarget(text));
}

function invalid(selector: unknown): HotpathError {
  let text: string | undefined;
  try {
    text = JSON.stringify(selector)?.slice(0, 200);
  } catch {
    text = undefined;
  }
  return new HotpathError(
    'HOTPATH_SELECTOR_INVALID',
    "selector: expected one of { tag: 'name' }, { url: '/path?query' }, { url: 'https://host/path' }, " +
      `{ pattern: '/path/:id' } or { all: true }, received ${text ?? String(selector)}`,
  );
}
