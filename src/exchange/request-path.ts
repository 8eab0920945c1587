import type { IncomingMessage } from 'node:http';
import { parse } from 'node:url';

/** The parts of a request's URL that Express's router reads. */
export interface RoutedUrl {
  readonly path: string;
  /** With its `?`; empty if there is none. */
  readonly search: string;
}

/** Targets without a scheme, a fragment or white space: `url.parse` would not change them. */
const PLAIN = /^\/[^\s#]*$/;

/**
 * Path and query of a request target as Express's router reads them: without scheme and authority of an absolute
 * target, and without a fragment. It uses Express's own parser (the package `parseurl`), so that rules for a path
 * apply to every request that is routed to it.
 *
 * @returns an empty path if the target has none.
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

/** The path by which Express currently routes a request, with its mount paths. */
export function routedPath(req: IncomingMessage): string {
  const { baseUrl = '', url = '/' } = req as IncomingMessage & { baseUrl?: string };
  return baseUrl + readTarget(url).path;
}
