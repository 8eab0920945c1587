import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { applies, partitionFor } from '../classify-request.js';
import type { CacheRuleSettings } from '../options.js';
import { exactHeader, type RequestHeaders, readCookies } from '../request/key.js';
import type { RuleContext } from '../request/rule-context.js';
import type { CacheState } from '../state.js';

type ExpressRequest = IncomingMessage & { params?: unknown };

/**
 * A request as it was when it met the cache. Its key was made of that; middlewares behind the cache may change the
 * request since, and the response is then made for another one.
 */
export class MetRequest implements RequestHeaders {
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
   * Whether a request header that the key covers holds another value now. One that was deleted does not count: proxies
   * delete `Accept-Encoding`, and what the handler can't see it can't answer to.
   *
   * @param names those that the response names in `Vary`.
   * @param now the headers without the edits of the cache itself.
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

  /** Why the rule would say something else of the request now: the word that `Cache-Status` gives. */
  ruleChange(
    state: CacheState,
    rule: CacheRuleSettings | undefined,
    context: RuleContext,
  ): 'partition-changed' | 'when-changed' | undefined {
    if (!rule || (rule.partition === undefined && rule.when === undefined)) return undefined;
    const req = this.#req;
    const { url, params } = req;
    // Routers have changed both for the handler since; the rule's functions are to see them as they did before.
    req.url = this.#url;
    req.params = this.#params;
    try {
      if (rule.partition && partitionFor(state, rule, context) !== this.#partition)
        return 'partition-changed';
      return rule.when && !applies(state, rule, context) ? 'when-changed' : undefined;
    } finally {
      req.url = url;
      req.params = params;
    }
  }
}

const warned = new WeakSet<CacheRuleSettings>();

/** Tells, once for each rule, that its functions read what is set behind the cache. */
export function warnOfRuleChange(
  change: 'partition-changed' | 'when-changed',
  rule: CacheRuleSettings,
  pattern: string | undefined,
): void {
  if (warned.has(rule)) return;
  warned.add(rule);
  const name = change === 'partition-changed' ? 'partition' : 'when';
  const where = pattern === undefined ? 'cache.route()' : `routes[${JSON.stringify(pattern)}].cache`;
  process.emitWarning(
    `hotpath: \`${name}\` of ${where} returned one value when the request arrived and another when its response was ready. ` +
      `Such responses are not stored (detail=${change}), but such requests still get the entries of the first value: ` +
      `a client who is signed in gets the response of a guest. Put the cache after the middleware that sets what \`${name}\` reads: ` +
      `app.get(path, session, perf.cache.route({ ttl, ${name} }), handler)`,
    { code: 'HOTPATH_RULE_CHANGED', type: 'HotpathWarning' },
  );
}
