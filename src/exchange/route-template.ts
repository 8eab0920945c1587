import type { IncomingMessage } from 'node:http';
import { reportFault } from '../runtime/report-fault.js';
import {
  type Layer,
  mountPattern,
  pathOfRoute,
  routerOf,
  searchMounts,
  searchRoute,
  takesNothing,
  UNKNOWN_MOUNT,
} from './router-layer.js';

/**
 * The route template of a request: `/users/:id/posts/:post`, never the URL.
 *
 * Express does not expose the mount pattern (`req.baseUrl` has the concrete text), so its router is observed.
 * Accessors for `baseUrl` and `route`, defined once on the app's request prototype, see each step of the router. The
 * patched methods that run a layer show which layer it is.
 */
export const TRACK = Symbol.for('hotpath.route');

/** Marks prototypes of layers whose methods are patched. */
const OBSERVED = Symbol.for('hotpath.layers');

/** Maximum length of a template in memory, in Redis and as a metric label. Bytes. Recursive routers have no limit. */
export const LONGEST_TEMPLATE = 200;

interface Route {
  path?: unknown;
}

interface Router {
  readonly stack?: readonly Layer[];
}

interface App {
  readonly request?: object;
  /** Express 5; on Express 4, a getter that throws. */
  readonly router?: Router;
  /** Express 4; absent before the app's first `use`. */
  readonly _router?: Router;
}

interface Tracked {
  app?: App;
  baseUrl?: string;
  route?: Route;
  [TRACK]?: Track;
}

interface Mount {
  readonly base: string;
  /** `undefined` until the layer that matched this part of the path is known. */
  template: string | undefined;
}

/** The mounts of a request that has entered none. */
const NO_MOUNTS: readonly Mount[] = Object.freeze([]);

class Track {
  baseUrl: string | undefined;
  route: Route | undefined;
  template: string | undefined;
  /** Whether the request is still in the route that matched last: it has left neither it nor its router. */
  isRouted = false;
  /** The layer that is run is a folder of files at the root. */
  isStatic = false;
  #mounts = NO_MOUNTS;

