import type { ServerResponse } from 'node:http';
import { reportFault } from '../exchange/run-listeners.js';
import { formatValue } from '../options/format-value.js';
import { type Duration, parseDuration } from '../options/units.js';

const HINTS = Symbol.for('hotpath.cache');

/** What a handler can tell the cache about the response that it is making. Harmless where there is no cache. */
export interface CacheHints {
  /** Adds tags, by which the stored response can be purged. */
  tag(...names: string[]): CacheHints;
  /** How long our cache may use the response: seconds or a duration. It comes before every other lifetime, but never makes `private` or `no-store` storable. */
  ttl(duration: Duration): CacheHints;
  /** Keeps the response out of the cache; the reason appears in `Cache-Status`. */
  skip(reason?: string): CacheHints;
}

/** What the handler said so far. */
export interface ResponseHints {
  readonly tags: Set<string>;
  ttl: number | undefined;
  skip: string | undefined;
}

class Hints implements CacheHints {
  readonly given: ResponseHints = { tags: new Set(), ttl: undefined, skip: undefined };

  tag(...names: string[]): this {
    for (const name of names) {
      if (typeof name === 'string' && name !== '') this.given.tags.add(name);
      // What can't be purged isn't stored.
      else this.#refuse('invalid-tag', new TypeError(`expected a name, received ${formatValue(name)}`));
    }
    return this;
  }

  ttl(duration: Duration): this {
    try {
      this.given.ttl = parseDuration(duration);
    } catch (error) {
      this.#refuse('invalid-ttl', error);
    }
    return this;
  }

  skip(reason?: string): this {
    this.given.skip = typeof reason === 'string' && reason !== '' ? reason : 'skip';
    return this;
  }

  /** What is wrong must not break the route, nor be taken for something else. */
  #refuse(reason: string, error: unknown): void {
    this.given.skip = reason;
    reportFault('cacheOf(res)', error);
  }
}

/** The cache's side of a response, for use inside a handler: `cacheOf(res).tag('product:1')`. */
export function cacheOf(res: ServerResponse): CacheHints {
  const holder = res as ServerResponse & { [HINTS]?: CacheHints };
  return (holder[HINTS] ??= new Hints());
}

/** What the handler of this response said, if anything. */
export function readHints(res: ServerResponse): ResponseHints | undefined {
  return (res as ServerResponse & { [HINTS]?: { given: ResponseHints } })[HINTS]?.given;
}
