import { formatValue } from '../../options/format-value.js';
import { requireSync } from '../../options/user-function.js';
import type { CacheRuleSettings } from '../options.js';
import type { ResponseHints } from './handler-hints.js';
import type { RuleContext } from './rule-context.js';

/** Maximum length of a tag or a partition. Characters. */
const LONGEST_NAME = 1024;
/** Maximum tags per response: each is looked up when it is served after a purge. */
const MOST_TAGS = 1000;

/** @throws if the rule's function throws or returns no list of names: a response that can't be purged is not stored. */
export function evaluateTags(
  rule: CacheRuleSettings | undefined,
  context: RuleContext,
  hints: ResponseHints | undefined,
  inherited: Iterable<string> = [],
): readonly string[] {
  const given =
    typeof rule?.tags === 'function' ? requireSync(rule.tags(context), 'tags') : listedTags(rule?.tags);
  if (!Array.isArray(given) || given.some((tag) => typeof tag !== 'string' || tag === '')) {
    const expected = "tags: expected a list of names such as ['products', 'product:1']";
    throw new TypeError(`${expected}, received ${formatValue(given)}`);
  }
  // A copy: the function may return the same array again, changed.
  const tags = [...new Set([...given, ...(hints?.tags ?? []), ...inherited])];
  if (tags.length > MOST_TAGS || tags.some((tag) => tag.length > LONGEST_NAME)) {
    throw new RangeError(
      `tags: expected at most ${MOST_TAGS} names of at most ${LONGEST_NAME} characters; return fewer or shorter ones`,
    );
  }
  return tags;
}

/**
 * Names a rule in messages.
 *
 * @param pattern its path in `routes`; absent for a rule of `cache.route()`.
 */
export function nameRule(pattern: string | undefined): string {
  return pattern === undefined ? 'cache.route()' : `routes[${JSON.stringify(pattern)}].cache`;
}

function listedTags(tags: 'inherit' | readonly string[] = []): readonly string[] {
  return tags === 'inherit' ? [] : tags;
}

/** The partition of a request; `undefined` means bypass. */
export function evaluatePartition(
  partition: NonNullable<CacheRuleSettings['partition']>,
  context: RuleContext,
): string | undefined {
  const value: unknown = requireSync(partition(context), 'partition');
  if (typeof value === 'string') return value === '' || value.length > LONGEST_NAME ? undefined : `s${value}`;
  return typeof value === 'number' && Number.isFinite(value) ? `n${value}` : undefined;
}

/** Whether the rule applies to a request. @throws if its function throws. */
export function evaluateWhen(rule: CacheRuleSettings, context: RuleContext): boolean {
  return !rule.when || requireSync(rule.when(context), 'when') === true;
}

/** Whether a rule has functions that run for each request. */
export function hasRequestFunctions(rule: CacheRuleSettings): boolean {
  return rule.when !== undefined || rule.partition !== undefined;
}
