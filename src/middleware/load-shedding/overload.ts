import { guarded } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';
import { reportFault } from '../../runtime/report-fault.js';
import { EventLoopWatch } from '../../telemetry/system/event-loop.js';
import type { LoadSheddingSettings } from './options.js';

/** Between two readings of the event loop. Milliseconds. */
const STEP = 500;

/** The largest share of requests that is shed: the others show whether the overload has ended. */
const MOST = 0.95;

/** Below this share nothing is shed. */
const LEAST = 0.02;

/** Down to this share of the limit, the load that is accepted is right: nothing changes. */
const CALM = 0.8;

/**
 * The share to shed after one more reading. It rises quickly above the limit and falls slowly below it. So it settles
 * where the load fits, and does not alternate between nothing and everything.
 *
 * @param ratio the delay of the event loop by its limit.
 */
export function nextShare(share: number, ratio: number): number {
  if (ratio > 1) return Math.min(MOST, share + (1 - share) * Math.min(0.5, 0.1 + (ratio - 1) / 4));
  if (ratio > CALM) return share;
  return share * 0.75 < LEAST ? 0 : share * 0.75;
}

/** Decides which requests are too many. */
export class Overload {
  readonly #settings: LoadSheddingSettings;
  readonly #random: () => number;
  #watch: EventLoopWatch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #share = 0;
  #isClosed = false;

  constructor(settings: LoadSheddingSettings, random: () => number = Math.random) {
    this.#settings = settings;
    this.#random = random;
  }

  /** Why the next request is shed; `undefined`: it is served. */
  next(): 'event-loop' | 'pool' | undefined {
    if (!this.#timer && !this.#isClosed && this.#settings.eventLoopDelay !== false) this.#start();
    if (this.#share > 0 && this.#random() < this.#share) return 'event-loop';
    const ofPool = this.#poolShare;
    return ofPool > 0 && this.#random() < ofPool ? 'pool' : undefined;
  }

  /** Nothing is shed any more. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#share = 0;
    clearInterval(this.#timer);
    this.#watch?.close();
  }

  /** From nothing at the limit to everything at twice the limit. */
  get #poolShare(): number {
    const { pool, poolWaiting } = this.#settings;
    if (!pool || this.#isClosed) return 0;
    try {
      const { waitingCount } = pool;
      return waitingCount > poolWaiting ? Math.min(MOST, waitingCount / poolWaiting - 1) : 0;
    } catch (error) {
      reportFault('loadShedding.pool', error);
      return 0;
    }
  }

  /** With the first request. The timer is for all of them. */
  #start(): void {
    runInOwnContext(() => {
      this.#watch = new EventLoopWatch();
      this.#timer = setInterval(this.#step, STEP).unref();
    });
  }

  readonly #step = guarded('load shedding', (): void => {
    const { eventLoopDelay: limit } = this.#settings;
    if (!this.#watch || limit === false) return;
    // Idle, or too short to say.
    const delay = this.#watch.rotate().delay?.mean ?? 0;
    this.#share = nextShare(this.#share, delay / limit);
  });
}
