import type { IncomingMessage } from 'node:http';
import { parse } from 'node:url';

/** What Express's router reads of a request's URL. */
export interface RoutedUrl {
  readonly path: string;
  /** With its `?`; empty for none. */
  readonly search: string;
}

/** Targets without a scheme, a fragment or white space: `url.parse` would not change them. */
const PLAIN = /^\/[^\s#]*$/;

/**
 * Path and query of a request target as Express's router reads them: a target in absolute form without its scheme and
 * authority, and without what follows a `#`. It is the same function that Express uses (the package `parseurl`): rules
 * for a path must hold for whatever is routed to it.
 *
 * @returns an empty path where there is none to route by.
 */
export function readTarget(target: string): RoutedUrl {
  if (PLAIN.test(target)) {
    const at = target.indexOf('?');
    return at < 0 ? { path: target, search: '' } : { path: target.slice(0, at), search: target.slice(at) };
  }
  try {
    const { pathname, search } = parse(target);
    return { path: pathname ?? '', search: search ?? '' };
  } catch {
    return { path: '', search: '' };
  }
}

/** The path that Express routes a request by at present, with the mounts that it is in. */
export function routedPath(req: IncomingMessage): string {
  const { baseUrl = '', url = '/' } = req as IncomingMessage & { baseUrl?: string };
  return baseUrl + readTarget(url).path;
}
