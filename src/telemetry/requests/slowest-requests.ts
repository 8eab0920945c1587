import type { EndedFigures } from './figures.js';

/** A request that took long to respond. It has the template of its route, and nothing that its client chose. */
export interface SlowRequestFigures {
  /** When it ended. Milliseconds since 1970. */
  readonly at: number;
  readonly method: string;
  readonly route: string;
  /** 499: the client left. */
  readonly status: number;
  /** To the end of the response. */
  readonly seconds: number;
  readonly secondsToHeaders: number;
  /** The result of the cache, as `X-Cache` has it; `null` if no cache handled the request. */
  readonly cache: string | null;
}

/** Requests of one slice of the hour. */
const KEPT = 10;

const MOST_LISTED = 50;

/** Slices of an hour. */
const SLICES = 12;
const SLICE_MS = 3_600_000 / SLICES;

/** The slowest requests of the last hour: of every five minutes the ten slowest. */
export class SlowestRequests {
  /** The latest last; of each slice the slowest first. */
  readonly #slices: { readonly since: number; readonly requests: SlowRequestFigures[] }[] = [];
  /** Faster requests are not kept. Milliseconds until the headers. */
  #threshold = 0;

  /**
   * Takes a request that ended now. The time to its headers counts: event streams and slow clients are no slow requests.
   *
   * @param cache the result of the cache.
   */
  record(method: string, route: string, ended: EndedFigures, cache: string | undefined): void {
    // Nearly all requests end here.
    if (ended.toHeaders <= this.#threshold) return;
    const { requests } = this.#slices.at(-1) ?? this.#startSlice(Date.now());
    const secondsToHeaders = ended.toHeaders / 1000;
    const at = requests.findIndex((each) => each.secondsToHeaders < secondsToHeaders);
    requests.splice(at < 0 ? requests.length : at, 0, {
      at: Date.now(),
      method,
      route,
      status: ended.status,
      seconds: ended.total / 1000,
      secondsToHeaders,
      cache: cache ?? null,
    });
    if (requests.length > KEPT) requests.pop();
    if (requests.length === KEPT) this.#threshold = requests.at(-1)!.secondsToHeaders * 1000;
  }

  /** Ends slices that are over. @param now milliseconds since 1970. */
  rotate(now = Date.now()): void {
    const last = this.#slices.at(-1);
    if (last && now - last.since >= SLICE_MS) this.#startSlice(now);
    while (this.#slices[0] && now - this.#slices[0].since > SLICE_MS * SLICES) this.#slices.shift();
  }

  /** The slowest first. */
  list(): SlowRequestFigures[] {
    return this.#slices
      .flatMap(({ requests }) => requests)
      .sort((a, b) => b.secondsToHeaders - a.secondsToHeaders)
      .slice(0, MOST_LISTED);
  }

  #startSlice(since: number) {
    const slice = { since, requests: [] };
    this.#slices.push(slice);
    this.#threshold = 0;
    return slice;
  }
}
