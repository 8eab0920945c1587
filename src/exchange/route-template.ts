import type { IncomingMessage } from 'node:http';
import { reportFault } from '../runtime/report-fault.js';
import {
  type Layer,
  mountPattern,
  pathOfRoute,
  searchMounts,
  searchRoute,
  takesNothing,
  UNKNOWN_MOUNT,
} from './router-layer.js';

/**
 * The route template of a request: `/users/:id/posts/:post`, never the URL.
 *
 * Express keeps the mount pattern to itself (`req.baseUrl` holds the concrete text), so its router is watched:
 * accessors for `baseUrl` and `route`, defined once on the app's own request prototype, see each step that it takes,
 * and the methods by which it runs a layer tell which layer that is.
 */
export const TRACK = Symbol.for('hotpath.route');

/** On prototypes of layers that tell which layer is run. */
const FOLLOWED = Symbol.for('hotpath.layers');

/** A template in memory, in Redis and as a label of a metric. Bytes: routers that contain themselves have no longest. */
export const LONGEST_TEMPLATE = 200;

interface Route {
  path?: unknown;
}

interface Router {
  readonly stack?: readonly Layer[];
}

interface App {
  readonly request?: object;
  /** Express 5; on Express 4 a getter that throws. */
  readonly router?: Router;
  /** Express 4. */
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
  /** Absent until the layer that has taken this part of the path is known. */
  template: string | undefined;
}

class Track {
  baseUrl: string | undefined;
  route: Route | undefined;
  template: string | undefined;
  /** The route that matched last has not been left for a mount, nor its router. */
  isRouted = false;
  readonly #mounts: Mount[] = [];

  /** @returns whether the request has come into a mount that it was not in before. */
  enter(baseUrl: string | undefined): boolean {
    this.baseUrl = baseUrl;
    this.isRouted = false;
    const base = baseUrl ?? '';
    let top = this.#mounts.at(-1);
    while (top && !(base === top.base || base.startsWith(`${top.base}/`))) {
      this.#mounts.pop();
      top = this.#mounts.at(-1);
    }
    if (base.length === (top?.base.length ?? 0)) return false;
    this.#mounts.push({ base, template: undefined });
    return true;
  }

  /** The layer that is run, where it has just taken a part of the path. */
  name(layer: Layer): void {
    const top = this.#mounts.at(-1);
    if (!top || top.template !== undefined || top.base !== this.baseUrl) return;
    const { base, template } = this.#outer;
    const pattern = mountPattern(layer, top.base.slice(base.length));
    if (pattern !== undefined) top.template = template + pattern;
  }

  /** What has taken all of the path so far, of a request that was not followed from its beginning. */
  nameAll(stack: readonly Layer[] | undefined): void {
    const top = this.#mounts.at(-1);
    if (top && this.#mounts.length === 1 && stack) top.template ??= searchMounts(stack, top.base);
  }

  /** The mount around the one that the router is in. */
  get #outer(): { base: string; template: string } {
    const outer = this.#mounts.at(-2);
    if (!outer) return { base: '', template: '' };
    return { base: outer.base, template: outer.template ?? UNKNOWN_MOUNT };
  }

