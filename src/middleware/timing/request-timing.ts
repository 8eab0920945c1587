import type { OutgoingHttpHeader, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Exchange } from '../../exchange/exchange.js';
import { dataOn } from '../../exchange/exchange-data.js';
import { TIMING } from '../request-id.js';
import { cacheEntry, totalEntry } from './header-values.js';

const MOST_ENTRIES = 20;
const LONGEST_DESCRIPTION = 100;
const TOKEN = /^[!#$%&'*+.^_`|~\dA-Za-z-]{1,64}$/;

/** The timing of a request, for handlers. No method throws. */
export interface RequestTiming {
  /** The id of the request; `undefined` if request ids or the timing middleware are off. */
  readonly requestId: string | undefined;
  /**
   * Adds an entry to `Server-Timing`. Every client can read it, so do not put secrets there. Ignored after
   * the headers were sent, beyond 20 entries, and if `name` is not a token (RFC 9110 §5.6.2).
   *
   * @param duration milliseconds.
   * @param description shown instead of the name; characters other than printable ASCII become `?`.
   */
  add(name: string, duration?: number, description?: string): void;
  /**
   * Runs `fn` and adds its duration, whether it returns or throws.
   *
   * @returns the result of `fn`. For a promise, or another object with a `then`, a promise of its result.
   */
  measure<Result>(name: string, fn: () => Result): Result;
}

/** The timing of a response's request. Without the timing middleware, its methods do nothing. */
export function timingOf(res: ServerResponse): RequestTiming {
  return (dataOn(res, TIMING) as RequestTiming | undefined) ?? OFF;
}

/** Whether a timing middleware handles this response. */
export function isTimed(res: ServerResponse): boolean {
  return dataOn(res, TIMING) !== undefined;
}

/** Makes `timingOf` return `timing`. */
export function startTiming(exchange: Exchange, timing: RequestTiming): void {
  exchange.setData(TIMING, timing);
}

const OFF: RequestTiming = Object.freeze({
  requestId: undefined,
  add() {},
  measure: <Result>(_name: string, fn: () => Result) => fn(),
});

/** The timing of one request: its id and the entries of the app. */
export class Timing implements RequestTiming {
  readonly requestId: string | undefined;
  /** The response time that we have set as a header. */
  written: string | undefined;
  #entries: string[] | undefined;
  /** `Server-Timing` before our change, and after it. If sending the headers fails, they are set again. */
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
    // Only the returned promise has a `then` called. A second call would run a lazy query twice, and would
    // mark an unhandled rejection as handled.
    return Promise.resolve(result).finally(record) as Result;
  }

  /** Sets `Server-Timing`: existing entries, the total, entries of the app, and the result of the cache. */
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
