import { type Layer, mountTexts, takesNothing, UNKNOWN_MOUNT } from '../exchange/router-layer.js';
import { isHarmless } from '../exchange/uncounted.js';

/** A layer of the router of an app, with what it tells of itself. */
export interface AppLayer extends Layer {
  readonly name?: string;
  readonly handle?: Handle;
  readonly route?: { readonly path?: unknown; readonly stack?: readonly AppLayer[] };
}

type Handle = Layer['handle'] & { readonly length?: number; readonly stack?: readonly AppLayer[] };

export interface AppRouter {
  readonly stack?: readonly AppLayer[];
  readonly caseSensitive?: boolean;
  readonly strict?: boolean;
}

/** An app made by `express()`, of either major. */
export interface CheckedApp {
  get(setting: string): unknown;
  enabled(setting: string): boolean;
  readonly parent?: unknown;
  readonly router?: AppRouter;
  readonly _router?: AppRouter;
}

/** Where something of an app can respond. */
export interface Endpoint {
  /** The full path: of a route, or of a mounted middleware, which may respond to all paths beneath. */
  readonly template: string;
  readonly isMount: boolean;
  /** Another app is mounted there, whose routes are unknown. */
  readonly isSubApp?: boolean;
}

/** The parts of an app that can respond. */
export interface AppEndpoints {
  readonly endpoints: readonly Endpoint[];
  /** Something at the root may respond to any path: a folder of files, an app within the app. */
  readonly hasCatchAll: boolean;
  /** The same, or a handler that responds to all other requests with 404. */
  readonly mayHaveCatchAll: boolean;
}

/** Layers that Express 4 itself mounts first. */
const OF_EXPRESS_4: ReadonlySet<string | undefined> = new Set(['query', 'expressInit']);

/** Marks the routers that a search is in, since one may contain itself. */
type Within = readonly (readonly AppLayer[])[];

/** The layers of a router in a router; none if the search is in it already. */
function innerOf({ handle }: AppLayer, within: Within): readonly AppLayer[] | undefined {
  const stack = handle?.stack;
  return stack && !within.includes(stack) ? stack : undefined;
}

/** The layers that a request passes before a middleware; `undefined` if it is not mounted. */
export function layersBefore(
  stack: readonly AppLayer[],
  middleware: unknown,
  within: Within = [],
): readonly AppLayer[] | undefined {
  const before: AppLayer[] = [];
  const here = [...within, stack];
  for (const layer of stack) {
    if (layer.handle === middleware) return before;
    const inner = innerOf(layer, here) ?? layer.route?.stack;
    const found = inner && layersBefore(inner, middleware, here);
    if (found) return [...before, ...found];
    if (!OF_EXPRESS_4.has(layer.name) && !isHarmless(layer.handle)) before.push(layer);
  }
  return undefined;
}

/** The paths at which a middleware is mounted; empty at the root. */
export function mountsOf(
  stack: readonly AppLayer[],
  middleware: unknown,
  base = '',
  within: Within = [],
): readonly string[] {
  const here = [...within, stack];
  return stack.flatMap((layer) => {
    if (layer.handle === middleware) return pathsOf(layer, base);
    const inner = innerOf(layer, here);
    return inner ? pathsOf(layer, base).flatMap((path) => mountsOf(inner, middleware, path, here)) : [];
  });
}

/** Whether a layer runs another app, whose routes cannot be seen from here. */
function isSubApp({ name }: AppLayer): boolean {
  return name === 'mounted_app';
}

/** Whether the app, or a router in it, mounts another app. */
export function hasSubApp(stack: readonly AppLayer[], within: Within = []): boolean {
  const here = [...within, stack];
  return stack.some((layer) => isSubApp(layer) || hasSubApp(innerOf(layer, here) ?? [], here));
}

/** Whether a layer surely responds to some requests: a route, a router with routes, a folder of files. */
export function responds(layer: AppLayer, within: Within = []): boolean {
  if (layer.route !== undefined || isStatic(layer)) return true;
  const inner = innerOf(layer, within);
  return inner?.some((each) => responds(each, [...within, inner])) === true;
}

/** Describes a layer, for a message. */
export function nameLayer(layer: AppLayer): string {
  if (layer.route) return `the route ${JSON.stringify(String(layer.route.path))}`;
  if (isStatic(layer)) return 'express.static()';
  return layer.handle?.stack ? 'a router' : `the middleware ${JSON.stringify(layer.name ?? '')}`;
}

/** Lists where an app can respond. @param ignored a middleware that does not count: hotpath itself. */
export function endpointsOf(stack: readonly AppLayer[], ignored: unknown): AppEndpoints {
  const found: Endpoint[] = [];
  const roots: AppLayer[] = [];
  collect(stack, '', { found, roots, ignored }, []);
  const hasCatchAll =
    roots.some((layer) => isStatic(layer) || isSubApp(layer)) ||
    found.some(({ template, ...endpoint }) =>
      endpoint.isSubApp ? /[:*{(]/.test(template) : template.startsWith(UNKNOWN_MOUNT),
    );
  // A handler without `next` responds to whatever reaches it.
  const mayHaveCatchAll = hasCatchAll || roots.some(({ handle }) => (handle?.length ?? 3) <= 2);
  return { endpoints: found, hasCatchAll, mayHaveCatchAll };
}

interface Collected {
  readonly found: Endpoint[];
  /** Middlewares at the root. */
  readonly roots: AppLayer[];
  readonly ignored: unknown;
}

function collect(stack: readonly AppLayer[], base: string, all: Collected, within: Within): void {
  const { found, roots, ignored } = all;
  const here = [...within, stack];
  const routers = new Set(stack.flatMap((layer) => (layer.handle?.stack ? pathsOf(layer, base) : [])));
  for (const layer of stack) {
    if (layer.handle === ignored) continue;
    if (layer.route) {
      const paths = [layer.route.path].flat(Number.POSITIVE_INFINITY);
      for (const path of paths) found.push({ template: joinPaths(base, path), isMount: false });
      continue;
    }
    for (const path of pathsOf(layer, base)) {
      const inner = innerOf(layer, here);
      if (inner) collect(inner, path, all, here);
      else if (layer.handle?.stack) continue;
      else if (path === '') roots.push(layer);
      // Before a router at the same path, it is a gate: it decides who may pass.
      else if (isStatic(layer) || isSubApp(layer) || !routers.has(path)) {
        found.push({ template: path, isMount: true, isSubApp: isSubApp(layer) });
      }
    }
  }
}

function pathsOf(layer: AppLayer, base: string): readonly string[] {
  return takesNothing(layer) ? [base] : mountTexts(layer).map((text) => base + text);
}

function joinPaths(base: string, path: unknown): string {
  const text = String(path);
  return base !== '' && text === '/' ? base : base + text;
}

function isStatic({ name }: AppLayer): boolean {
  return name === 'serveStatic';
}
