/**
 * The mount pattern of a layer of Express's router, as the app wrote it. Express does not expose it, and each version
 * keeps it in another form.
 */
export interface Layer {
  readonly handle?: { readonly stack?: readonly Layer[] };
  readonly route?: RouteOfLayer | undefined;
  readonly name?: string;
  /** The package `router` 2, used by Express 5: mounted at `/`. */
  readonly slash?: boolean;
  /** `router` since 2.3: the path as the app wrote it; several paths are a flat list. */
  readonly rawPath?: unknown;
  /** `router` 2: one function per path. */
  readonly matchers?: readonly Matcher[];
  /** Express 4. */
  readonly regexp?: RegExp & { readonly fast_slash?: boolean };
  readonly keys?: readonly { readonly name: string | number }[];
}

/** A route of `router` 2 or of Express 4. */
interface RouteOfLayer {
  readonly path?: unknown;
  /** By method, in lower case; `_all` for every method. */
  readonly methods?: Readonly<Record<string, boolean | undefined>>;
}

type Matcher = (path: string) => { readonly path: string; readonly params: Params } | false;
type Params = Readonly<Record<string, unknown>>;

/** One of the paths of a layer. */
interface Pattern {
  /** The part of a path that it matches; `undefined` if none. */
  consume(path: string): string | undefined;
  /** @param part the matched part. */
  textFor(part: string): string;
}

/** Replaces a mount pattern that is not known. */
export const UNKNOWN_MOUNT = '/*';

/** Computed once per layer. */
const known = new WeakMap<Layer, readonly Pattern[]>();

/** The router of an app; `undefined` before an app of Express 4 has one. There, `app.router` throws. */
export function routerOf<Router>(app: {
  readonly router?: Router;
  readonly _router?: Router;
}): Router | undefined {
  return app._router ?? ('lazyrouter' in app ? undefined : app.router);
}

/** Whether a layer matches no part of the path. */
export function takesNothing({ slash, regexp }: Layer): boolean {
  return slash === true || regexp?.fast_slash === true;
}

/**
 * The pattern with which a layer matched a part of a path.
 *
 * @param part the matched part, without a trailing slash.
 * @returns `undefined` if the layer does not match it.
 */
export function mountPattern(layer: Layer, part: string): string | undefined {
  const pattern = patternsOf(layer).find((each) => each.consume(part) === part);
  return pattern?.textFor(part);
}

/**
 * The patterns of the mounts that together matched a part of a path, for a request that was not observed from its
 * beginning.
 */
export function searchMounts(stack: readonly Layer[], part: string): string | undefined {
  for (const layer of stack) {
    if (layer.route !== undefined) continue;
    const inner = layer.handle?.stack;
    if (takesNothing(layer)) {
      const found = inner && searchMounts(inner, part);
      if (found !== undefined) return found;
      continue;
    }
    for (const pattern of patternsOf(layer)) {
      const taken = pattern.consume(part);
      if (taken === part) return pattern.textFor(part);
      if (!taken || !inner || !part.startsWith(`${taken}/`)) continue;
      const rest = searchMounts(inner, part.slice(taken.length));
      if (rest !== undefined) return pattern.textFor(taken) + rest;
    }
  }
  return undefined;
}

/** Maximum depth of nested routers, because a router may contain itself. */
const DEEPEST_ROUTER = 16;

/**
 * The template of the route that a request would match, if it is answered before it is routed. Routes of mounted apps
 * are not found.
 *
 * @param method in lower case.
 */
