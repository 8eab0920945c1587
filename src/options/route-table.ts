import { type MatchFunction, match, type ParamData, parse, pathToRegexp, type Token } from 'path-to-regexp';
import { warn } from '../runtime/warn.js';
import { type ConfigProblem, configError } from './errors.js';
import { joinPath } from './format-value.js';
import type { RouteParams } from './request-types.js';
import type { Validator } from './validation-result.js';

/** The policy found for a path. */
export interface RouteMatch<P> {
  /** The pattern that matched, as written in the config. */
  readonly pattern: string;
  /** The policy of the pattern. */
  readonly policy: P;
  /** Decoded parameters, on a frozen object without prototype. An undecodable one is unchanged. */
  readonly params: RouteParams;
}

/** Path patterns in the order written; the first match wins, as in Express. */
export interface RouteTable<P> {
  /**
   * Finds the policy for a path.
   * @param pathname the percent-encoded path, without query.
   * @returns `undefined` when nothing matches. A malformed `%` sequence can match: Express answers 400 only
   * where a route has a parameter in its place.
   */
  match(pathname: string): RouteMatch<P> | undefined;
  /** The number of patterns. */
  readonly size: number;
  /** The patterns as written in the config, in order. */
  readonly patterns: readonly string[];
  /** Their policies, in the order of the patterns. */
  readonly policies: readonly P[];
}

