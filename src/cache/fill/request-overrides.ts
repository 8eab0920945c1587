import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Conditions } from '../../http/conditional-request.js';
import { normaliseTarget } from '../request/key.js';
import type { CacheRuleSettings } from '../rule.js';

/** Request headers that make a handler answer with less than the whole. */
export const CONDITIONAL = [
  'if-none-match',
  'if-modified-since',
  'if-match',
  'if-unmodified-since',
  'if-range',
] as const;
type ExpressRequest = IncomingMessage & {
  originalUrl?: string;
  query?: unknown;
  app?: { get?: (name: string) => unknown };
};
/**
 * Hides from the handler what would make it answer with less than the whole, or with what the key does not
 * cover, and puts everything back when the response has ended.
 */
export class RequestOverrides {
  readonly conditions: Conditions;
  readonly #req: ExpressRequest;
  readonly #hidden: [name: string, value: string | string[]][] = [];
  readonly #shown: string[] = [];
  readonly #before: { originalUrl: string | undefined; search: string; query: unknown } | undefined;
  #worn = true;

  /**
   * @param target what the key covers, when that is less than what the visitor asked for.
   * @param rule by which it was reduced; what others have made of `req.url` is reduced by it too.
   * @param shown conditions that the handler sees instead: those of a stored response.
   * @param whole whether the conditions are hidden as well; a request for a part needs its own.
   */
  constructor(
    req: IncomingMessage,
    target: string | undefined,
    rule: CacheRuleSettings | undefined,
    whole: boolean,
    shown: Conditions = {},
  ) {
    this.#req = req;
    const { headers } = req;
    this.conditions = whole
      ? { ifNoneMatch: headers['if-none-match'], ifModifiedSince: headers['if-modified-since'] }
      : {};
    for (const name of whole ? CONDITIONAL : []) {
      const value = req.headers[name];
      if (value === undefined) continue;
      this.#hidden.push([name, value]);
      delete req.headers[name];
    }
    this.#show('if-none-match', shown.ifNoneMatch);
    this.#show('if-modified-since', shown.ifModifiedSince);
    if (target === undefined) return;
    const { originalUrl, url = '/' } = this.#req;
    // Express 4 has parsed the query before us; Express 5 parses it when it is asked for.
    const query = Object.hasOwn(this.#req, 'query') ? this.#req.query : undefined;
    this.#before = { originalUrl, search: searchOf(url), query };
    const reduced = searchOf(normaliseTarget(url, rule));
    this.#setSearch(reduced);
    if (originalUrl !== undefined) this.#req.originalUrl = target;
    const parse = this.#req.app?.get?.('query parser fn');
    if (query !== undefined && typeof parse === 'function') this.#req.query = parse(reduced.slice(1));
  }

  /** The client has sent conditions, and the handler does not see them. */
  get hidesConditions(): boolean {
    const { ifNoneMatch, ifModifiedSince } = this.conditions;
    return ifNoneMatch !== undefined || ifModifiedSince !== undefined;
  }

  #show(name: string, value: string | undefined): void {
    if (value === undefined) return;
    this.#req.headers[name] = value;
    this.#shown.push(name);
  }

  /** Adds to a list that the request may bring with it. */
  append(name: string, member: string): void {
    const { headers } = this.#req;
    const before = headers[name];
    if (before === undefined) return this.#show(name, member);
    this.#hidden.push([name, before]);
    headers[name] = `${before}, ${member}`;
  }

  /** The request's headers, with what is hidden and without what is shown instead. */
  headersWithout(): IncomingHttpHeaders {
    const headers = { ...this.#req.headers };
    if (!this.#worn) return headers;
    for (const name of this.#shown) delete headers[name];
    for (const [name, value] of this.#hidden) headers[name] = value;
    return headers;
  }

  restore(): void {
    if (!this.#worn) return;
    this.#worn = false;
    for (const name of this.#shown) delete this.#req.headers[name];
    for (const [name, value] of this.#hidden) this.#req.headers[name] = value;
    if (!this.#before) return;
    const { originalUrl, search, query } = this.#before;
    // Routers will have changed the path meanwhile, which is theirs to put back.
    this.#setSearch(search);
    if (originalUrl !== undefined) this.#req.originalUrl = originalUrl;
    if (query !== undefined) this.#req.query = query;
  }

  #setSearch(search: string): void {
    const { url = '/' } = this.#req;
    this.#req.url = url.slice(0, url.length - searchOf(url).length) + search;
  }
}

function searchOf(target: string): string {
  const at = target.indexOf('?');
  return at < 0 ? '' : target.slice(at);
}
