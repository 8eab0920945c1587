import { elapsedSince, roundElapsed } from './elapsed.js';
import type { TimingSettings } from './options.js';

/** The value of `X-Response-Time`. @param elapsed milliseconds, as text. */
export function responseTime(elapsed: string): string {
  return `${elapsed}ms`;
}

/** The entry of `Server-Timing` for the whole request. @param elapsed milliseconds, as text. */
export function totalEntry(elapsed: string): string {
  return `total;dur=${elapsed}`;
}

/** The entry of `Server-Timing` for the cache. @param result a token or a quoted string. */
export function cacheEntry(result: string): string {
  return `cache;desc=${result}`;
}

/** Writes the fields of the timing middleware as text, for responses that the front door sends. */
export class TimingLines {
  readonly #idField: string;
  readonly #timeField: string;
  readonly #lowerIdField: string;
  readonly #lowerTimeField: string;
  readonly #serverTiming: boolean;
  readonly #digits: number;
  readonly #cacheEntry: string;

  /** @param cacheResult the value of `X-Cache`; `undefined` if it is not sent. */
  constructor({ requestId, header, serverTiming, digits }: TimingSettings, cacheResult: string | undefined) {
    this.#idField = requestId ? requestId.header : '';
    this.#timeField = header || '';
    this.#lowerIdField = this.#idField.toLowerCase();
    this.#lowerTimeField = this.#timeField.toLowerCase();
    this.#serverTiming = serverTiming;
    this.#digits = digits;
    this.#cacheEntry = cacheResult === undefined ? '' : `, ${cacheEntry(cacheResult)}`;
  }

  /**
   * @param names the fields that the response has already, in lower case.
   * @param startedAt `performance.now()` when the request came.
   */
  text(names: ReadonlySet<string>, requestId: string | undefined, startedAt: number): string {
    const elapsed = roundElapsed(elapsedSince(startedAt), this.#digits);
    let text = '';
    if (this.#idField && !names.has(this.#lowerIdField)) text += `${this.#idField}: ${requestId}\r\n`;
    if (this.#timeField && !names.has(this.#lowerTimeField)) {
      text += `${this.#timeField}: ${responseTime(elapsed)}\r\n`;
    }
    return this.#serverTiming ? `${text}Server-Timing: ${totalEntry(elapsed)}${this.#cacheEntry}\r\n` : text;
  }
}
