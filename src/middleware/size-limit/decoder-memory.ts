import { AsyncResource } from 'node:async_hooks';
import { reportFault } from '../../exchange/run-listeners.js';
import { guarded } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';

/** Minimum memory that a decoder counts for: its state, its tables and its output buffer. Bytes. */
const LEAST_BYTES = 64 * 1024;

/** Share of the limit for larger windows. The rest is for decoders that need only the minimum. */
const SHARE_OF_WINDOWS = 0.5;

/** While others wait for memory, a decoder without progress for this long may be stopped. */
const IDLE_MS = 5_000;

/** Progress is one input byte per this many bytes of memory, so that a large window needs more input. */
const MEMORY_PER_INPUT = 256;

/** Interval of the search for idle decoders while others wait for memory. */
const CHECK_MS = 250;

/** The memory of all decoders of this process. */
class SharedMemory {
  used = 0;
  /** Decoders that hold memory, ordered by their last progress, oldest first. */
  readonly holders = new Set<DecoderMemory>();
  /**
   * Decoders that wait for the minimum, and those that wait for a larger window; each in order of arrival.
   */
  readonly small = new Set<DecoderMemory>();
  readonly large = new Set<DecoderMemory>();
  #timer: NodeJS.Timeout | undefined;
  #isScheduled = false;

  /** Deferred, because a client's request calls this and the work serves other requests. */
  schedule(): void {
    if (this.#isScheduled || !this.#isWaitedFor) return;
    this.#isScheduled = true;
    // It serves all bodies, not only that of the client whose request called this.
    runInOwnContext(() => setImmediate(this.#settle));
  }

  get #isWaitedFor(): boolean {
    return this.small.size > 0 || this.large.size > 0;
  }

  /** Grants waiting decoders memory while it suffices, and stops idle decoders when it does not. */
  readonly #settle = guarded('size-limit', (): void => {
    this.#isScheduled = false;
    for (const queue of [this.small, this.large]) {
      for (const next of queue) {
        while (!next.fits && this.#endIdlest(next));
        if (!next.fits) break;
        queue.delete(next);
        next.grant();
      }
    }
    if (this.#isWaitedFor) this.#timer ??= setInterval(this.#settle, CHECK_MS).unref();
    else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  });

  /** @returns whether a decoder was stopped; false if all others make progress. */
  #endIdlest(waiting: DecoderMemory): boolean {
    const idleSince = performance.now() - IDLE_MS;
    for (const holder of this.holders) {
      if (holder.progressedAt > idleSince) return false;
      if (holder === waiting) continue;
      try {
        holder.end();
      } catch (error) {
        reportFault('size-limit', error);
      }
      holder.release(); // in case stopping it has failed
      return true;
    }
    return false;
  }
}

const shared = new SharedMemory();

/**
 * The memory of one decoder of a request body.
 *
 * Node cannot limit the window of a decoder, so all decoders of a process share one limit. A decoder that
 * needs more than the remaining memory waits. While one waits, decoders without progress are stopped, the
 * longest idle first. Without waiting decoders, no body is too slow.
 */
export class DecoderMemory {
  /** Called when other decoders need the memory. */
  readonly end: () => void;
  /** On the monotonic clock. Milliseconds. */
  progressedAt = 0;
  readonly #limit: number;
  #held = 0;
  #wanted = 0;
  #granted: (() => void) | undefined;
  #input = 0;
  #isReleased = false;

  /**
   * @param limit bytes that all decoders of the process may hold together. One alone may hold more.
   * @param end called when other decoders need the memory; must lead to `release`.
   */
  constructor(limit: number, end: () => void) {
    this.#limit = limit;
    this.end = AsyncResource.bind(end);
  }

  /**
   * Requests a total amount of memory.
   *
   * @param granted called once, later, if the result is false and memory becomes free.
   * @returns whether the memory is granted.
   */
  take(bytes: number, granted: () => void): boolean {
    this.#wanted = Math.max(LEAST_BYTES, bytes);
    if (this.#wanted <= this.#held) return true;
    const queue = this.#wanted > LEAST_BYTES ? shared.large : shared.small;
    if (queue.size === 0 && this.fits) {
      this.#hold();
      return true;
    }
    this.#granted = AsyncResource.bind(granted);
    queue.add(this);
    shared.schedule();
    return false;
  }

  /** Whether the memory that it waits for is free. */
  get fits(): boolean {
    const others = shared.used - this.#held;
    const share = this.#wanted > LEAST_BYTES ? SHARE_OF_WINDOWS : 1;
    return others === 0 || others + this.#wanted <= this.#limit * share;
  }

  /** Grants the memory that it waits for. */
  grant(): void {
    this.#hold();
    const granted = this.#granted;
    this.#granted = undefined;
    granted?.();
  }

  /** Reduces the memory to the given amount, and records that input bytes were decoded. */
  keep(bytes: number, inputBytes: number): void {
    const kept = Math.min(this.#held, Math.max(LEAST_BYTES, bytes));
    shared.used -= this.#held - kept;
    this.#held = kept;
    this.#input += inputBytes;
    if (this.#input * MEMORY_PER_INPUT >= kept) this.#touch();
    shared.schedule();
  }

  /** Returns all memory, and stops waiting. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    shared.used -= this.#held;
    this.#held = 0;
    this.#granted = undefined;
    shared.holders.delete(this);
    shared.small.delete(this);
    shared.large.delete(this);
    shared.schedule();
  }

  #hold(): void {
    shared.used += this.#wanted - this.#held;
    this.#held = this.#wanted;
    this.#touch();
  }

  #touch(): void {
    if (this.#isReleased) return;
    this.#input = 0;
    this.progressedAt = performance.now();
    shared.holders.delete(this);
    shared.holders.add(this);
  }
}

/**
 * The memory that decoders of request bodies hold in this process, and the number of decoders that hold or
 * wait.
 */
export function decoderMemoryInUse(): { bytes: number; decoders: number; waiting: number } {
  const { used, holders, small, large } = shared;
  return { bytes: used, decoders: holders.size, waiting: small.size + large.size };
}
