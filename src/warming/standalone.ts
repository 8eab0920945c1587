import * as v from 'valibot';
import { internalsOf, type ResponseCache } from '../cache/response-cache.js';
import { leaf, list, resolve, section } from '../options/schema.js';
import type { ValidationResult } from '../options/validation-result.js';
import { readWord } from '../options/validators.js';
import { type Warming, WarmingScheduler } from './warming.js';

/** Options of `warming()` used alone. */
export interface StandaloneWarmingOptions {
  /** The cache to warm: the result of `responseCache()`. Default: none; tasks with a function need none. */
  cache?: ResponseCache | undefined;
  /** The content codings of `compression()` in the same app, of which forms of stored bodies are made. Default: none. */
  encodings?: readonly ('br' | 'gzip' | 'deflate' | 'zstd')[] | undefined;
}

const standaloneSchema = section({
  cache: v.optional(leaf(readCache)),
  encodings: v.optional(
    list(leaf(readWord('br', 'gzip', 'deflate', 'zstd')), 'a list of content codings'),
    [],
  ),
});

/**
 * Warming for a cache that is used without `hotpath()`. `start({ app })` names the app. Stop it before the cache closes.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options.
 */
export function warming(options?: StandaloneWarmingOptions): Warming {
  const { cache, encodings: codings } = resolve(standaloneSchema, options, 'warming');
  const internals = cache && internalsOf(cache);
  const parts = internals?.state && { ...internals, state: internals.state, codings };
  return new WarmingScheduler({ cache: parts || undefined, app: () => undefined });
}

function readCache(input: unknown): ValidationResult<ResponseCache> {
  return typeof input === 'function' && internalsOf(input as ResponseCache)
    ? { value: input as ResponseCache }
    : { expected: 'a cache: the result of responseCache(), or perf.cache' };
}
