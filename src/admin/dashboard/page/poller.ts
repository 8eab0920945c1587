import { ApiProblem, readApi } from './client.js';

/** An address that is read again and again. */
export interface Polled {
  /** @returns the path; `undefined` if it need not be read now. */
  path(): string | undefined;
  /** Between two readings. Milliseconds. */
  readonly every: number;
  receive(value: unknown): void;
}

/** The state of the connection. */
export type PollState =
  | { readonly kind: 'live' }
  | { readonly kind: 'paused' }
  | { readonly kind: 'trouble'; readonly problem: ApiProblem; readonly retryInSeconds: number };

/** Between two looks. Milliseconds. */
const TICK = 2000;
const LONGEST_PAUSE = 30_000;

/** Reads addresses while the page is visible, and more rarely while that fails. */
export class Poller {
  readonly #polled: readonly Polled[];
  readonly #dueAt = new Map<Polled, number>();
  readonly #show: (state: PollState) => void;
  #timer: number | undefined;
  #failures = 0;
  #isReading = false;
  #isWanted = false;

  /** @param show is called after each round. */
  constructor(polled: readonly Polled[], show: (state: PollState) => void) {
    this.#polled = polled;
    this.#show = show;
    document.addEventListener('visibilitychange', () => this.now());
    window.addEventListener('online', () => this.now());
  }

  /** Reads what is due now, or as soon as the current round has ended. */
  now(): void {
    if (this.#isReading) {
      this.#isWanted = true;
      return;
    }
    window.clearTimeout(this.#timer);
    void this.#round();
  }

  /** The same for everything, due or not. */
  all(): void {
    this.#dueAt.clear();
    this.now();
  }

  async #round(): Promise<void> {
    if (document.hidden) return this.#show({ kind: 'paused' });
    this.#isReading = true;
    const problem = await this.#readDue();
    this.#isReading = false;
    this.#failures = problem ? this.#failures + 1 : 0;
    const pause = Math.min(TICK * 2 ** this.#failures, LONGEST_PAUSE);
    this.#show(problem ? { kind: 'trouble', problem, retryInSeconds: pause / 1000 } : { kind: 'live' });
    const wait = this.#isWanted ? 0 : problem ? pause : TICK;
    this.#isWanted = false;
    this.#timer = window.setTimeout(() => void this.#round(), wait);
  }

  /** @returns the gravest problem. */
  async #readDue(): Promise<ApiProblem | undefined> {
    // Ticks are not exact, and one that comes early must not wait for the next.
    const now = performance.now() + TICK / 2;
    const due = this.#polled.filter((polled) => (this.#dueAt.get(polled) ?? 0) <= now);
    const problems = await Promise.all(due.map((polled) => this.#read(polled)));
    return problems.find((problem) => problem !== undefined);
  }

  async #read(polled: Polled): Promise<ApiProblem | undefined> {
    const path = polled.path();
    if (path === undefined) return undefined;
    try {
      const value = await readApi(path);
      this.#dueAt.set(polled, performance.now() + polled.every);
      polled.receive(value);
    } catch (error) {
      if (error instanceof ApiProblem) return error;
      // A response without the figures that the page needs: those of other responses are still right.
      console.error(path, error);
    }
    return undefined;
  }
}