export function searchRoute(
  stack: readonly Layer[],
  path: string,
  method: string,
  depth = 0,
): string | undefined {
  if (depth > DEEPEST_ROUTER) return undefined;
  for (const layer of stack) {
    const { route } = layer;
    const found = route
      ? takesWhole(layer, path) && (route.methods?.[method] || route.methods?._all)
        ? pathOfRoute(route.path)
        : undefined
      : searchRouter(layer, path, method, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

function takesWhole(layer: Layer, path: string): boolean {
  return patternsOf(layer).some((pattern) => pattern.consume(path) === withoutTrailingSlash(path));
}

function searchRouter(layer: Layer, path: string, method: string, depth: number): string | undefined {
  const inner = layer.handle?.stack;
  if (!inner) return undefined;
  if (takesNothing(layer)) return searchRoute(inner, path, method, depth);
  for (const pattern of patternsOf(layer)) {
    const taken = pattern.consume(path);
    if (!taken || !`${path}/`.startsWith(`${taken}/`)) continue;
    const rest = searchRoute(inner, path.slice(taken.length) || '/', method, depth);
    if (rest !== undefined) return pattern.textFor(taken) + (rest === '/' ? '' : rest);
  }
  return undefined;
}

/** The path of a route as the app wrote it; several paths are joined. */
export function pathOfRoute(path: unknown): string {
  if (typeof path === 'string') return path;
  return Array.isArray(path) ? path.flat(Number.POSITIVE_INFINITY).map(String).join(' ') : String(path ?? '');
}

/**
 * The patterns that a layer is mounted under, as the app wrote them: `/api/:tenant`. An older `router` keeps none of
 * them; then `UNKNOWN_MOUNT`.
 */
export function mountTexts(layer: Layer): readonly string[] {
  if (layer.matchers && layer.rawPath === undefined) return [UNKNOWN_MOUNT];
  return patternsOf(layer).map((pattern) => pattern.textFor(''));
}

function patternsOf(layer: Layer): readonly Pattern[] {
  let patterns = known.get(layer);
  if (!patterns) known.set(layer, (patterns = readPatterns(layer)));
  return patterns;
}

function readPatterns({ rawPath, matchers, regexp, keys }: Layer): readonly Pattern[] {
  if (matchers) {
    const paths = Array.isArray(rawPath) ? rawPath : [rawPath];
    return matchers.map((matcher, at) => ({
      consume: (path) => withoutTrailingSlash(resultOf(matcher, path)?.path),
      textFor: (part) => (paths[at] === undefined ? findTextByProbing(matcher, part) : textOf(paths[at])),
    }));
  }
  return regexp ? readRegExp(regexp, keys ?? []) : [];
}

function textOf(path: unknown): string {
  return typeof path === 'string' ? path.replace(/\/$/, '') : String(path);
}

function withoutTrailingSlash(path: string | undefined): string | undefined {
  return path?.endsWith('/') ? path.slice(0, -1) : path;
}

/** A parameter that can't be decoded makes a matcher throw. */
function resultOf(matcher: Matcher, path: string): { path: string; params: Params } | undefined {
  try {
    return matcher(path) || undefined;
  } catch {
    return undefined;
  }
}

/** The end of the expressions that Express 4 (`path-to-regexp` 0.1) makes from mount paths. */
const END_OF_MOUNT = /(?:\\\/\?)?\(\?=\\\/\|\$\)$/;

function readRegExp(regexp: RegExp, keys: NonNullable<Layer['keys']>): readonly Pattern[] {
  // Several paths are alternatives of one expression, with one list of keys.
  const names = keys.map(({ name }) => name);
  try {
    return regexp.source.split(/\|(?=\^)/).map((alternative) => {
      const each = new RegExp(alternative, regexp.flags);
      const groups = names.splice(0, new RegExp(`${alternative}|`).exec('')!.length - 1);
      const isPath = END_OF_MOUNT.test(alternative);
      return patternFor(each, isPath ? textOfSource(alternative, groups) : String(each));
    });
  } catch {
    return [patternFor(regexp, String(regexp))]; // an expression from the app that can't be split
  }
}

function patternFor(regexp: RegExp, text: string): Pattern {
  return {
    consume(path) {
      regexp.lastIndex = 0;
      return withoutTrailingSlash(regexp.exec(path)?.[0]);
    },
    textFor: () => text,
  };
}

/** Converts an expression of Express 4 back to the path it was made from. @param groups names of its groups. */
function textOfSource(expression: string, groups: readonly (string | number)[]): string {
  const source = expression.replace(/^\^/, '').replace(END_OF_MOUNT, '');
  const names = [...groups];
  let text = '';
  for (let at = 0; at < source.length; at++) {
    const character = source[at]!;
    if (character === '\\') {
      const next = source[++at] ?? '';
      text += /\w/.test(next) ? `\\${next}` : next;
    } else if (character === '(') {
      if (source.startsWith('(?:', at)) {
        at += 2; // the group around a parameter and its slash
        continue;
      }
      const end = endOfGroup(source, at);
      if (source[at + 1] !== '?') {
        const name = names.shift();
        text += typeof name === 'string' ? `:${name}` : '*';
      }
      at = end;
    } else if (character !== ')') text += character;
  }
  return text;
}

function endOfGroup(source: string, start: number): number {
  let depth = 0;
  let isInClass = false;
  for (let at = start; at < source.length; at++) {
    const character = source[at];
    if (character === '\\') at++;
    else if (isInClass) isInClass = character !== ']';
    else if (character === '[') isInClass = true;
    else if (character === '(') depth++;
    else if (character === ')' && --depth === 0) return at;
  }
  return source.length;
}

/** A text that occurs in no real path. */
const PROBE = 'q0hotpath0q';

/**
 * Finds the pattern of a matcher of `router` before 2.3, which does not keep it: each segment is replaced to see which
 * parameter changes. Other segments are returned in lower case, because such matchers usually ignore case.
 */
function findTextByProbing(matcher: Matcher, part: string): string {
  // The pattern of a regular expression can't be found.
  if (matcher.name !== 'match') return UNKNOWN_MOUNT;
  const segments = part.split('/');
  const names = segments.map((segment, at) => {
    if (segment === '') return segment;
    const withProbe = (probe: string) =>
      resultOf(matcher, [...segments.slice(0, at), probe, ...segments.slice(at + 1)].join('/'))?.params;
    for (const probe of [PROBE, segment + PROBE, PROBE + segment]) {
      const name = nameOfProbe(withProbe(probe));
      if (name !== undefined) return name;
    }
    return segment.toLowerCase();
  });
  return names.filter((name, at) => at === 0 || name !== names[at - 1] || !name.startsWith('*')).join('/');
}

function nameOfProbe(params: Params | undefined): string | undefined {
  for (const [name, value] of Object.entries(params ?? {})) {
    if (typeof value === 'string' && value.includes(PROBE)) return `:${name}`;
    if (Array.isArray(value) && value.some((each) => String(each).includes(PROBE))) return `*${name}`;
  }
  return undefined;
}
