import type { CacheRuleSettings, CacheSettings } from '../cache/options.js';

/** Options of the cache that are right by themselves, but do nothing as the others stand. */
export function withoutEffect(settings: CacheSettings, rules: readonly CacheRuleSettings[]): string[] {
  if (settings.redis || !rules.some((rule) => rule.collapse === 'cluster')) return [];
  return ["collapse: 'cluster' without cache.redis ('instance' is used)"];
}
