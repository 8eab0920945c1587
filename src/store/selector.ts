import { HotpathError } from '../config/errors.js';
import { compileRoutes } from '../config/routes.js';
import type { Stamped } from './entry.js';

/** What a purge or an expiry is meant for. */
export type Selector =
  /** Everything tagged so. */
  | { readonly tag: string }
  /** A path with its query, such as `/api/products?page=2`: for every host, partition and variant. */
  | { readonly url: string }
  /** A path pattern in Express 5 syntax, such as `/api/products/:id`: with any query. */
  | { readonly pattern: string }
  /** Everything. */
  | { readonly all: true };

/** A selector that was checked, with what decides whether it matches. */
export interface CompiledSelector {
  readonly kind: 'tag' | 'url' | 'pattern' | 'all';
  readonly value: string;
  matches(entry: Stamped): boolean;
}

/** @throws HotpathError `HOTPATH_SELECTOR_INVALID` for anything but the four forms. */
export function compileSelector(selector: Selector): CompiledSelector {
  const given: Record<string, unknown> =
    typeof selector === 'object' && selector !== null ? { ...selector } : {};
  const keys = Object.keys(given).filter((key) => given[key] !== undefined);
  const [kind] = keys;
  const value = kind === undefined ? undefined : given[kind];
  if (keys.length !== 1) throw invalid(selector);
  if (kind === 'all' && value === true) return { kind, value: '', matches: () => true };
  if (typeof value !== 'string' || value === '') throw invalid(selector);
  if (kind === 'tag') return { kind, value, matches: (entry) => entry.tags.includes(value) };
  if (kind === 'url' && value.startsWith('/'))
    return { kind, value, matches: (entry) => entry.url === value };
  if (kind === 'pattern') {
    const table = compileRoutes({ [value]: true });
    // The table finds nothing for a path that can't be decoded; whether it was meant, nobody can tell.
    return { kind, value, matches: ({ path }) => table.match(path) !== undefined || !isDecodable(path) };
  }
  throw invalid(selector);
}

function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
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
    "selector: expected one of { tag: 'name' }, { url: '/path?query' }, { pattern: '/path/:id' } or { all: true }, " +
      `received ${text ?? String(selector)}`,
  );
}
