import { unawaited } from '../../runtime/guard.js';

/** One background task. */
export interface QueuedWork {
  /** A client waits for its outcome. */
  isAwaited(): boolean;
  /** Never rejects. */
  run(): Promise<void>;
  /** Called instead of `run` if the queue is full or closed. */
  drop(): void;
}

/** Maximum waiting tasks. */
const MOST_QUEUED = 256;

/**
 * Runs background tasks, at most `concurrency` at once. Waiting tasks run in order, those that a client waits for
 * first. If too many wait, the oldest task that no client waits for is dropped, or else the oldest.
 */
export class RefreshQueue {
  readonly #concurrency: number;
  readonly #waiting: QueuedWork[] = [];
  #running = 0;
  #isClosed = false;

  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  add(work: QueuedWork): void {
    if (this.#isClosed) return work.drop();
    if (this.#running < this.#concurrency) return this.#start(work);
    this.#waiting.push(work);
    if (this.#waiting.length <= MOST_QUEUED) return;
    const first = this.#waiting.findIndex((each) => !each.isAwaited());
    this.#waiting.splice(Math.max(0, first), 1)[0]!.drop();
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Drops the waiting tasks. Running tasks continue. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const work of this.#waiting.splice(0)) work.drop();
  }

  #start(work: QueuedWork): void {
    this.#running++;
    void unawaited(this.#run(work), 'refresh');
  }
  async #run(work: QueuedWork): Promise<void> {
    try {
      await work.run();
    } finally {
      this.#running--;
      const awaited = this.#waiting.findIndex((each) => each.isAwaited());
      const [next] = this.#waiting.splice(Math.max(0, awaited), 1);
      if (next) this.#start(next);
    }
  }
}