  /** Template of the mount that the router is in. */
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

/** Watches the routing of this request's app from now on. @returns whether there is an app to watch. */
export function trackRoute(req: IncomingMessage): boolean {
  const tracked = req as Tracked;
  const { app } = tracked;
  const prototype = app?.request;
  if (!prototype) return false;
  const isNew = !(TRACK in prototype);
  if (isNew && !install(prototype)) return true;
  handOver(tracked);
  if (isNew) {
    const stack = followLayers(app);
    tracked[TRACK]?.nameAll(stack);
  }
  return true;
}

/** What the router has written on the request itself before the accessors were there (on Express 4) is given to them. */
function handOver(tracked: Tracked): void {
  for (const name of ['baseUrl', 'route'] as const) {
    if (!Object.hasOwn(tracked, name)) continue;
    const value = tracked[name];
    delete tracked[name];
    (tracked as Record<string, unknown>)[name] = value;
  }
}

/** The template of the route that was matched last; `undefined` when none was. */
export function templateOfRequest(req: IncomingMessage): string | undefined {
  const tracked = req as Tracked;
  const track = tracked[TRACK];
  if (track) return track.template;
  return tracked.route && cutTemplate((mountOfRequest(req) ?? '') + pathOfRoute(tracked.route.path));
}

/** Whether a route answers, so far as its router tells: not a middleware that was mounted after it. */
export function isRoutedRequest(req: IncomingMessage): boolean {
  const tracked = req as Tracked;
  return tracked[TRACK]?.isRouted ?? tracked.route !== undefined;
}

/** The template of the path at which whoever answers is mounted; `undefined` at the root. */
export function mountOfRequest(req: IncomingMessage): string | undefined {
  const tracked = req as Tracked;
  if (tracked[TRACK]) return tracked[TRACK].mount;
  return tracked.baseUrl ? UNKNOWN_MOUNT : undefined;
}

/**
 * The template of the route that a request would lead to, for one that is answered before it is routed.
 *
 * @param path by which Express routes it.
 */
export function expectedTemplate(req: IncomingMessage, path: string): string | undefined {
  try {
    const { app, baseUrl } = req as Tracked;
    const stack = (app?._router ?? app?.router)?.stack;
    // Within a mount, the path leads on from there, and the routes around it are those of somebody else.
    if (!stack || baseUrl) return undefined;
    const template = searchRoute(stack, path, (req.method ?? '').toLowerCase());
    return template === undefined ? undefined : cutTemplate(template);
  } catch (error) {
    reportFault('route template', error);
    return undefined;
  }
}

/** True once the router has given up on the request: it then puts back the `baseUrl` of before, which is none. */
export function leftRouter(req: IncomingMessage): boolean {
  return (req as Tracked).baseUrl === undefined;
}

/** A template of at most 200 bytes. */
export function cutTemplate(template: string): string {
  // Three bytes of UTF-8 at most for each unit of UTF-16.
  if (template.length * 3 <= LONGEST_TEMPLATE || Buffer.byteLength(template) <= LONGEST_TEMPLATE)
    return template;
  const bytes = Buffer.from(template);
  let end = LONGEST_TEMPLATE - 3; // of the ellipsis
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
          // The layers of a sub-app may be those of another copy of Express.
          if ((this[TRACK] ??= new Track()).enter(value)) followLayers(this.app);
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
    return false; // a frozen prototype: mounts stay unknown
  }
}

type HandleRequest = (this: Layer, req: Tracked, res: unknown, next: unknown) => unknown;
type HandleError = (this: Layer, error: unknown, req: Tracked, res: unknown, next: unknown) => unknown;
type Handlers = Record<string, HandleRequest & HandleError>;

/** Has the layers of an app's router tell when they are run. @returns them. */
function followLayers(app: App | undefined): readonly Layer[] | undefined {
  const stack = (app?._router ?? app?.router)?.stack;
  const first = stack?.[0];
  if (first) followKind(first);
  return stack;
}

/** All layers of one copy of Express have one prototype. */
function followKind(layer: Layer): void {
  const prototype = Object.getPrototypeOf(layer) as Handlers & { [FOLLOWED]?: boolean };
  if (prototype[FOLLOWED]) return;
  try {
    Object.defineProperty(prototype, FOLLOWED, { value: true });
    // Express 4, and the package `router` of Express 5.
    for (const name of ['handle_request', 'handleRequest']) {
      const handle = prototype[name] as HandleRequest | undefined;
      if (!handle) continue;
      Object.assign(prototype, {
        [name](this: Layer, req: Tracked, res: unknown, next: unknown) {
          follow(this, req);
          return handle.call(this, req, res, next);
        },
      });
    }
    for (const name of ['handle_error', 'handleError']) {
      const handle = prototype[name] as HandleError | undefined;
      if (!handle) continue;
      Object.assign(prototype, {
        [name](this: Layer, error: unknown, req: Tracked, res: unknown, next: unknown) {
          follow(this, req);
          return handle.call(this, error, req, res, next);
        },
      });
    }
  } catch (error) {
    reportFault('route template', error);
  }
}

function follow(layer: Layer, req: Tracked): void {
  if (layer.route !== undefined || takesNothing(layer) || !(TRACK in req)) return;
  try {
    handOver(req);
    req[TRACK]?.name(layer);
    // A router of another copy may be mounted here.
    const inner = layer.handle?.stack?.[0];
    if (inner) followKind(inner);
  } catch (error) {
    reportFault('route template', error);
  }
}
