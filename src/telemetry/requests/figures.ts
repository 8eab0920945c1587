import { DurationHistogram } from './histogram.js';

/** How long requests took. Seconds; `null` where there was none. */
export interface Durations {
  readonly mean: number | null;
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly max: number | null;
}

/** Figures of the requests of some time. */
export interface RequestFigures {
  /** Requests that have ended. */
  readonly requests: number;
  /** Requests per second, over the time that the figures cover. */
  readonly rate: number;
  /** Responses with a status from 400 to 499; clients that left are in `aborted` alone. */
  readonly clientErrors: number;
  /** Responses with a status from 500 to 599. */
  readonly serverErrors: number;
  /** Clients that left before the response was complete. */
  readonly aborted: number;
  /** Share of `clientErrors` in the requests, from 0 to 1. */
  readonly clientErrorRatio: number;
  /** Share of `serverErrors` in the requests, from 0 to 1. */
  readonly serverErrorRatio: number;
  /** From the arrival of a request to the end of its response. */
  readonly total: Durations;
  /** From the arrival of a request to the headers of its response: streams do not lengthen it. */
  readonly toHeaders: Durations;
  /** Bodies of requests, as `Content-Length` declares them. Bytes. */
  readonly requestBytes: number;
  /** Bodies of responses, as they were sent. Bytes. */
  readonly responseBytes: number;
  /** Bytes that compression has saved. */
  readonly savedBytes: number;
}

/** One request that has ended, as recorders take it. */
export interface EndedFigures {
  readonly status: number;
  readonly aborted: boolean;
  /** Milliseconds. */
  readonly total: number;
  /** Milliseconds. */
  readonly toHeaders: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly savedBytes: number;
}

/** Counts of the requests of one stretch of time. */
export class RequestCounts {
  clientErrors = 0;
  serverErrors = 0;
  aborted = 0;
  requestBytes = 0;
  responseBytes = 0;
  savedBytes = 0;
  readonly total = new DurationHistogram();
  readonly toHeaders = new DurationHistogram();

  get requests(): number {
    return this.total.count;
  }

  record(ended: EndedFigures): void {
    const { status } = ended;
    if (ended.aborted) this.aborted++;
    else if (status >= 500) this.serverErrors++;
    else if (status >= 400) this.clientErrors++;
    this.total.record(ended.total);
    this.toHeaders.record(ended.toHeaders);
    this.requestBytes += ended.requestBytes;
    this.responseBytes += ended.responseBytes;
    this.savedBytes += ended.savedBytes;
  }

  add(other: RequestCounts): void {
    this.clientErrors += other.clientErrors;
    this.serverErrors += other.serverErrors;
    this.aborted += other.aborted;
    this.requestBytes += other.requestBytes;
    this.responseBytes += other.responseBytes;
    this.savedBytes += other.savedBytes;
    this.total.add(other.total);
    this.toHeaders.add(other.toHeaders);
  }

  clear(): void {
    this.clientErrors = this.serverErrors = this.aborted = 0;
    this.requestBytes = this.responseBytes = this.savedBytes = 0;
    this.total.clear();
    this.toHeaders.clear();
  }

  /** @param seconds the time that they cover. */
  figures(seconds: number): RequestFigures {
    const { requests, clientErrors, serverErrors, aborted, requestBytes, responseBytes, savedBytes } = this;
    return {
      requests,
      rate: seconds > 0 ? requests / seconds : 0,
      clientErrors,
      serverErrors,
      aborted,
      clientErrorRatio: requests > 0 ? clientErrors / requests : 0,
      serverErrorRatio: requests > 0 ? serverErrors / requests : 0,
      total: durationsOf(this.total),
      toHeaders: durationsOf(this.toHeaders),
      requestBytes,
      responseBytes,
      savedBytes,
    };
  }
}

export function durationsOf(histogram: DurationHistogram): Durations {
  const { count, sum, max } = histogram;
  if (count === 0) return { mean: null, p50: null, p95: null, p99: null, max: null };
  const at = (share: number) => histogram.percentile(share)! / 1000;
  return { mean: sum / count / 1000, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: max / 1000 };
}

/** Counts since the start, of which those of the last few stretches of time can be told apart. */
export class RollingCounts {
  /** Of the stretch that has not ended. */
  now = new RequestCounts();
  /** The latest first. */
  readonly #recent: RequestCounts[] = [];
  readonly #before = new RequestCounts();
  readonly #stretches: number;

  /** @param stretches that count as recent, beside the one that has not ended. */
  constructor(stretches: number) {
    this.#stretches = stretches;
  }

  /** Since the start. */
  all(): RequestCounts {
    const all = this.recent();
    all.add(this.#before);
    return all;
  }

  /** Of the last few stretches, and of the one that has not ended. */
  recent(): RequestCounts {
    const recent = new RequestCounts();
    for (const counts of [this.now, ...this.#recent]) recent.add(counts);
    return recent;
  }

  /** The latest stretch has ended. @returns its counts, valid until the next end. */
  rotate(): RequestCounts {
    const ended = this.now;
    const isFull = this.#recent.length >= this.#stretches;
    const oldest = isFull ? this.#recent.pop()! : new RequestCounts();
    if (isFull) this.#before.add(oldest);
    oldest.clear();
    this.#recent.unshift(ended);
    this.now = oldest;
    return ended;
  }

  /** Adds up one number of the last few stretches. Cheaper than `recent`, which adds up all of them. */
  sumOfRecent(read: (counts: RequestCounts) => number): number {
    return this.#recent.reduce((sum, counts) => sum + read(counts), read(this.now));
  }

  /** Requests since the start. */
  get requests(): number {
    return this.#before.requests + this.sumOfRecent(({ requests }) => requests);
  }

  /** Whether anything was counted lately. */
  get isIdle(): boolean {
    return this.now.requests === 0 && this.#recent.every(({ requests }) => requests === 0);
  }
}
