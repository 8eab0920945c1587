import type { CacheRuleSettings, CacheSettings } from './cache.js';

/** Options of the cache that are read and checked, but that this version does nothing with. */
export function withoutEffect(settings: CacheSettings, rules: readonly CacheRuleSettings[]): string[] {
  const found: string[] = [];
  if (settings.redis) found.push('redis (the memory tier is used alone)');
  if (rules.some((rule) => rule.collapse === 'cluster'))
    found.push("collapse: 'cluster' ('instance' is used)");
  return found;
}
