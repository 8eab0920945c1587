import { AsyncResource } from 'node:async_hooks';
import { guarded } from '../../runtime/guard.js';
import type { ResponseHead, StoredResponse } from '../../store/stored-response.js';

/**
 * A fill whose headers have gone and whose body is on its way. Others are served from what it has recorded so far.
 *
 * Only where the handler has declared a length that an entry may have. Without one the body may yet grow too large
 * to be kept: whoever follows would then have to be broken off, or to hold the leader back.
 */
export class StreamingFill {
  readonly head: ResponseHead;
  /** As the handler has declared it. Bytes. */
  readonly length: number;
  readonly #chunks: readonly Buffer[];
  readonly #followers = new Set<() => void>();
  #body: Buffer | undefined;
  #isBroken = false;
  #isWoken = false;
  #isRescuing = false;
  #isOrphan = false;
  /** Has the handler run again, and tells by `rescued` what came of it; whoever follows knows how. */
  rescuer: (() => void) | undefined;

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
    const resume = AsyncResource.bind(guarded('following', follower));
    this.#followers.add(resume);
    return () => this.#followers.delete(resume);
  }

  /** There is more. Not within the leader's own write, which would take as long as all of them. */
  wake(): void {
    if (this.#isWoken || this.#followers.size === 0) return;
    this.#isWoken = true;
    setImmediate(
      guarded('following', () => {
        this.#isWoken = false;
        for (const follower of [...this.#followers]) follower();
      }),
    );
  }

  complete(body: Buffer): void {
    if (this.#body || this.#isBroken) return;
    this.#body = body;
    this.wake();
  }

  /** The body will not be whole, or is not what was declared. */
  break(): void {
    if (this.#body) return;
    this.#isBroken = true;
    this.wake();
  }

  /**
   * The leader's client holds the handler back; or has left, and the handler with it. Neither is the fault of those
   * who follow, so another run is to bring them the rest.
   *
   * @param isOrphan nothing more comes from the leader.
   */
  rescue(isOrphan: boolean): void {
    this.#isOrphan ||= isOrphan;
    if (this.#isRescuing) return;
    this.#isRescuing = true;
    if (this.rescuer && this.#followers.size > 0) this.rescuer();
    else this.rescued(undefined);
  }

  /** @param entry what the other run has brought; nothing when it failed. */
  rescued(entry: StoredResponse | undefined): void {
    this.#isRescuing = false;
    if (entry && this.#goesOnIn(entry)) this.complete(entry.body);
    else if (this.#isOrphan) this.break();
  }

  /** Whether what has been sent already, head and beginning, is that of another response too. */
  #goesOnIn({ key, status, etag, lastModified, body }: StoredResponse): boolean {
    const { head } = this;
    if (key !== head.key || status !== head.status || body.length !== this.length) return false;
    if (lastModified !== head.lastModified || (head.etag !== undefined && etag !== head.etag)) return false;
    let at = 0;
    return this.#chunks.every((chunk) => chunk.equals(body.subarray(at, (at += chunk.length))));
  }
}
