import { unawaited } from '../runtime/guard.js';

/**
 * Returns the result of a user's function, which must be synchronous.
 *
 * @throws for a promise. Its rejection is handled, because an unhandled one would end the process.
 */
export function requireSync<T>(value: T, name: string): T {
  if (typeof (value as { then?: unknown } | null | undefined)?.then !== 'function') return value;
  void unawaited(value);
  throw new TypeError(
    `${name} must be synchronous but returned a promise; do async work in a middleware before hotpath`,
  );
}
