import type { ServerResponse } from 'node:http';
import { reportFault } from '../../exchange/run-listeners.js';
import { formatValue } from '../../options/format-value.js';
import { type LifetimeName, type Lifetimes, readLifetimeName, readTtlWith } from '../../options/lifetimes.js';
import { type Duration, parseDuration, readLifetime } from '../../options/units.js';

const HINTS = Symbol.for('hotpath.cache');

/** Hints from a handler to the cache about its response. Without a cache they have no effect. */
export interface CacheHints {
  /** Adds tags, by which the stored response can be purged. */
  tag(...names: string[]): CacheHints;
  /**
   * How long this cache may use the response: a duration, seconds, or the name of one of `cache.lifetimes`. Takes precedence over all other lifetimes, but
   * never makes `private` or `no-store` storable.
   */
  ttl(duration: Duration | LifetimeName): CacheHints;
  /** Keeps the response out of the cache. The reason appears in `Cache-Status`. */
  skip(reason?: string): CacheHints;
}

/** The hints given so far. */
export interface ResponseHints {
  readonly tags: Set<string>;
  ttl: number | undefined;
  /** A name, which only the cache can resolve. */
  lifetime?: string | undefined;
  skip: string | undefined;
}

class Hints implements CacheHints {
  readonly given: ResponseHints = {
    tags: new Set(),
    ttl: undefined,
    lifetime: undefined,
    skip: undefined,
  };

  tag(...names: string[]): this {
    for (const name of names) {
      if (typeof name === 'string' && name !== '') this.given.tags.add(name);
      // A response that can't be purged is not stored.
      else
        this.#refuse(
          'invalid-tag',
          new TypeError(`tag: expected a name such as 'product:1', received ${formatValue(name)}`),
        );
    }
    return this;
  }

  ttl(duration: Duration | LifetimeName): this {
    const name = readLifetimeName(duration);
    this.given.lifetime = 'value' in name ? name.value : undefined;
    if ('value' in name) return this;
    try {
      this.given.ttl = parseDuration(duration, readLifetime);
    } catch (error) {
      this.#refuse('invalid-ttl', error);
    }
    return this;
  }

  skip(reason?: string): this {
    this.given.skip = typeof reason === 'string' && reason !== '' ? reason : 'skip';
    return this;
  }

  /** A wrong argument must neither break the route nor be misread. */
  #refuse(reason: string, error: unknown): void {
    this.given.skip = reason;
    reportFault('cacheOf(res)', error);
  }
}

/** Returns the hints of a response, to use inside a handler: `cacheOf(res).tag('product:1')`. */
export function cacheOf(res: ServerResponse): CacheHints {
  const holder = res as ServerResponse & { [HINTS]?: CacheHints };
  return (holder[HINTS] ??= new Hints());
}

/** The hints of a response, if its handler gave any. @param lifetimes those of the cache, by name. */
export function readHints(res: ServerResponse, lifetimes: Lifetimes): ResponseHints | undefined {
  const given = (res as ServerResponse & { [HINTS]?: { given: ResponseHints } })[HINTS]?.given;
  if (given?.lifetime === undefined) return given;
  const reading = readTtlWith(lifetimes)(given.lifetime);
  if ('value' in reading) return { ...given, ttl: reading.value };
  reportFault(
    'cacheOf(res)',
    new TypeError(`expected ${reading.expected}, received ${formatValue(given.lifetime)}`),
  );
  return { ...given, skip: 'invalid-ttl' };
}
