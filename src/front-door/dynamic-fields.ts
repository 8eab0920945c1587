import type { Origin } from '../cache/request/origin.js';
import { visibleKey } from '../cache/serve/cache-status.js';
import { EXPRESS_HEADERS } from '../cache/serve/stored-headers.js';
import { formatCacheStatus } from '../http/cache-status.js';
import { elapsedSince } from '../middleware/timing/elapsed.js';
import type { StoredResponse } from '../store/stored-response.js';
import type { FastPathDependencies } from './dependencies.js';
import type { RemainingFreshness } from './fast-lookup.js';
import type { HeadTemplate } from './head-template.js';

/** What is known of one answer. */
export interface DynamicValues {
  readonly origin: Origin;
  readonly freshness: RemainingFreshness;
  /** Express has set its own header, or would. */
  readonly isByExpress: boolean;
  readonly requestId: string | undefined;
  /** `performance.now()` when the request came. */
  readonly startedAt: number;
}

/** Writes those lines of a head that differ from one answer to the next. */
export class DynamicFields {
  readonly #parts: FastPathDependencies;
  /** Field names, and the same in lower case; empty where there is none. */
  readonly #id: readonly [name: string, lower: string];
  readonly #time: readonly [name: string, lower: string];
  readonly #status: string;
  readonly #cacheTime: string;

  constructor(parts: FastPathDependencies) {
    this.#parts = parts;
    const { requestId = false, header = false } = parts.timing?.settings ?? {};
    this.#id = named(requestId ? requestId.header : '');
    this.#time = named(header || '');
    const isShown = parts.state.settings.statusHeader !== false;
    this.#status = isShown ? `X-Cache: HIT\r\nCache-Status: ${formatCacheStatus({ hit: true })}` : '';
    this.#cacheTime = isShown ? ', cache;desc=HIT\r\n' : '\r\n';
  }

  of(entry: StoredResponse, head: HeadTemplate, known: DynamicValues): string {
    const { age, ttl } = known.freshness;
    let text = `${head.textFor(entry)}Age: ${age}\r\n`;
    if (known.isByExpress && head.leavesExpress) text += BY_EXPRESS;
    if (this.#status) text += `${this.#status}; ttl=${ttl}${this.#keyOf(entry, known)}\r\n`;
    return text + this.#timing(head, known);
  }

  #keyOf({ url }: StoredResponse, { origin }: DynamicValues): string {
    const { state } = this.#parts;
    if (state.settings.statusHeader !== 'key') return '';
    const key = visibleKey(state, { origin, target: url });
    return formatCacheStatus({ key }).slice(formatCacheStatus({}).length);
  }

  #timing({ names }: HeadTemplate, { requestId, startedAt }: DynamicValues): string {
    const { timing } = this.#parts;
    if (!timing) return '';
    const [id, lowerId] = this.#id;
    const [time, lowerTime] = this.#time;
    const elapsed = elapsedSince(startedAt);
    let text = id && !names.has(lowerId) ? `${id}: ${requestId}\r\n` : '';
    if (time && !names.has(lowerTime)) text += `${time}: ${elapsed}ms\r\n`;
    return timing.settings.serverTiming
      ? `${text}Server-Timing: total;dur=${elapsed}${this.#cacheTime}`
      : text;
  }
}

function named(name: string): readonly [name: string, lower: string] {
  return [name, name.toLowerCase()];
}

const BY_EXPRESS = `X-Powered-By: ${EXPRESS_HEADERS}\r\n`;
