import { createHash } from 'node:crypto';
import type { CacheRuleSettings } from '../options.js';

/**
 * Names the scopes of `cache.route()` middlewares. A name is a hash of the rule, so that all instances of an app agree
 * on it, even during a rolling deploy. Equal rules are numbered in the order of creation.
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
