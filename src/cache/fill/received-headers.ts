import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { warnOnce } from '../../runtime/warn.js';
import { applies, partitionFor } from '../classify-request.js';
import type { CacheRuleSettings } from '../options.js';
import type { CacheRequest } from '../request/cache-request.js';
import { exactHeader, type RequestHeaders, readCookies } from '../request/key.js';
import { nameRule } from '../request/rule-functions.js';
import type { CacheState } from '../state.js';

type ExpressRequest = IncomingMessage & { params?: unknown };

/**
 * A request as it was when it reached the cache. Its key was made from this state. Later middlewares may change the
 * request, so that the response no longer matches the key.
 */
export class ReceivedRequest implements RequestHeaders {
  readonly headers: IncomingHttpHeaders;
  readonly #req: ExpressRequest;
  readonly #partition: string | undefined;
  readonly #url: string | undefined;
  readonly #params: unknown;

  constructor(req: IncomingMessage, partition: string | undefined) {
    this.headers = { ...req.headers };
    this.#req = req;
    this.#partition = partition;
    this.#url = req.url;
    this.#params = this.#req.params;
  }

  /**
   * Whether a request header in the key has another value now. A deleted header does not count: proxies delete
   * `Accept-Encoding`, and the handler can't depend on a header that it does not see.
   *
   * @param names the header names in the response's `Vary`.
   * @param now the headers without the changes that the cache made.
   */
  isChanged(
    names: readonly string[],
    rule: CacheRuleSettings | undefined,
    now: IncomingHttpHeaders,
  ): boolean {
    const request = { headers: now };
    const isOther = (name: string) => {
      const value = exactHeader(request, name);
      return value !== undefined && value !== exactHeader(this, name);
    };
    if (names.some(isOther) || rule?.vary.headers.some(isOther)) return true;
    if (!rule?.vary.cookies?.length || now.cookie === this.headers.cookie) return false;
    const before = readCookies(this.headers.cookie);
    const after = readCookies(now.cookie);
    return rule.vary.cookies.some((name) => after.has(name) && after.get(name) !== before.get(name));
  }

  /** Why the rule's functions return another result now, as the detail for `Cache-Status`. */
  ruleChange(
    state: CacheState,
    { rule, context, pattern }: Pick<CacheRequest, 'rule' | 'context' | 'pattern'>,
  ): 'partition-changed' | 'when-changed' | undefined {
    if (!rule || (rule.partition === undefined && rule.when === undefined)) return undefined;
    const req = this.#req;
    const { url, params } = req;
    // Routers have changed both since. The rule's functions get the original values.
    req.url = this.#url;
    req.params = this.#params;
    try {
      if (rule.partition && partitionFor(state, rule, context, pattern) !== this.#partition)
        return 'partition-changed';
      return rule.when && !applies(state, rule, context, pattern) ? 'when-changed' : undefined;
    } finally {
      req.url = url;
      req.params = params;
    }
  }
}

/** Warns, once per rule, that its functions read data that is set after the cache. */
export function warnOfRuleChange(
  change: 'partition-changed' | 'when-changed',
  rule: CacheRuleSettings,
  pattern: string | undefined,
): void {
  const name = change === 'partition-changed' ? 'partition' : 'when';
  warnOnce(
    rule,
    'HOTPATH_RULE_CHANGED',
    () =>
      `\`${name}\` of ${nameRule(pattern)} returned one value when the request arrived and another when its response was ready. ` +
      `Such responses are not stored (detail=${change}), but such requests still get the entries of the first value: ` +
      `a client who is signed in gets the response of a guest. Put the cache after the middleware that sets what \`${name}\` reads: ` +
      `app.get(path, session, perf.cache.route({ ttl, ${name} }), handler)`,
  );
}
