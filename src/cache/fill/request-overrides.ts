import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Conditions } from '../../http/conditional-request.js';
import { normaliseTarget } from '../request/key.js';
import type { CacheRuleSettings } from '../rule.js';

/** Request headers that make a handler send less than the whole response. */
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
 * Hides from the handler the conditions of the client, and the inputs that the key does not cover. `restore` undoes it
 * when the response has ended.
 */
export class RequestOverrides {
  readonly conditions: Conditions;
  readonly #req: ExpressRequest;
  readonly #hiddenHeaders: [name: string, value: string | string[]][] = [];
  readonly #addedHeaders: string[] = [];
  readonly #before: { originalUrl: string | undefined; search: string; query: unknown } | undefined;
  #isApplied = true;

  /**
   * @param target the target that the key covers, if it differs from the client's.
   * @param rule the rule that ignores query parameters; it is applied to `req.url` too.
   * @param shown conditions that the handler sees instead: those of a stored response.
   * @param whole whether to hide the client's conditions; a range request needs its own.
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
      this.#hiddenHeaders.push([name, value]);
      delete req.headers[name];
    }
    this.#add('if-none-match', shown.ifNoneMatch);
    this.#add('if-modified-since', shown.ifModifiedSince);
    if (target === undefined) return;
    const { originalUrl, url = '/' } = this.#req;
    // Express 4 has already parsed the query; Express 5 parses it when it is read.
    const query = Object.hasOwn(this.#req, 'query') ? this.#req.query : undefined;
    this.#before = { originalUrl, search: searchOf(url), query };
    const reduced = searchOf(normaliseTarget(url, rule));
    this.#setSearch(reduced);
    if (originalUrl !== undefined) this.#req.originalUrl = target;
    const parse = this.#req.app?.get?.('query parser fn');
    if (query !== undefined && typeof parse === 'function') this.#req.query = parse(reduced.slice(1));
  }

  /** Whether the client sent conditions that the handler does not see. */
  get hidesConditions(): boolean {
    const { ifNoneMatch, ifModifiedSince } = this.conditions;
    return ifNoneMatch !== undefined || ifModifiedSince !== undefined;
  }

  #add(name: string, value: string | undefined): void {
    if (value === undefined) return;
    this.#req.headers[name] = value;
    this.#addedHeaders.push(name);
  }

  /** Adds a member to a list header of the request. */
  append(name: string, member: string): void {
    const { headers } = this.#req;
    const before = headers[name];
    if (before === undefined) return this.#add(name, member);
    this.#hiddenHeaders.push([name, before]);
    headers[name] = `${before}, ${member}`;
  }

  /** The request's headers without the overrides. */
  headersWithout(): IncomingHttpHeaders {
    const headers = { ...this.#req.headers };
    if (!this.#isApplied) return headers;
    for (const name of this.#addedHeaders) delete headers[name];
    for (const [name, value] of this.#hiddenHeaders) headers[name] = value;
    return headers;
  }

  restore(): void {
    if (!this.#isApplied) return;
    this.#isApplied = false;
    for (const name of this.#addedHeaders) delete this.#req.headers[name];
    for (const [name, value] of this.#hiddenHeaders) this.#req.headers[name] = value;
    if (!this.#before) return;
    const { originalUrl, search, query } = this.#before;
    // Only the query is restored: routers have changed the path and restore it themselves.
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
