import type { Timers } from '../../src/store/redis/timers.js';

/** Numbers between 0 and 1 that a seed determines (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly call: () => void;
  isOff: boolean;
}

/** A simulated clock. It runs one event and all its consequences before the next event. */
export class VirtualTime implements Timers {
  readonly random: () => number;
  #now = 0;
  #order = 0;
  readonly #events: Event[] = [];

  constructor(random: () => number) {
    this.random = random;
  }

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, call: () => void): () => void {
    const event = { at: this.#now + Math.max(0, milliseconds), order: this.#order++, call, isOff: false };
    // Sorted, with the next event last, because most events are due soon.
    let place = this.#events.length;
    while (place > 0 && isBefore(this.#events[place - 1]!, event)) place--;
    this.#events.splice(place, 0, event);
    return () => {
      event.isOff = true;
    };
  }

  /** Advances the clock. */
  async run(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    await settled();
    for (;;) {
      const next = this.#events.at(-1);
      if (!next || next.at > end) break;
      this.#events.pop();
      if (next.isOff) continue;
      this.#now = next.at;
      next.call();
      await settled();
    }
    this.#now = end;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/**
 * Resolves when no promise has work left: Node calls `nextTick` from a promise only after all other promises. A turn of the
 * event loop does the same, and costs much more, after each of some hundred thousand events.
 */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