/** Reads a path pattern, or explains why it is invalid. */
export const readPattern: Validator<string> = (input) => {
  const syntax =
    "a path in Express 5 syntax, such as '/api/products/:id', '/assets/*path' or '/docs{/:page}'";
  if (typeof input !== 'string' || !/^[/{*]/.test(input)) return { expected: `${syntax}, starting with '/'` };
  try {
    compilePattern(input);
    return { value: input };
  } catch (error) {
    const named = "name each wildcard ('*path'), and write optional parts in braces";
    return { expected: `${syntax}: ${named} (${reasonOf(error, input)})` };
  }
};

/**
 * Compiles path patterns. As in Express by default, case does not matter and a trailing slash is optional.
 * @param map policies by pattern, in Express 5 syntax, in matching order.
 * @param path the path of the map in the config, for messages.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every pattern that can't be compiled.
 */
export function compileRoutes<P>(map: Readonly<Record<string, P>>, path = 'routes'): RouteTable<P> {
  const problems: ConfigProblem[] = [];
  const routes: CompiledRoute<P>[] = [];
  for (const [pattern, policy] of Object.entries(map)) {
    const reading = readPattern(pattern);
    if ('value' in reading) routes.push({ pattern, policy, ...compilePattern(pattern) });
    else problems.push({ path: joinPath(path, pattern), message: `expected ${reading.expected}` });
  }
  if (problems.length > 0) throw configError(problems);
  warnOfShadowed(routes, path);
  // A request looks up its path several times. No `Map`, because of its cost described at `TransientMap`.
  const paths = new Array<string | undefined>(RECENT).fill(undefined);
  const matches = new Array<RouteMatch<P> | undefined>(RECENT).fill(undefined);
  const find = (pathname: string): RouteMatch<P> | undefined => {
    for (const route of routes) {
      if (!route.regexp.test(pathname)) continue;
      return new FoundRoute(route, pathname);
    }
    return undefined;
  };
  return Object.freeze({
    size: routes.length,
    patterns: Object.freeze(routes.map(({ pattern }) => pattern)),
    policies: Object.freeze(routes.map(({ policy }) => policy)),
    match(pathname: string): RouteMatch<P> | undefined {
      const slot = slotOf(pathname);
      if (paths[slot] !== pathname) {
        matches[slot] = find(pathname);
        paths[slot] = pathname;
      }
      return matches[slot];
    },
  });
}

/** Warns of each pattern all of whose paths an earlier pattern takes. */
function warnOfShadowed(routes: readonly CompiledRoute<unknown>[], path: string): void {
  for (const [at, { pattern }] of routes.entries()) {
    const examples = at > 0 ? examplePaths(withoutTrailingSlash(pattern)) : [];
    const earlier = routes
      .slice(0, at)
      .find(({ regexp }) => examples.length > 0 && examples.every((example) => regexp.test(example)));
    if (!earlier) continue;
    warn(
      'HOTPATH_RULE_SHADOWED',
      `${joinPath(path, pattern)} has no effect: ${joinPath(path, earlier.pattern)} comes before it and matches all ` +
        `of its paths, and the first match wins; move ${JSON.stringify(pattern)} before ${JSON.stringify(earlier.pattern)}`,
    );
  }
}

/** More optional parts than a real path has; such a pattern is not checked. */
const MOST_EXAMPLES = 64;

/** Paths that a pattern matches, one of each form: a pattern that matches all of them matches all of its paths. */
function examplePaths(pattern: string): readonly string[] {
  const expand = (tokens: readonly Token[]): string[] => {
    let paths = [''];
    for (const token of tokens) {
      const parts =
        token.type === 'text'
          ? [token.value]
          : token.type === 'group'
            ? ['', ...expand(token.tokens)]
            : token.type === 'param'
              ? [EXAMPLE]
              : [EXAMPLE, `${EXAMPLE}/${EXAMPLE}`];
      paths = paths.flatMap((start) => parts.map((part) => start + part)).slice(0, MOST_EXAMPLES + 1);
    }
    return paths;
  };
  const paths = expand(parse(pattern).tokens).map((each) => each || '/');
  return paths.length > MOST_EXAMPLES ? [] : paths;
}

/** A segment that no pattern spells out. */
const EXAMPLE = 'q0hotpath0q';

interface CompiledRoute<P> {
  readonly pattern: string;
  readonly policy: P;
  readonly regexp: RegExp;
  readonly matches: MatchFunction<ParamData>;
}

/** A path under its route. Parameters are decoded on first use, because most are never used. */
class FoundRoute<P> implements RouteMatch<P> {
  readonly #route: CompiledRoute<P>;
  readonly #pathname: string;
  #params: RouteParams | undefined;

  constructor(route: CompiledRoute<P>, pathname: string) {
    this.#route = route;
    this.#pathname = pathname;
  }

  get pattern(): string {
    return this.#route.pattern;
  }

  get policy(): P {
    return this.#route.policy;
  }

  get params(): RouteParams {
    if (!this.#params) {
      const found = this.#route.matches(this.#pathname);
      this.#params = frozen(found ? found.params : Object.create(null));
    }
    return this.#params;
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Number of remembered paths: a power of two. */
const RECENT = 64;

/** Hashes length and end, where the paths of one time differ. */
function slotOf(path: string): number {
  const { length } = path;
  const mixed = length * 961 + path.charCodeAt(length - 1) * 31 + path.charCodeAt(length - 2);
  return mixed & (RECENT - 1);
}

/** Freezes parameters, because several middlewares receive the same object. */
function frozen(params: ParamData): RouteParams {
  for (const value of Object.values(params)) if (typeof value === 'object') Object.freeze(value);
  return Object.freeze(params) as RouteParams;
}

function compilePattern(pattern: string): Pick<CompiledRoute<unknown>, 'regexp' | 'matches'> {
  // Express drops the trailing slash of a pattern before it compiles it, except for the root.
  const path = withoutTrailingSlash(pattern);
  return { regexp: pathToRegexp(path).regexp, matches: match(path, { decode }) };
}

function withoutTrailingSlash(pattern: string): string {
  return pattern === '/' ? pattern : pattern.replace(/\/+$/, '');
}

function reasonOf(error: unknown, pattern: string): string {
  const [reason = ''] = error instanceof Error ? error.message.split(`: ${pattern.replace(/\/+$/, '')}`) : [];
  return reason.charAt(0).toLowerCase() + reason.slice(1);
}
