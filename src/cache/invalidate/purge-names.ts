import type { RouteTable } from '../../options/route-table.js';
import { compileUrlPattern } from '../../store/invalidation/selector.js';
import type { CacheRoutePolicies, CacheRuleSettings } from '../options.js';
import { ANY_HOST, leavesOutQuery, normaliseTarget } from '../request/key.js';

/** The rules that leave query parameters or the host out of keys, and the paths that they may apply to. */
interface ReducingRule {
  readonly rule: CacheRuleSettings;
  readonly isFor: (path: string) => boolean;
}

/**
 * Finds the names under which responses to a URL may be stored. Rules with `ignoreQuery` or `vary.query` leave
 * parameters out, those with `vary.host` the host, and a purge may name any URL that a client sends.
 */
export class PurgeNames {
  readonly #rules: ReducingRule[] = [];
  readonly #beside = new Set<string>();
  /** Of all routes, whatever their rules. */
  readonly #patterns: ((path: string) => boolean)[] = [];
  /** The values of `vary.host` in the rules. */
  readonly hosts = new Set<string | false>();

  constructor(routes: RouteTable<CacheRoutePolicies>) {
    for (const [at, { cache: rule }] of routes.policies.entries()) {
      const isFor = compileUrlPattern(routes.patterns[at]!);
      this.#patterns.push(isFor);
      if (rule) this.#add(rule, isFor);
    }
  }

  /** Adds the rule of a middleware beside a handler. Its paths are not known, so it applies to all. */
  add(rule: CacheRuleSettings): void {
    if (!isReducing(rule)) return;
    const { query = null, host = null } = rule.vary;
    const reduction = JSON.stringify([query, rule.ignoreQuery, host]);
    // Many routes may leave out the same parameters.
    if (this.#beside.has(reduction)) return;
    this.#beside.add(reduction);
    this.#add(rule, () => true);
  }

  #add(rule: CacheRuleSettings, isFor: ReducingRule['isFor']): void {
    if (!isReducing(rule)) return;
    this.#rules.push({ rule, isFor });
    if (rule.vary.host !== undefined) this.hosts.add(rule.vary.host);
  }

  /**
   * @param name of the URL in the invalidation log.
   * @param alike names that one request has too: a middleware may have rewritten its URL before the cache chose a rule.
   */
  of(name: string, alike: readonly string[] = []): string[] {
    if (this.#rules.length === 0 || (name.startsWith('/') && !name.includes('?'))) return [];
    // The name of `/x//` is that of `/x`, but a wildcard takes it for a path of `/x/*rest`.
    const paths = [name, ...alike].map(pathOfName).flatMap((path) => [path, `${path}//`]);
    // A path of no route becomes one of any when it is rewritten.
    const isKnown = paths.some((path) => this.#patterns.some((isFor) => isFor(path)));
    const rules = this.#rules.filter(({ isFor }) => !isKnown || paths.some(isFor));
    return rules.map(({ rule }) => normaliseTarget(withSharedHost(name, rule), rule));
  }
}

function isReducing(rule: CacheRuleSettings): boolean {
  return leavesOutQuery(rule) || rule.vary.host !== undefined;
}

/** The name of a URL with the host under which the rule stores it, if the name has a host. */
function withSharedHost(name: string, { vary: { host } }: CacheRuleSettings): string {
  if (host === undefined || name.startsWith('/')) return name;
  return (host || ANY_HOST) + name.slice(name.indexOf('/'));
}

function pathOfName(name: string): string {
  const query = name.indexOf('?');
  return name.slice(name.indexOf('/'), query < 0 ? undefined : query);
}
