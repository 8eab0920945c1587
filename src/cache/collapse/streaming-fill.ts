import { AsyncResource } from 'node:async_hooks';
import { guarded } from '../../runtime/guard.js';
import type { ResponseHead, StoredResponse } from '../../store/stored-response.js';

/**
 * A fill whose headers have been sent and whose body is being received. Other requests follow the recorded part.
 *
 * Only for responses with a declared length that fits an entry. Without one, the body may grow too large to be stored;
 * its followers would then be aborted, or would slow the leader down.
 */
export class StreamingFill {
  readonly head: ResponseHead;
  /** The declared length of the body. Bytes. */
  readonly length: number;
  readonly #chunks: readonly Buffer[];
  readonly #followers = new Set<() => void>();
  #body: Buffer | undefined;
  #isBroken = false;
  #isWoken = false;
  #isRescuing = false;
  #isOrphan = false;
  /** Starts another run of the handler, which calls `rescued` with its result. Set by the first follower. */
  rescuer: (() => void) | undefined;

  /** @param chunks the recording. Its owner appends to it and then calls `wake`. */
  constructor(head: ResponseHead, length: number, chunks: readonly Buffer[]) {
    this.head = head;
    this.length = length;
    this.#chunks = chunks;
  }

  get chunks(): readonly Buffer[] {
    return this.#chunks;
  }

  /** The complete body; `undefined` while it is incomplete. */
  get body(): Buffer | undefined {
    return this.#body;
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  get followers(): number {
    return this.#followers.size;
  }

  /** @returns a function that removes the follower. */
  add(follower: () => void): () => void {
    // Bound to the follower's own AsyncLocalStorage context, not that of the request that fills.
    const resume = AsyncResource.bind(guarded('following', follower));
    this.#followers.add(resume);
    return () => this.#followers.delete(resume);
  }

  /** New chunks are recorded. Followers run in a later turn, so that they do not delay the leader's write. */
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

  /** The body will stay incomplete, or has another length than declared. */
  break(): void {
    if (this.#body) return;
    this.#isBroken = true;
    this.wake();
  }

  /**
   * The leader's client reads too slowly or has disconnected, which may stop the handler. Followers get the rest of
   * the body from another run of the handler.
   *
   * @param isOrphan the leader will record nothing more.
   */
  rescue(isOrphan: boolean): void {
    this.#isOrphan ||= isOrphan;
    if (this.#isRescuing) return;
    this.#isRescuing = true;
    if (this.rescuer && this.#followers.size > 0) this.rescuer();
    else this.rescued(undefined);
  }

  /** @param entry the response of the other run; `undefined` if it failed. */
  rescued(entry: StoredResponse | undefined): void {
    this.#isRescuing = false;
    if (entry && this.#isContinuedBy(entry)) this.complete(entry.body);
    else if (this.#isOrphan) this.break();
  }

  /**
   * Whether another response has the same head and begins with the same bytes, so that followers can continue with it.
   */
  #isContinuedBy({ key, status, etag, lastModified, body }: StoredResponse): boolean {
    const { head } = this;
    if (key !== head.key || status !== head.status || body.length !== this.length) return false;
    if (lastModified !== head.lastModified || (head.etag !== undefined && etag !== head.etag)) return false;
    let at = 0;
    return this.#chunks.every((chunk) => chunk.equals(body.subarray(at, (at += chunk.length))));
  }
}
