import { performance } from 'node:perf_hooks';
import type { EncodingEffort } from '../../exchange/encoded-body.js';
import { guarded, unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';

/** A stored body to encode. Refers to its entry by key, so that an evicted entry can be garbage collected. */
export interface EncodeJob {
  readonly key: string;
  readonly coding: string;
  readonly effort: EncodingEffort;
  /** The body has a form in this coding, and a smaller one is requested. */
  readonly upgrade: boolean;
}

/** Limits of the background work. */
export interface QueueBounds {
  /** Maximum bodies that wait for their first form. The next request adds a dropped one again. Default: 256. */
  readonly maxWaiting?: number;
  /** Maximum forms that wait for their upgrade. Default: 64. */
  readonly maxUpgrades?: number;
  /** The average share of one core that upgrades may take. Default: 0.05. */
  readonly upgradeShare?: number;
  /** How long the event loop is observed before an upgrade. Milliseconds. Default: 250. */
  readonly watch?: number;
}

/** An upgrade starts only if the event loop was used less than this share while it was observed. */
const IDLE = 0.5;

/**
 * Runs encoding jobs one at a time. First forms run first and at once, because each saves work for the next request.
 * Upgrades wait for idle time. The pause after each keeps them within their share: with 5 %, an upgrade that takes `d`
 * ms is followed by a pause of 19 `d`.
 */
export class EncodeQueue {
  readonly #run: (job: EncodeJob) => Promise<void>;
  readonly #clock: () => number;
  readonly #watchUse: () => () => number;
  readonly #bounds: Required<QueueBounds>;
  readonly #first: EncodeJob[] = [];
  readonly #upgrades: EncodeJob[] = [];
  /** Callers that wait until the first forms of an entry are made. */
  #waiters: { readonly key: string; readonly resolve: () => void }[] = [];
  #running: EncodeJob | undefined;
  #isScheduled = false;
  #isClosed = false;
  #restUntil = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param run must not reject.
   * @param clock monotonic time. Milliseconds.
   * @param watchUse starts to observe the event loop; the returned function gives the share in use since then, 0 to 1.
   */
  constructor(
    run: (job: EncodeJob) => Promise<void>,
    bounds: QueueBounds = {},
    clock: () => number = () => performance.now(),
    watchUse: () => () => number = watchLoop,
  ) {
    this.#run = run;
    this.#bounds = { maxWaiting: 256, maxUpgrades: 64, upgradeShare: 0.05, watch: 250, ...bounds };
    this.#clock = clock;
    this.#watchUse = watchUse;
  }

  /** The number of waiting jobs, including upgrades. */
  get size(): number {
    return this.#first.length + this.#upgrades.length;
  }

  /** @returns false if too many jobs wait already, or the queue is closed. */
  add(job: EncodeJob): boolean {
    const [waiting, most] = job.upgrade
      ? [this.#upgrades, this.#bounds.maxUpgrades]
      : [this.#first, this.#bounds.maxWaiting];
    if (this.#isClosed || waiting.length >= most) return false;
    waiting.push(job);
    this.#schedule();
    return true;
  }

  /** Resolves when no first form of the entry is to be made or being made; at once after `close`. */
  whenDone(key: string): Promise<void> {
    if (!this.#hasFirst(key)) return Promise.resolve();
    return new Promise((resolve) => void this.#waiters.push({ key, resolve }));
  }

  /** Drops the waiting jobs. A running job ends. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#first.length = 0;
    this.#upgrades.length = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#releaseWaiters();
  }

  #hasFirst(key: string): boolean {
    if (this.#isClosed) return false;
    return [this.#running, ...this.#first].some((job) => job?.key === key && !job.upgrade);
  }

  #releaseWaiters(): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = waiters.filter(({ key }) => this.#hasFirst(key));
    for (const waiter of waiters) if (!this.#waiters.includes(waiter)) waiter.resolve();
  }

  /** Starts the next job in a later turn, because the request that added it goes first. */
  #schedule(): void {
    if (this.#isScheduled || this.#running) return;
    this.#isScheduled = true;
    // The first form of a body serves all clients, not only the one whose request added the job.
    runInOwnContext(() => {
      const wake = guarded('encoding', () => {
        this.#isScheduled = false;
        this.#next();
      });
      setImmediate(wake).unref();
    });
  }

  #next(): void {
    if (this.#running || this.#isClosed) return;
    const job = this.#first.shift();
    if (job) void unawaited(this.#start(job), 'encoding');
    else if (this.#upgrades.length > 0 && this.#timer === undefined) this.#scheduleUpgrade();
  }

  async #start(job: EncodeJob): Promise<void> {
    this.#running = job;
    const began = this.#clock();
    await this.#run(job);
    this.#running = undefined;
    this.#releaseWaiters();
    const now = this.#clock();
    if (job.upgrade) this.#restUntil = now + (now - began) * (1 / this.#bounds.upgradeShare - 1);
    this.#next();
  }

  /** Starts the next upgrade after the pause, if the event loop was idle meanwhile. */
  #scheduleUpgrade(): void {
    const use = this.#watchUse();
    const wait = Math.max(this.#bounds.watch, this.#restUntil - this.#clock());
    const look = guarded('encoding', () => {
      this.#timer = undefined;
      if (this.#running) return; // which calls `#next` at its end
      const isIdle = this.#first.length === 0 && use() < IDLE;
      const job = isIdle ? this.#upgrades.shift() : undefined;
      if (job) void unawaited(this.#start(job), 'encoding');
      else this.#next();
    });
    this.#timer = setTimeout(look, wait).unref();
  }
}

function watchLoop(): () => number {
  const since = performance.eventLoopUtilization();
  return () => performance.eventLoopUtilization(since).utilization;
}
