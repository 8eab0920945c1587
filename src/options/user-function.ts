import { unawaited } from '../runtime/guard.js';

/**
 * What a user's function answered, where the answer is needed at once.
 *
 * @throws when that is a promise. Its rejection is seen to, since with nobody waiting it would end the process.
 */
export function requireSync<T>(value: T, name: string): T {
  if (typeof (value as { then?: unknown } | null | undefined)?.then !== 'function') return value;
  void unawaited(value);
  throw new TypeError(
    `${name}: expected a value, received a promise; what takes time belongs in a middleware of its own, before`,
  );
}
