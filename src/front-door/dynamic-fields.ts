import type { CacheRuleSettings } from '../cache/options.js';
import type { Origin } from '../cache/request/origin.js';
import { HitStatusLines } from '../cache/serve/cache-status.js';
import { EXPRESS_HEADERS } from '../cache/serve/stored-headers.js';
import { TimingLines } from '../middleware/timing/header-values.js';
import type { StoredResponse } from '../store/stored-response.js';
import type { FastPathDependencies } from './dependencies.js';
import type { RemainingFreshness } from './fast-lookup.js';
import type { HeadTemplate } from './head-template.js';

/** The values that only one response has. */
export interface DynamicValues {
  readonly origin: Origin;
  readonly rule: CacheRuleSettings | undefined;
  readonly freshness: RemainingFreshness;
  /** The response gets Express's `X-Powered-By`. */
  readonly isByExpress: boolean;
  readonly requestId: string | undefined;
  /** `performance.now()` when the request came. */
  readonly startedAt: number;
}

/** Writes the header lines that differ from response to response. */
export class DynamicFields {
  readonly #status: HitStatusLines;
  readonly #timing: TimingLines | undefined;

  constructor({ state, timing }: FastPathDependencies) {
    const isShown = state.settings.statusHeader !== false;
    this.#status = new HitStatusLines(state);
    this.#timing = timing && new TimingLines(timing.settings, isShown ? 'HIT' : undefined);
  }

  of(entry: StoredResponse, head: HeadTemplate, values: DynamicValues): string {
    const { freshness, origin, isByExpress, requestId, startedAt } = values;
    let text = `${head.textFor(entry)}Age: ${freshness.age}\r\n`;
    if (isByExpress && head.leavesExpress) text += BY_EXPRESS;
    text += this.#status.text(freshness.ttl, origin, entry.url, values.rule);
    return this.#timing ? text + this.#timing.text(head.names, requestId, startedAt) : text;
  }
}

const BY_EXPRESS = `X-Powered-By: ${EXPRESS_HEADERS}\r\n`;
