import { performance } from 'node:perf_hooks';
import { guarded } from '../../../runtime/guard.js';
import { runInOwnContext } from '../../../runtime/module-context.js';

/** What has to be done by then. */
export interface Deadline {
  /** On the clock of `performance`. Milliseconds. */
  readonly at: number;
  /** Absent once it is met, or missed. */
  late: (() => void) | undefined;
  next: Deadline | undefined;
}

/**
 * Deadlines that are all equally far away, kept by one timer: nearly all are met long before, and a timer for each
 * would be set and cleared for nothing. While one is open the process stays alive: what waits for an answer must live
 * to get it.
 */
export class DeadlineQueue {
  /** How far away each is when it begins. Milliseconds. */
  readonly after: number;
  #first: Deadline | undefined;
  #last: Deadline | undefined;
  #open = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #onTime = guarded('redis', () => this.#look());

  constructor(after: number) {
    this.after = after;
  }

  /** @param late called once it is missed, and never before its time. */
  add(late: () => void): Deadline {
    const deadline: Deadline = { at: performance.now() + this.after, late, next: undefined };
    if (this.#last) this.#last.next = deadline;
    else this.#first = deadline;
    this.#last = deadline;
    this.#open++;
    if (!this.#timer) this.#wait(this.after);
    else if (this.#open === 1) this.#timer.ref();
    return deadline;
  }

  /** Nobody is called for it any more. Idempotent. */
  meet(deadline: Deadline): void {
    if (!deadline.late) return;
    this.#end(deadline);
    this.#forget();
    if (this.#open === 0) this.#timer?.unref();
  }

  #wait(ms: number): void {
    // One follows the other as long as there are commands: the first must not keep its client's AsyncLocalStorage.
    this.#timer = runInOwnContext(() => setTimeout(this.#onTime, Math.max(1, Math.ceil(ms))));
    if (this.#open === 0) this.#timer.unref();
  }

  #look(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (let each = this.#first; each && each.at <= now; each = each.next) {
      const { late } = each;
      if (!late) continue;
      this.#end(each);
      guarded('redis', late)();
    }
    this.#forget();
    if (this.#first) this.#wait(this.#first.at - now);
  }

  #end(deadline: Deadline): void {
    deadline.late = undefined;
    this.#open--;
  }

  /** Lets go of those at the front that are over; and them of one another, or one that has grown old keeps all that follow. */
  #forget(): void {
    while (this.#first && !this.#first.late) {
      const over: Deadline = this.#first;
      this.#first = over.next;
      over.next = undefined;
    }
    if (!this.#first) this.#last = undefined;
  }
}
