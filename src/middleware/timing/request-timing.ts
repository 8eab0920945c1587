import type { OutgoingHttpHeader, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Exchange } from '../../exchange/exchange.js';
import { dataOn } from '../../exchange/exchange-data.js';
import { cacheEntry, totalEntry } from './header-values.js';

/** Two copies of the package find one timing of an exchange. */
const TIMING = Symbol.for('hotpath.timing');
const MOST_ENTRIES = 20;
const LONGEST_DESCRIPTION = 100;
const TOKEN = /^[!#$%&'*+.^_`|~\dA-Za-z-]{1,64}$/;

/** What a handler can ask of, and tell, the timing of its request. Nothing here ever throws. */
export interface RequestTiming {
  /** The id of the request; `undefined` when request ids or the timing middleware are off. */
  readonly requestId: string | undefined;
  /**
   * Adds an entry to `Server-Timing`, which every visitor can read: put no secret there. Ignored once the
   * headers have gone, beyond 20 entries, and when `name` is no token (RFC 9110 §5.6.2).
   *
   * @param duration milliseconds.
   * @param description shown instead of the name; other than printable ASCII becomes `?`.
   */
  add(name: string, duration?: number, description?: string): void;
  /**
   * Runs `fn` and adds the time that it took, whether it returns or throws.
   *
   * @returns what `fn` returned; for a promise, or anything else with a `then`, a promise of its result.
   */
  measure<Result>(name: string, fn: () => Result): Result;
}

/** The timing of a response's request; one that does nothing where the timing middleware has not run. */
export function timingOf(res: ServerResponse): RequestTiming {
  return (dataOn(res, TIMING) as RequestTiming | undefined) ?? OFF;
}

/** Whether some timing middleware has taken this response on. */
export function isTimed(res: ServerResponse): boolean {
  return dataOn(res, TIMING) !== undefined;
}

/** Makes `timing` what `timingOf` finds. */
export function startTiming(exchange: Exchange, timing: RequestTiming): void {
  exchange.setData(TIMING, timing);
}

const OFF: RequestTiming = Object.freeze({
  requestId: undefined,
  add() {},
  measure: <Result>(_name: string, fn: () => Result) => fn(),
});

/** The timing of one request: its id and the entries that the app added. */
export class Timing implements RequestTiming {
  readonly requestId: string | undefined;
  #entries: string[] | undefined;
  /** `Server-Timing` as it was, and as we set it: sending the headers may fail and be tried anew. */
  #before: OutgoingHttpHeader | undefined;
  #set: OutgoingHttpHeader | undefined;

  constructor(requestId: string | undefined) {
    this.requestId = requestId;
  }

  add(name: string, duration?: number, description?: string): void {
    if (this.#entries && this.#entries.length >= MOST_ENTRIES) return;
    const entry = formatEntry(name, duration, description);
    if (entry) (this.#entries ??= []).push(entry);
  }

  measure<Result>(name: string, fn: () => Result): Result {
    const startedAt = performance.now();
    const record = () => this.add(name, performance.now() - startedAt);
    let result: Result;
    try {
      result = fn();
    } catch (error) {
      record();
      throw error;
    }
    if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') {
      record();
      return result;
    }
    // The promise that is handed back is the only one that is followed: a second `then` would run a lazy
    // query twice, and would count a rejection that nobody handles as handled.
    return Promise.resolve(result).finally(record) as Result;
  }

  /** Sets `Server-Timing`: what was there, then the total, the entries, and what the cache said. */
  writeTo(res: ServerResponse, elapsed: string): void {
    const now = res.getHeader('Server-Timing');
    if (now === undefined || this.#set === undefined || String(now) !== String(this.#set)) this.#before = now;
    let own = totalEntry(elapsed);
    if (this.#entries) own += `, ${this.#entries.join(', ')}`;
    const cache = res.getHeader('X-Cache');
    if (typeof cache === 'string' && cache !== '') own += `, ${cacheEntry(quote(cache))}`;
    const before = this.#before;
    if (before === undefined || before === '') this.#set = own;
    else this.#set = Array.isArray(before) ? [...before, own] : `${before}, ${own}`;
    res.setHeader('Server-Timing', this.#set);
  }
}

function formatEntry(name: string, duration?: number, description?: string): string | undefined {
  if (typeof name !== 'string' || !TOKEN.test(name)) return undefined;
  let entry = name;
  if (typeof description === 'string' && description !== '') entry += `;desc=${quote(description)}`;
  if (typeof duration === 'number' && Number.isFinite(duration) && duration >= 0) {
    entry += `;dur=${duration.toFixed(3)}`;
  }
  return entry;
}

function quote(text: string): string {
  const short = text.slice(0, LONGEST_DESCRIPTION);
  if (TOKEN.test(short)) return short;
  return `"${short.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`;
}
