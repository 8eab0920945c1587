import { performance } from 'node:perf_hooks';
import type { EncodingEffort } from '../../exchange/encoded-body.js';
import { guarded, unawaited } from '../../runtime/guard.js';
import { runInOwnContext } from '../../runtime/module-context.js';

/** A stored body that is to be encoded. By key: what is evicted while it waits is not kept alive. */
export interface EncodeJob {
  readonly key: string;
  readonly coding: string;
  readonly effort: EncodingEffort;
  /** The body has a form in this coding; a smaller one is wanted. */
  readonly upgrade: boolean;
}

/** Bounds of the background work. */
export interface QueueBounds {
  /** Bodies that may wait for their first form; more are asked for again by the next request. Default 256. */
  readonly maxWaiting?: number;
  /** Forms that may wait for their upgrade. Default 64. */
  readonly maxUpgrades?: number;
  /** The share of one core that upgrades may take, averaged. Default 0.05. */
  readonly upgradeShare?: number;
  /** For how long the event loop is watched before an upgrade. Milliseconds. Default 250. */
  readonly watch?: number;
}

/** An upgrade begins only where the event loop was used less than this while it was watched. */
const IDLE = 0.5;

/**
 * Runs encoding jobs one at a time. First forms go first, and at once: each saves the next request the same
 * work. Upgrades wait for idle time, and after each the queue rests so long that they take no more than their
 * share: an upgrade of `d` ms at a share of 5 % is followed by 19 `d` without one.
 */
export class EncodeQueue {
  readonly #run: (job: EncodeJob) => Promise<void>;
  readonly #clock: () => number;
  readonly #watchUse: () => () => number;
  readonly #bounds: Required<QueueBounds>;
  readonly #first: EncodeJob[] = [];
  readonly #upgrades: EncodeJob[] = [];
  #isRunning = false;
  #isWoken = false;
  #isClosed = false;
  #restUntil = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param run must not reject.
   * @param clock milliseconds, monotonic.
   * @param watchUse begins to watch the event loop; what it returns tells the share of time in use since, 0 to 1.
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

  /** Jobs that wait, upgrades among them. */
  get size(): number {
    return this.#first.length + this.#upgrades.length;
  }

  /** @returns false when too many wait already, or the queue is closed. */
  add(job: EncodeJob): boolean {
    const [waiting, most] = job.upgrade
      ? [this.#upgrades, this.#bounds.maxUpgrades]
      : [this.#first, this.#bounds.maxWaiting];
    if (this.#isClosed || waiting.length >= most) return false;
    waiting.push(job);
    this.#wake();
    return true;
  }

  /** Forgets what waits; a job that runs ends, and none begins after it. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#first.length = 0;
    this.#upgrades.length = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Not at once: the request that asks goes first. */
  #wake(): void {
    if (this.#isWoken || this.#isRunning) return;
    this.#isWoken = true;
    // The first form of a body serves all clients, not only the one whose request asked for it.
    runInOwnContext(() => {
      const wake = guarded('encoding', () => {
        this.#isWoken = false;
        this.#next();
      });
      setImmediate(wake).unref();
    });
  }

  #next(): void {
    if (this.#isRunning || this.#isClosed) return;
    const job = this.#first.shift();
    if (job) void unawaited(this.#start(job), 'encoding');
    else if (this.#upgrades.length > 0 && this.#timer === undefined) this.#watch();
  }

  async #start(job: EncodeJob): Promise<void> {
    this.#isRunning = true;
    const began = this.#clock();
    await this.#run(job);
    this.#isRunning = false;
    const now = this.#clock();
    if (job.upgrade) this.#restUntil = now + (now - began) * (1 / this.#bounds.upgradeShare - 1);
    this.#next();
  }

  /** Begins the next upgrade after the rest, if the event loop has had little to do meanwhile. */
  #watch(): void {
    const use = this.#watchUse();
    const wait = Math.max(this.#bounds.watch, this.#restUntil - this.#clock());
    const look = guarded('encoding', () => {
      this.#timer = undefined;
      if (this.#isRunning) return; // which ends in `#next`
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
