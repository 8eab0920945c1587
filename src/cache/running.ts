import { AsyncResource } from 'node:async_hooks';
import type { ResponseHead } from '../store/entry.js';

/**
 * A fill whose headers have gone and whose body is on its way. Others are served from what it has recorded so far.
 *
 * Only where the handler has declared a length that an entry may have. Without one the body may yet grow too large
 * to be kept: whoever follows would then have to be broken off, or to hold the leader back.
 */
export class Running {
  readonly head: ResponseHead;
  /** As the handler has declared it. Bytes. */
  readonly length: number;
  readonly #chunks: readonly Buffer[];
  readonly #followers = new Set<() => void>();
  #body: Buffer | undefined;
  #isBroken = false;
  #isWoken = false;

  /** @param chunks the recording, which its owner adds to, telling us by `wake`. */
  constructor(head: ResponseHead, length: number, chunks: readonly Buffer[]) {
    this.head = head;
    this.length = length;
    this.#chunks = chunks;
  }

  get chunks(): readonly Buffer[] {
    return this.#chunks;
  }

  /** The whole, once it is known to be one. */
  get body(): Buffer | undefined {
    return this.#body;
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  get followers(): number {
    return this.#followers.size;
  }

  /** @returns how to leave. */
  add(follower: () => void): () => void {
    // What it writes must find its own AsyncLocalStorage, not that of the request that fills.
    const resume = AsyncResource.bind(follower);
    this.#followers.add(resume);
    return () => this.#followers.delete(resume);
  }

  /** There is more. Not within the leader's own write, which would take as long as all of them. */
  wake(): void {
    if (this.#isWoken || this.#followers.size === 0) return;
    this.#isWoken = true;
    setImmediate(() => {
      this.#isWoken = false;
      for (const follower of [...this.#followers]) follower();
    });
  }

  complete(body: Buffer): void {
    this.#body = body;
    this.wake();
  }

  /** The body will not be whole, or is not what was declared. */
  break(): void {
    if (this.#body) return;
    this.#isBroken = true;
    this.wake();
  }
}
