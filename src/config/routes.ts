import type { RouteParams } from './context.js';

/** The policy found for a path. */
export interface RouteMatch<P> {
  /** The pattern that matched, as written in the config. */
  readonly pattern: string;
  /** What the config says for it. */
  readonly policy: P;
  /** Decoded parameters, on an object without prototype. */
  readonly params: RouteParams;
}

/** Path patterns in the order written; the first that matches wins, as in Express. */
export interface RouteTable<P> {
  /**
   * Finds the policy for a path.
   * @param pathname the path as it came, percent-encoded, without query.
   * @returns `undefined` when nothing matches, or when the path holds a malformed `%` sequence.
   */
  match(pathname: string): RouteMatch<P> | undefined;
  /** How many patterns there are. */
  readonly size: number;
}

export function compileRoutes<P>(_map: Readonly<Record<string, P>>): RouteTable<P> {
  throw new Error('not built yet');
}
