import type { CacheRoutePolicies, CacheRuleSettings } from '../config/cache.js';
import type { RouteTable } from '../config/routes.js';
import { compilePattern } from '../store/selector.js';
import { leavesOutQuery, normaliseTarget } from './key.js';

/** A rule that leaves query parameters out, and the paths that it may apply to. */
interface ReducingRule {
  readonly rule: CacheRuleSettings;
  readonly isFor: (path: string) => boolean;
}

/**
 * Finds the names under which responses to a URL may be stored. Rules with `ignoreQuery` or `vary.query` leave
 * parameters out, and a purge may name any URL that a client sends.
 */
export class StoredNames {
  readonly #rules: ReducingRule[] = [];
  readonly #beside = new Set<string>();

  constructor(routes: RouteTable<CacheRoutePolicies>) {
    for (const [at, { cache: rule }] of routes.policies.entries()) {
      if (!rule || !leavesOutQuery(rule)) continue;
      this.#rules.push({ rule, isFor: compilePattern(routes.patterns[at]!) });
    }
  }

  /** Adds the rule of a middleware beside a handler. Its paths are not known, so it applies to all. */
  add(rule: CacheRuleSettings): void {
    if (!leavesOutQuery(rule)) return;
    const reduction = JSON.stringify([rule.vary.query ?? null, rule.ignoreQuery]);
    // Many routes may leave out the same parameters.
    if (this.#beside.has(reduction)) return;
    this.#beside.add(reduction);
    this.#rules.push({ rule, isFor: () => true });
  }

  /** @param name of the URL in the invalidation log. */
  of(name: string): string[] {
    const query = name.indexOf('?');
    if (query < 0 || this.#rules.length === 0) return [];
    const path = name.slice(name.indexOf('/'), query);
    return this.#rules.filter(({ isFor }) => isFor(path)).map(({ rule }) => normaliseTarget(name, rule));
  }
}
