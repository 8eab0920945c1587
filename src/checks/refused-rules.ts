import type { CacheRuleSettings } from '../cache/options.js';
import { warn } from '../runtime/warn.js';

/** Responses of a rule that one reason kept out of the cache, before the rule counts as one that stores nothing. */
const REFUSED_RESPONSES = 5;

const PER_USER =
  'for a response per user, put the cache after the authentication: ' +
  'app.get(path, authenticate, perf.cache.route({ ttl, partition }), handler)';

/** The remedy for each reason that is most often a mistake of the set-up. */
const REMEDIES: Readonly<Record<string, string>> = {
  cookie: `the requests have cookies; if the response does not depend on them, add cookies: 'ignore' to the rule; ${PER_USER}`,
  authorization: `the requests have credentials; ${PER_USER}`,
  'set-cookie':
    'each response sets a cookie, as express-session does with saveUninitialized: true (its default) or ' +
    'rolling: true; set both to false, or set the cookie on another path',
  'no-anonymous-fill':
    "the background requests without cookies, which fill the cache for cookies: 'ignore', get no response that can " +
    'be stored, such as from express-session with saveUninitialized: true (its default), or a login page; ' +
    'cache.explain(req).noBackgroundRefresh has the reason',
  'no-store':
    'the handler, or a middleware after hotpath, sends Cache-Control: no-store; remove it on this path',
  private: 'the handler, or a middleware after hotpath, sends Cache-Control: private; remove it on this path',
  'no-cache':
    'the handler, or a middleware after hotpath, sends Cache-Control: no-cache; remove it on this path, ' +
    'or send max-age',
  'vary-cookie':
    "the response has Vary: Cookie; name the cookies that matter, vary: { cookies: ['theme'] }, or do not vary by them",
  encoding: 'a middleware after hotpath compresses the response; remove it, and let hotpath compress',
};

/** Finds the rules that store nothing, because each of their first responses was refused for the same reason. */
export class RefusedRules {
  /** By rule: the last reason, and how often it has come in a row; `false` once something was stored. */
  readonly #refused = new Map<CacheRuleSettings, { reason: string; times: number } | false>();

  /**
   * Notes a response with status 200.
   *
   * @param name of the rule, for the message.
   * @param reason why it was not stored and not served from the cache, if it was not.
   */
  note(rule: CacheRuleSettings, name: string, reason: string | undefined): void {
    const before = this.#refused.get(rule);
    // The background request of hotpath may have stored something.
    if (before === false || reason === 'anonymous-fill') return;
    if (reason === undefined) {
      this.#refused.set(rule, false);
      return;
    }
    const times = before?.reason === reason ? before.times + 1 : 1;
    this.#refused.set(rule, { reason, times });
    const remedy = REMEDIES[reason];
    if (times !== REFUSED_RESPONSES || remedy === undefined) return;
    // A shared rule warns of cookies by itself, in production too.
    if (reason === 'cookie' && rule.shared) return;
    this.#refused.set(rule, false);
    warn(
      'HOTPATH_RULE_STORES_NOTHING',
      `nothing was stored for the first ${times} responses of ${name} (detail=${reason}): ${remedy}`,
    );
  }
}
