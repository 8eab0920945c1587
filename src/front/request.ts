import type { IncomingMessage } from 'node:http';
import type { CacheSettings } from '../config/cache.js';

/** Fields of a request that has more to say than what it wants: the way through the middlewares is for it. */
const UNUSUAL = [
  'range',
  'if-match',
  'if-unmodified-since',
  'expect',
  'upgrade',
  'transfer-encoding',
] as const;

/** Fields that make a request somebody's, whatever the cache is told: Cache-Control is another for it. */
const CREDENTIALS = ['authorization', 'proxy-authorization', 'x-api-key'] as const;

/** Tells the requests that may be answered at once from all others. */
export class PlainRequests {
  readonly #refused: readonly string[];

  constructor({ credentials, requestDirectives }: CacheSettings) {
    const own = credentials.filter((name) => name !== 'cookie');
    const directives = requestDirectives === 'honor' ? ['cache-control', 'pragma'] : [];
    this.#refused = [...new Set<string>([...UNUSUAL, ...CREDENTIALS, ...own, ...directives])];
  }

  /** Whether a request is one of those; a cookie is for the rule to judge. */
  has(req: IncomingMessage & { readonly originalUrl?: string; readonly hotpath?: object }): boolean {
    const { method, httpVersion, headers, url } = req;
    if ((method !== 'GET' && method !== 'HEAD') || httpVersion !== '1.1' || url === undefined) return false;
    // Mounted below the root, or rewritten by others; or a request of our own.
    if ((req.originalUrl !== undefined && req.originalUrl !== url) || req.hotpath !== undefined) return false;
    for (const name of this.#refused) if (headers[name] !== undefined) return false;
    const length = headers['content-length'];
    return length === undefined || length === '0';
  }
}

/** Whether proxies say where the request was sent: then it is for the app to say which of them it trusts. */
export function isForwarded({ headers }: IncomingMessage): boolean {
  return headers['x-forwarded-host'] !== undefined || headers['x-forwarded-proto'] !== undefined;
}
