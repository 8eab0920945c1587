import type { CacheRuleSettings, CacheSettings } from './cache.js';

/** Options of the cache that are read and checked, but that this version does nothing with. */
export function withoutEffect(settings: CacheSettings, rules: readonly CacheRuleSettings[]): string[] {
  const found: string[] = [];
  if (settings.redis) found.push('redis (the memory tier is used alone)');
  if (settings.profile !== 'safe') found.push("profile: 'rfc9111' ('safe' is used)");
  if (settings.requestDirectives !== 'ignore') found.push("requestDirectives: 'honor' (they are ignored)");
  const names = ['staleWhileRevalidate', 'staleIfError', 'timeout', 'softTimeout'] as const;
  for (const name of names)
    if (rules.some((rule) => rule[name] !== undefined))
      found.push(`${name} (stale responses are not served)`);
  if (rules.some((rule) => rule.collapse === 'cluster'))
    found.push("collapse: 'cluster' ('instance' is used)");
  return found;
}
