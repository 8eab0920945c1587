import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf } from '../../exchange/exchange.js';
import type { EditableHead, ResponseHeaders } from '../../exchange/response-head.js';
import { reportFault } from '../../exchange/run-listeners.js';
import { formatCacheControl } from '../../http/cache-control.js';
import { formatHttpDate, parseHttpDate } from '../../http/http-date.js';
import type { RouteTable } from '../../options/route-table.js';
import {
  type CacheControlRoutePolicies,
  type CacheControlSettings,
  type ResolvedCacheControl,
  resolveCacheControlStandalone,
  type StandaloneCacheControlOptions,
} from './options.js';

/** Sets the `Cache-Control` of a route on responses that set no caching headers. */
export type CacheControlMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/** Makes two copies of the package edit a response only once. */
const EDITOR = Symbol.for('hotpath.cache-control');

/**
 * The Cache-Control middleware, alone.
 *
 * A response whose handler set `Cache-Control`, `Expires` or `Pragma: no-cache` stays unchanged. Others get
 * the policy of their route, or the default, restricted as follows:
 * - an error (400 and above) gets `no-store`, whatever the policy;
 * - a method other than GET and HEAD, and a temporary redirect, get no lifetime;
 * - a response with `Set-Cookie`, or to a request with credentials (`Authorization`, `Proxy-Authorization`,
 * `X-Api-Key`), becomes `private` and keeps its `max-age`. So does one to a request with a cookie, unless the
 * policy sets `public` or `sMaxage`.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options.
 */
export function cacheControl(options?: StandaloneCacheControlOptions): CacheControlMiddleware {
  const { settings, routes } = resolveCacheControlStandalone(options);
  return createCacheControl(settings, routes);
}

/** @internal Applies the middleware to a response head that is sent without Express. */
export interface CacheControlEditor {
  edit(heading: EditableHead): void;
}

/** Creates the middleware from resolved settings and a route table. */
export function createCacheControl(
  settings: CacheControlSettings,
  routes: RouteTable<CacheControlRoutePolicies>,
): CacheControlMiddleware & CacheControlEditor {
  const forms = new WeakMap<ResolvedCacheControl, PolicyForms>();
  const formsOf = (heading: EditableHead): PolicyForms | undefined => {
    const policy = heading.match(routes)?.policy.cacheControl ?? settings.default;
    if (!policy) return undefined;
    let found = forms.get(policy);
    if (!found) forms.set(policy, (found = new PolicyForms(policy)));
    return found;
  };
  const cacheControlMiddleware: CacheControlMiddleware = function cacheControlMiddleware(req, res, next) {
    try {
      const exchange = exchangeOf(req, res);
      const found = exchange.dataOf(EDITOR) as Editor | undefined;
      // If the middleware is mounted twice, the inner one decides. The headers are still edited once.
      if (found) found.formsOf = formsOf;
      else {
        const editor = new Editor(formsOf);
        exchange.setData(EDITOR, editor);
        exchange.onHead((heading) => editor.edit(heading));
      }
    } catch (error) {
      reportFault('cache-control', error);
    }
    next();
  };
  return Object.assign(cacheControlMiddleware, {
    edit: (heading: EditableHead) => new Editor(formsOf).edit(heading),
  });
}

/** The header of a policy in each situation, computed once. */
class PolicyForms {
  readonly full: HeaderForm;
  /** For the client's own cache only. */
  readonly personal: HeaderForm;
  /** Without a lifetime. */
  readonly withoutLifetime: HeaderForm;
  /** For the client's own cache only, without a lifetime. */
  readonly personalWithoutLifetime: HeaderForm;
  /**
   * Whether the policy itself declares the response public, so that a request cookie does not restrict it.
   */
  readonly isForAll: boolean;
  readonly isAsCached: boolean;

  constructor(policy: ResolvedCacheControl) {
    this.isAsCached = policy.asCached === true;
    const { public: _, sMaxage: __, proxyRevalidate: ___, immutable: ____, ...rest } = policy;
    // Caches that support must-understand ignore the no-store beside it.
    const isStored = !policy.noStore || policy.mustUnderstand;
    const withoutLifetime: ResolvedCacheControl = policy.noStore ? { noStore: true } : { noCache: true };
    this.full = buildHeaderForm(policy);
    this.personal = buildHeaderForm(isStored ? { ...rest, private: true } : rest);
    this.withoutLifetime = buildHeaderForm(
      policy.private ? { ...withoutLifetime, private: true } : withoutLifetime,
    );
    this.personalWithoutLifetime = buildHeaderForm(
      policy.noStore ? withoutLifetime : { ...withoutLifetime, private: true },
    );
    this.isForAll = policy.public === true || policy.sMaxage !== undefined;
  }
}