  /** @returns whether the request entered a mount that it was not in before. */
  enter(baseUrl: string | undefined): boolean {
    this.baseUrl = baseUrl;
    this.isRouted = false;
    const base = baseUrl ?? '';
    // Most requests enter none.
    if (base === '' && this.#mounts === NO_MOUNTS) return false;
    const around = this.#mounts.filter((each) => base === each.base || base.startsWith(`${each.base}/`));
    const isNew = base.length !== (around.at(-1)?.base.length ?? 0);
    if (isNew) around.push({ base, template: undefined });
    this.#mounts = around;
    return isNew;
  }

  /** Records the mount pattern of a layer that has just matched a part of the path. */
  name(layer: Layer): void {
    const top = this.#mounts.at(-1);
    if (!top || top.template !== undefined || top.base !== this.baseUrl) return;
    const { base, template } = this.#outer;
    const pattern = mountPattern(layer, top.base.slice(base.length));
    if (pattern !== undefined) top.template = template + pattern;
  }

  /** Records the pattern of the whole mount path, for a request that was not observed from its beginning. */
  nameAll(stack: readonly Layer[] | undefined): void {
    const top = this.#mounts.at(-1);
    if (top && this.#mounts.length === 1 && stack) top.template ??= searchMounts(stack, top.base);
  }

  /** The mount around the router's own. */
  get #outer(): { base: string; template: string } {
    const outer = this.#mounts.at(-2);
    if (!outer) return { base: '', template: '' };
    return { base: outer.base, template: outer.template ?? UNKNOWN_MOUNT };
  }

  /** The template of the router's mount. */
  get mount(): string | undefined {
    const top = this.#mounts.at(-1);
    return top && (top.template ?? this.#outer.template + UNKNOWN_MOUNT);
  }

  match(route: Route | undefined): void {
    this.route = route;
    if (!route) return;
    this.isRouted = true;
    const mount = this.mount ?? '';
    const path = pathOfRoute(route.path);
    this.template = cutTemplate(mount && path === '/' ? mount : mount + path);
  }
}

/** Observes the routing of this request's app from now on. @returns whether the request has an app. */
export function trackRoute(req: IncomingMessage): boolean {
  const tracked = req as Tracked;
  const { app } = tracked;
  const prototype = app?.request;
  if (!prototype) return false;
  const isNew = !(TRACK in prototype);
  if (isNew && !install(prototype)) return true;
  passToAccessors(tracked);
  if (isNew) {
    const stack = observeLayers(app);
    tracked[TRACK]?.nameAll(stack);
  }
  return true;
}

/** Passes values that the router set on the request before the accessors existed (Express 4) to the accessors. */
function passToAccessors(tracked: Tracked): void {
  // An accessor has run, so it takes all values from then on.
  if (tracked[TRACK] !== undefined) return;
  for (const name of ['baseUrl', 'route'] as const) {
    if (!Object.hasOwn(tracked, name)) continue;
    const value = tracked[name];
    delete tracked[name];
    (tracked as Record<string, unknown>)[name] = value;
  }
}

/** The template of the route that matched last; `undefined` if none did. */
export function templateOfRequest(req: IncomingMessage): string | undefined {
  const tracked = req as Tracked;
  const track = tracked[TRACK];
  if (track) return track.template;
  return tracked.route && cutTemplate((mountOfRequest(req) ?? '') + pathOfRoute(tracked.route.path));
}

/** Whether a route responds, as far as its router shows, and not a middleware mounted after it. */
export function isRoutedRequest(req: IncomingMessage): boolean {
  const tracked = req as Tracked;
  return tracked[TRACK]?.isRouted ?? tracked.route !== undefined;
}

/** The template of the mount path of the router or middleware that responds; `undefined` at the root. */
export function mountOfRequest(req: IncomingMessage): string | undefined {
  const tracked = req as Tracked;
  if (tracked[TRACK]) return tracked[TRACK].mount;
  return tracked.baseUrl ? UNKNOWN_MOUNT : undefined;
}

/**
 * The template of the route that a request would match, if it is answered before it is routed.
 *
 * @param path the path by which Express routes it.
 */
export function expectedTemplate(req: IncomingMessage, path: string): string | undefined {
  try {
    const { app, baseUrl } = req as Tracked;
    const stack = app && routerOf(app)?.stack;
    // Within a mount, the path continues from there, and the outer routes belong to another router.
    if (!stack || baseUrl) return undefined;
    const template = searchRoute(stack, path, (req.method ?? '').toLowerCase());
    return template === undefined ? undefined : cutTemplate(template);
  } catch (error) {
    reportFault('route template', error);
    return undefined;
  }
}

/**
 * The path at which a mounted middleware is responding: `/graphql` for `app.use('/graphql', handler)`, `/` for
 * `express.static()` at the root. `undefined` while a route responds, or another middleware at the root.
 */
export function respondingMount(req: IncomingMessage): string | undefined {
  if (leftRouter(req) || isRoutedRequest(req)) return undefined;
  const track = (req as Tracked)[TRACK];
  return track && (track.mount ?? (track.isStatic ? '/' : undefined));
}

/**
 * Whether the router has finished without a response: it then restores the `baseUrl` from before, which is
 * `undefined`.
 */
export function leftRouter(req: IncomingMessage): boolean {
  return (req as Tracked).baseUrl === undefined;
}

/** Stands for the route of requests that matched none. */
const UNMATCHED_ROUTE = 'unmatched';

/** Stands for routes beyond the maximum number of routes. */
export const OVERFLOW_ROUTE = 'overflow';

/** The template as it is counted. Entries from Redis may have a long one, from another version. */
export function nameRoute(template: string | undefined): string {
  return template === undefined ? UNMATCHED_ROUTE : cutTemplate(template);
}

/** Shortens a template to at most 200 bytes. */
export function cutTemplate(template: string): string {
  // Each UTF-16 unit has at most three bytes in UTF-8.
  if (template.length * 3 <= LONGEST_TEMPLATE || Buffer.byteLength(template) <= LONGEST_TEMPLATE)
    return template;
  const bytes = Buffer.from(template);
  let end = LONGEST_TEMPLATE - 3; // the ellipsis
  while ((bytes[end]! & 0xc0) === 0x80) end--; // within a character
  return `${bytes.toString('utf8', 0, end)}…`;
}

function install(prototype: object): boolean {
  try {
    Object.defineProperties(prototype, {
      [TRACK]: { value: undefined, writable: true, configurable: true },
      baseUrl: {
        configurable: true,
        enumerable: true,
        get(this: Tracked) {
          return this[TRACK]?.baseUrl;
        },
        set(this: Tracked, value: string | undefined) {
          // The layers of a sub-app may come from another copy of Express.
          if ((this[TRACK] ??= new Track()).enter(value)) observeLayers(this.app);
        },
      },
      route: {
        configurable: true,
        enumerable: true,
        get(this: Tracked) {
          return this[TRACK]?.route;
        },
        set(this: Tracked, value: Route | undefined) {
          (this[TRACK] ??= new Track()).match(value);
        },
      },
    });
    return true;
  } catch {
    return false; // the prototype is frozen, so mounts stay unknown
  }
}

type HandleRequest = (this: Layer, req: Tracked, res: unknown, next: unknown) => unknown;
type HandleError = (this: Layer, error: unknown, req: Tracked, res: unknown, next: unknown) => unknown;
type Handlers = Record<string, HandleRequest & HandleError>;

/** Patches the layers of an app's router, so that they report when they run. @returns the layers. */
function observeLayers(app: App | undefined): readonly Layer[] | undefined {
  const stack = app && routerOf(app)?.stack;
  const first = stack?.[0];
  if (first) observePrototype(first);
  return stack;
}

/** All layers of one copy of Express share one prototype. */
function observePrototype(layer: Layer): void {
  const prototype = Object.getPrototypeOf(layer) as Handlers & { [OBSERVED]?: boolean };
  if (prototype[OBSERVED]) return;
  try {
    Object.defineProperty(prototype, OBSERVED, { value: true });
    // Express 4, and the package `router` of Express 5.
    for (const name of ['handle_request', 'handleRequest']) {
      const handle = prototype[name] as HandleRequest | undefined;
      if (!handle) continue;
      Object.assign(prototype, {
        [name](this: Layer, req: Tracked, res: unknown, next: unknown) {
          observeLayer(this, req);
          return handle.call(this, req, res, next);
        },
      });
    }
    for (const name of ['handle_error', 'handleError']) {
      const handle = prototype[name] as HandleError | undefined;
      if (!handle) continue;
      Object.assign(prototype, {
        [name](this: Layer, error: unknown, req: Tracked, res: unknown, next: unknown) {
          observeLayer(this, req);
          return handle.call(this, error, req, res, next);
        },
      });
    }
  } catch (error) {
    reportFault('route template', error);
  }
}

function observeLayer(layer: Layer, req: Tracked): void {
  if (layer.route !== undefined || !(TRACK in req)) return;
  if (takesNothing(layer)) {
    const track = req[TRACK];
    if (track) track.isStatic = layer.name === 'serveStatic';
    return;
  }
  try {
    passToAccessors(req);
    req[TRACK]?.name(layer);
    // A router from another copy of Express may be mounted here.
    const inner = layer.handle?.stack?.[0];
    if (inner) observePrototype(inner);
  } catch (error) {
    reportFault('route template', error);
  }
}
