import type { IncomingMessage } from 'node:http';

/**
 * The route template of a request: `/users/:id/posts/:post`, never the URL.
 *
 * Express keeps the mount pattern to itself (`req.baseUrl` holds the concrete text), so it is watched:
 * accessors for `baseUrl` and `route`, defined once on the app's own request prototype, see each step that
 * the router takes. At a mount, `req.params` holds that layer's parameters; the segments that equal one of
 * them become `:name` again.
 */
export const TRACK = Symbol.for('hotpath.route');

interface Route {
  path?: unknown;
}

interface Tracked {
  app?: { request?: object };
  baseUrl?: string;
  route?: Route;
  params?: Record<string, unknown>;
  [TRACK]?: Track;
}

class Track {
  baseUrl: string | undefined;
  route: Route | undefined;
  template: string | undefined;
  /** The route that matched last has not been left for a mount, nor its router. */
  isRouted = false;
  readonly #bases: { base: string; template: string }[] = [];

  enter(baseUrl: string | undefined, params: Record<string, unknown> | undefined): void {
    this.baseUrl = baseUrl;
    this.isRouted = false;
    const base = baseUrl ?? '';
    let top = this.#bases.at(-1);
    while (top && !(base === top.base || base.startsWith(`${top.base}/`))) {
      this.#bases.pop();
      top = this.#bases.at(-1);
    }
    const known = top?.base ?? '';
    if (base.length === known.length) return;
    const template = (top?.template ?? '') + templateOf(base.slice(known.length), params);
    this.#bases.push({ base, template });
  }

  /** Template of the mount that the router is in. */
  get mount(): string | undefined {
    return this.#bases.at(-1)?.template;
  }

  match(route: Route | undefined): void {
    this.route = route;
    if (!route) return;
    const base = this.#bases.at(-1)?.template ?? '';
    const path = pathOf(route.path);
    this.isRouted = true;
    this.template = base && path === '/' ? base : base + path;
  }
}

/** Watches the routing of this request's app from now on. @returns whether there is an app to watch. */
export function trackRoute(req: IncomingMessage): boolean {
  const tracked = req as Tracked;
  const prototype = tracked.app?.request;
  if (!prototype) return false;
  if (!(TRACK in prototype) && !install(prototype)) return true;
  // The router had already written these on the request itself: hand them to the accessors.
  for (const name of ['baseUrl', 'route'] as const) {
    if (!Object.hasOwn(tracked, name)) continue;
    const value = tracked[name];
    delete tracked[name];
    (tracked as Record<string, unknown>)[name] = value;
  }
  return true;
}

/** The template of the route that was matched last; `undefined` when none was. */
export function templateOfRequest(req: IncomingMessage): string | undefined {
  const tracked = req as Tracked;
  const track = tracked[TRACK];
  if (track) return track.template;
  return tracked.route ? (tracked.baseUrl ?? '') + pathOf(tracked.route.path) : undefined;
}

/** Whether a route answers, so far as its router tells: not a middleware that was mounted after it. */
export function isRoutedRequest(req: IncomingMessage): boolean {
  const tracked = req as Tracked;
  return tracked[TRACK]?.isRouted ?? tracked.route !== undefined;
}

/** The template of the path at which whoever answers is mounted; `undefined` at the root. */
export function mountOfRequest(req: IncomingMessage): string | undefined {
  const tracked = req as Tracked;
  return tracked[TRACK] ? tracked[TRACK].mount : tracked.baseUrl || undefined;
}

/** True once the router has given up on the request: it then puts back the `baseUrl` of before, which is none. */
export function leftRouter(req: IncomingMessage): boolean {
  return (req as Tracked).baseUrl === undefined;
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
          (this[TRACK] ??= new Track()).enter(value, this.params);
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
    return false; // a frozen prototype: the concrete baseUrl has to do
  }
}

function pathOf(path: unknown): string {
  if (typeof path === 'string') return path;
  return Array.isArray(path) ? path.map(String).join(' ') : String(path ?? '');
}

/** The part of a URL that a mount consumed, with the values of its parameters put back to their names. */
function templateOf(part: string, params: Record<string, unknown> | undefined): string {
  if (!params) return part;
  const names = Object.keys(params);
  if (names.length === 0) return part;
  const segments = part.split('/');
  const decoded = segments.map(decode);
  for (const name of names) {
    const value = params[name];
    if (value === undefined || value === '') continue;
    const wanted = Array.isArray(value) ? value.map(String) : String(value).split('/');
    const at = find(decoded, wanted);
    // A parameter may be a part of its segment: `/v:version`.
    if (at < 0 && wanted.length === 1) {
      const part = decoded.findIndex((segment, i) => i > 0 && segment.includes(wanted[0]!));
      if (part > 0) segments[part] = decoded[part] = decoded[part]!.replace(wanted[0]!, () => `:${name}`);
    }
    if (at < 0) continue;
    const wild = Array.isArray(value) || wanted.length > 1;
    segments.splice(at, wanted.length, wild ? `*${name}` : `:${name}`);
    decoded.splice(at, wanted.length, '');
  }
  return segments.join('/');
}

function find(segments: readonly string[], wanted: readonly string[]): number {
  for (let at = 1; at + wanted.length <= segments.length; at++) {
    if (wanted.every((value, i) => segments[at + i] === value)) return at;
  }
  return -1;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
