import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { copyText } from '../../runtime/owned-memory.js';

/** Maximum keys. With hashes and reasons they take about 2 MB. */
const MOST_KEYS = 10_000;

/** Maximum length of a reason, which a handler may choose. Characters. */
const LONGEST_REASON = 100;

/**
 * Remembers keys whose responses were refused recently (hit-for-miss). Requests for them do not wait for each other.
 *
 * Clients choose keys, which may be as long as a URL, so each key is hashed. The hash is SHA-256: with a weaker one, a
 * client could create collisions with other keys and so disable collapsing for them.
 */
export class HitForMiss {
  readonly #seconds: number;
  /** Created with the first refusal, because it allocates its memory at once and takes milliseconds. */
  #reasons: LRUCache<string, string> | undefined;
  /** The last key and its hash, because one request looks up its key several times. */
  #key = '';
  #hash = '';

  /** @param seconds how long a refusal is remembered; 0 disables it. */
  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  has(key: string): boolean {
    return this.#reasons !== undefined && this.#reasons.size > 0 && this.#reasons.has(this.#hashOf(key));
  }

  /** The reason of the refusal. Counts no use. */
  reasonOf(key: string): string | undefined {
    return this.#reasons?.peek(this.#hashOf(key));
  }

  remember(key: string, reason: string): void {
    if (this.#seconds <= 0) return;
    this.#reasons ??= new LRUCache({ max: MOST_KEYS, ttl: this.#seconds * 1000, ttlResolution: 0 });
    this.#reasons.set(this.#hashOf(key), copyText(reason.slice(0, LONGEST_REASON)));
  }

  forget(key: string): void {
    if (this.#reasons !== undefined && this.#reasons.size > 0) this.#reasons.delete(this.#hashOf(key));
  }

  #hashOf(key: string): string {
    if (this.#key !== key) {
      this.#hash = hash('sha256', key, 'base64url');
      this.#key = key;
    }
    return this.#hash;
  }
}
