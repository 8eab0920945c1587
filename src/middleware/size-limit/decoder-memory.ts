import { AsyncResource } from 'node:async_hooks';
import { reportFault } from '../../exchange/run-listeners.js';
import { guarded } from '../../runtime/guard.js';

/** Least memory that a decoder counts for: its state, its tables and its output buffer. Bytes. */
const LEAST_BYTES = 64 * 1024;

/** Larger windows may fill this share of the bound. The rest is for decoders that never need more than the least. */
const SHARE_OF_WINDOWS = 0.5;

/** While others wait for memory, a decoder that has made no progress for so long may be ended. */
const IDLE_MS = 5_000;

/** Progress is one byte of input for so many bytes of memory: large windows must be worth what they hold. */
const MEMORY_PER_INPUT = 256;

/** How often idle decoders are looked for while others wait for memory. */
const CHECK_MS = 250;

/** What all decoders of this process hold together. */
class SharedMemory {
  used = 0;
  /** Decoders that hold memory; the one whose last progress is the oldest comes first. */
  readonly holders = new Set<DecoderMemory>();
  /** Decoders that wait for the least, and those that wait for a larger window; each in order of arrival. */
  readonly small = new Set<DecoderMemory>();
  readonly large = new Set<DecoderMemory>();
  /** What serves all belongs to no client: it runs in the context in which this module was loaded. */
  readonly #scope = new AsyncResource('hotpath.decoder-memory');
  #timer: NodeJS.Timeout | undefined;
  #isScheduled = false;

  /** Not at once: a client's request calls this, and what follows serves others. */
  schedule(): void {
    if (this.#isScheduled || !this.#isWaitedFor) return;
    this.#isScheduled = true;
    this.#scope.runInAsyncScope(() => setImmediate(this.#settle));
  }

  get #isWaitedFor(): boolean {
    return this.small.size > 0 || this.large.size > 0;
  }

  /** Grants what is waited for, as far as it fits, and ends idle decoders where it does not. */
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

  /** @returns whether one was ended: none is where all others make progress. */
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
      holder.release(); // should ending it have failed
      return true;
    }
    return false;
  }
}

const shared = new SharedMemory();

/**
 * The memory of one decoder of a request body.
 *
 * Node offers no bound for the window of a decoder, so all decoders of a process share one. A decoder that needs more
 * than is left waits. While one waits, decoders that make no progress are ended, the longest idle first. Without
 * pressure no body is too slow.
 */
export class DecoderMemory {
  /** Called when others need the memory more. */
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
   * @param end called when others need the memory more; it must lead to `release`.
   */
  constructor(limit: number, end: () => void) {
    this.#limit = limit;
    this.end = AsyncResource.bind(end);
  }

  /**
   * Takes so many bytes in all.
   *
   * @param granted called later, once, when the answer is false and there is room.
   * @returns whether the memory is there.
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

  /** Whether there is room for what it waits for. */
  get fits(): boolean {
    const others = shared.used - this.#held;
    const share = this.#wanted > LEAST_BYTES ? SHARE_OF_WINDOWS : 1;
    return others === 0 || others + this.#wanted <= this.#limit * share;
  }

  /** Gives it what it waits for. */
  grant(): void {
    this.#hold();
    const granted = this.#granted;
    this.#granted = undefined;
    granted?.();
  }

  /** Gives back what is more than so many bytes; so many bytes of input have been decoded. */
  keep(bytes: number, inputBytes: number): void {
    const kept = Math.min(this.#held, Math.max(LEAST_BYTES, bytes));
    shared.used -= this.#held - kept;
    this.#held = kept;
    this.#input += inputBytes;
    if (this.#input * MEMORY_PER_INPUT >= kept) this.#touch();
    shared.schedule();
  }

  /** Gives everything back, and waits no more. */
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

/** Memory that decoders of request bodies hold now, in this process, and how many wait for some. */
export function decoderMemoryInUse(): { bytes: number; decoders: number; waiting: number } {
  const { used, holders, small, large } = shared;
  return { bytes: used, decoders: holders.size, waiting: small.size + large.size };
}