interface HeaderForm {
  readonly value: string;
  /** Seconds from `Date` to `Expires`; `undefined`: no `Expires`. */
  readonly expires?: number | undefined;
}

function buildHeaderForm(policy: ResolvedCacheControl): HeaderForm {
  // HTTP/1.0 caches read only `Expires`, so it must not allow more than `Cache-Control`.
  const lasting = !(policy.private || policy.noCache || policy.noStore);
  return { value: formatCacheControl(policy), expires: lasting ? policy.maxAge : undefined };
}

const NO_STORE: HeaderForm = { value: 'no-store' };

class Editor {
  formsOf: (heading: EditableHead) => PolicyForms | undefined;
  /** The headers that were set, to recognise them if sending failed and an error handler responds instead. */
  #set: [name: string, value: string][] | undefined;

  constructor(formsOf: (heading: EditableHead) => PolicyForms | undefined) {
    this.formsOf = formsOf;
  }

  edit(heading: EditableHead): void {
    const { req, res } = heading;
    this.#undo(res);
    if (hasCacheDirectives(res)) return;
    const forms = this.formsOf(heading);
    if (!forms) return;
    const form = chooseForm(forms, req, res);
    if (!form?.value) return;
    const isLasting = form === forms.full || form === forms.personal;
    const lifetime = forms.isAsCached && isLasting ? heading.lifetime : undefined;
    if (lifetime !== undefined) {
      const isPersonal = form === forms.personal;
      return this.#put(
        res,
        'Cache-Control',
        `${isPersonal ? 'private, ' : ''}max-age=${Math.floor(lifetime)}`,
      );
    }
    this.#put(res, 'Cache-Control', form.value);
    if (form.expires === undefined) return;
    const date = res.getHeader('Date');
    let now = date === undefined ? undefined : parseHttpDate(String(date));
    if (now === undefined) {
      if (!res.sendDate) return;
      now = Date.now();
      // Otherwise Node would read the clock again, and the two could differ by a second.
      this.#put(res, 'Date', formatHttpDate(now));
    }
    this.#put(res, 'Expires', formatHttpDate(now + form.expires * 1000));
  }

  #put(res: ResponseHeaders, name: string, value: string): void {
    res.setHeader(name, value);
    (this.#set ??= []).push([name, value]);
  }

  #undo(res: ResponseHeaders): void {
    if (!this.#set) return;
    for (const [name, value] of this.#set) if (res.getHeader(name) === value) res.removeHeader(name);
    this.#set = undefined;
  }
}

/** The strictest form that applies; `undefined` leaves the response unchanged. */
function chooseForm(forms: PolicyForms, req: IncomingMessage, res: ResponseHeaders): HeaderForm | undefined {
  const { statusCode } = res;
  if (statusCode >= 400) return NO_STORE;
  if (statusCode < 200) return undefined;
  const { headers, method } = req;
  const isPersonal =
    res.hasHeader('set-cookie') ||
    hasCredentials(headers) ||
    (headers.cookie !== undefined && !forms.isForAll);
  // The target of a temporary redirect, such as a login page, often depends on the client.
  const isTemporary = statusCode === 302 || statusCode === 303 || statusCode === 307;
  if (isTemporary || (method !== 'GET' && method !== 'HEAD')) {
    return isPersonal ? forms.personalWithoutLifetime : forms.withoutLifetime;
  }
  return isPersonal ? forms.personal : forms.full;
}

/** The credential headers that `hasCredentials` looks for. */
export const CREDENTIAL_HEADERS = ['authorization', 'proxy-authorization', 'x-api-key'] as const;

/** Whether a request has credentials, cookies aside. Property reads: a loop over the names is slower. */
export function hasCredentials(headers: IncomingMessage['headers']): boolean {
  return (
    headers.authorization !== undefined ||
    headers['proxy-authorization'] !== undefined ||
    headers['x-api-key'] !== undefined
  );
}

function hasCacheDirectives(res: ResponseHeaders): boolean {
  if (res.hasHeader('cache-control') || res.hasHeader('expires')) return true;
  const pragma = res.getHeader('pragma');
  return pragma !== undefined && String(pragma).toLowerCase().includes('no-cache');
}
