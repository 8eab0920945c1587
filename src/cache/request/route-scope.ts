import { createHash } from 'node:crypto';
import type { CacheRuleSettings } from '../options.js';

/**
 * Names the middlewares that stand beside handlers, since each serves its own entries alone. The names are made of
 * the rules, so that instances which share a tier agree on them, also while a new version with more routes is rolled
 * out. Of rules that read alike, the order in which they are made decides.
 */
export class RouteScopes {
  readonly #made = new Map<string, number>();

  of(rule: CacheRuleSettings): string {
    const text = JSON.stringify(rule, (_key, value: unknown) => {
      if (typeof value === 'function') return String(value);
      return value instanceof Set ? [...value] : value;
    });
    const name = createHash('sha256').update(text).digest('base64url').slice(0, 12);
    const count = (this.#made.get(name) ?? 0) + 1;
    this.#made.set(name, count);
    return `route:${name}:${count}`;
  }
}
