import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { copyText } from '../../runtime/owned-memory.js';

/** Keys that are remembered: with their hashes and reasons some 2 MB. */
const MOST_KEYS = 10_000;

/** A handler may give a reason of its own. Characters. */
const LONGEST_REASON = 100;

/**
 * Keys whose responses were refused lately (hit-for-miss): no request is to wait for another's fill of one.
 *
 * Clients choose keys, and keys may be as long as a URL, so a hash stands for each. It is SHA-256: with a weaker one a
 * client could make a key that stands for that of others, whose requests would then no longer wait for each other.
 */
export class HitForMiss {
  readonly #seconds: number;
  /** Made with the first refusal: it takes its memory, and some milliseconds, at once. */
  #reasons: LRUCache<string, string> | undefined;
  /** The key that came last, and its hash: one request asks several times. */
  #key = '';
  #hash = '';

  /** @param seconds that a refusal is remembered; 0 for not at all. */
  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  has(key: string): boolean {
    return this.#reasons !== undefined && this.#reasons.size > 0 && this.#reasons.has(this.#hashOf(key));
  }

  /** Why the response was refused; it counts as no use. */
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
