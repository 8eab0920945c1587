import type { CacheRuleSettings } from '../config/cache.js';
import type { RuleContext } from './context.js';
import type { GivenHints } from './hints.js';

/** @throws when the rule's function does, or gives no list of names: what can't be purged isn't stored. */
export function tagsOf(
  rule: CacheRuleSettings | undefined,
  context: RuleContext,
  hints: GivenHints | undefined,
): readonly string[] {
  const given = typeof rule?.tags === 'function' ? rule.tags(context) : (rule?.tags ?? []);
  if (!Array.isArray(given) || given.some((tag) => typeof tag !== 'string' || tag === '')) {
    throw new TypeError("tags: expected a list of names such as ['products', 'product:1']");
  }
  if (!hints || hints.tags.size === 0) return given.length > 1 ? [...new Set(given)] : given;
  return [...new Set([...given, ...hints.tags])];
}

/** The partition of a request; `undefined` when there is none, which means bypass. */
export function partitionOf(
  partition: NonNullable<CacheRuleSettings['partition']>,
  context: RuleContext,
): string | undefined {
  const value: unknown = partition(context);
  if (typeof value === 'string') return value === '' || value.length > 1024 ? undefined : `s${value}`;
  return typeof value === 'number' && Number.isFinite(value) ? `n${value}` : undefined;
}
