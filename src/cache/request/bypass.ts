import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { CLIENT_CERTIFICATE, hasClientCertificate } from '../../exchange/client-certificate.js';
import type { Conditions } from '../../http/conditional-request.js';
import type { CacheRuleSettings, CacheSettings } from '../options.js';
import { headerOf, normaliseTarget } from './key.js';

/** Request headers that make a handler answer with less than the whole. */
const CONDITIONAL = [
  'if-none-match',
  'if-modified-since',
  'if-match',
  'if-unmodified-since',
  'if-range',
] as const;

/**
 * Why a request has nothing to do with the cache, whatever is stored: `method` for what RFC 9211 calls so,
 * otherwise the word that `Cache-Status` gives as `detail`.
 */
export function bypassOf(
  req: IncomingMessage,
  target: string,
  rule: CacheRuleSettings | false | undefined,
): string | undefined {
  if (req.method !== 'GET' && req.method !== 'HEAD') return 'method';
  if (rule === false) return 'rule';
  // A handler may read a body that no key covers.
  if (mayHaveBody(req)) return 'body';
  // The authority in the target is not the one in `Host`, and a handler may print either.
  // And what follows a `#`, or a space of Latin-1, Express reads as no part of the path, where our rules do.
  if (!/^\/[^\s#]*$/.test(target)) return 'target-form';
  // RFC 9110 §13.1.1, §13.1.4: conditions for changing something; the handler's business.
  if (req.headers['if-match'] !== undefined || req.headers['if-unmodified-since'] !== undefined)
    return 'conditional';
  return undefined;
}

/** Whether a request is not known to be without a body. */
function mayHaveBody(req: IncomingMessage): boolean {
  if (req.headers['transfer-encoding'] !== undefined) return true;
  const length = req.headers['content-length'];
  if (length !== undefined) return length !== '0';
  // From HTTP/2 on a body needs no field that announces it (RFC 9113 §8.1); only a stream that has ended has none.
  return req.httpVersionMajor > 1 && (req as { stream?: EndedStream }).stream?.endAfterHeaders !== true;
}

/** Whether a request came with a body, whatever a parser before the cache has left of the fields that announce it. */
export function cameWithBody({ rawHeaders }: IncomingMessage): boolean {
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length !== CONTENT_LENGTH.length && name.length !== TRANSFER_ENCODING.length) continue;
    const field = name.toLowerCase();
    if (field === TRANSFER_ENCODING || (field === CONTENT_LENGTH && rawHeaders[at + 1] !== '0')) return true;
  }
  return false;
}

const CONTENT_LENGTH = 'content-length';
const TRANSFER_ENCODING = 'transfer-encoding';

/** A stream of HTTP/2, as Node's compatible request holds it. */
interface EndedStream {
  /** The request has ended with its headers. */
  readonly endAfterHeaders?: boolean;
}

/** The credential that makes a request personal, unless the rule says what becomes of it. */
export function credentialOf(
  req: IncomingMessage,
  rule: CacheRuleSettings | undefined,
  settings: CacheSettings,
): string | undefined {
  if (rule?.partition) return undefined;
  // The standard knows of `Authorization` alone (RFC 9111 §3.5).
  const names = settings.profile === 'safe' ? settings.credentials : ['authorization'];
  for (const name of names) {
    // No header names it, so none can put it in the key.
    if (name === CLIENT_CERTIFICATE && hasClientCertificate(req)) return name;
    if (headerOf(req, name) === undefined || rule?.vary.headers.includes(name)) continue;
    if (!(name === 'cookie' && rule?.vary.cookies)) return name;
  }
  return undefined;
}

type ExpressRequest = IncomingMessage & {
  originalUrl?: string;
  query?: unknown;
  app?: { get?: (name: string) => unknown };
};

/**
 * Hides from the handler what would make it answer with less than the whole, or with what the key does not
 * cover, and puts everything back when the response has ended.
 */
export class Disguise {
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

  takeOff(): void {
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
