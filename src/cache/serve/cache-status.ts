import { cacheEvents } from '../../events/channels.js';
import type { Exchange } from '../../exchange/exchange.js';
import { readHeaderText } from '../../exchange/headers.js';
import { isInternal } from '../../exchange/internal-mark.js';
import { UNCOUNTED } from '../../exchange/uncounted.js';
import { type CacheStatus, formatCacheStatus } from '../../http/cache-status.js';
import type { CacheRuleSettings } from '../options.js';
import { originInKey } from '../request/key.js';
import type { Origin } from '../request/origin.js';
import { type CacheCounts, type CacheState, countByWord } from '../state.js';

/** The value of `X-Cache`. */
export type XCache = 'HIT' | 'MISS' | 'STALE' | 'REVALIDATED' | 'PASS' | 'BYPASS';

/** The status of a request that bypasses the cache. */
export function describeBypass(reason: string): CacheStatus {
  return reason === 'method' ? { fwd: 'method' } : { fwd: 'bypass', detail: reason };
}

/** The URL of a request, and the rule that may say that hosts share entries. */
interface UrlOfRequest {
  readonly origin: Origin;
  readonly target: string;
  readonly rule: CacheRuleSettings | undefined;
}

/** The key in `Cache-Status`, if `statusHeader` is `'key'`; without partition and headers. */
export function visibleKey({ settings }: CacheState, request: UrlOfRequest): string | undefined {
  return settings.statusHeader === 'key' ? describeUrl(request) : undefined;
}

/**
 * The URL of a request, in the form that a purge accepts. Only the target if the client sent an invalid host: the two
 * would make no URL, or one with another host or path.
 */
export function describeUrl({ origin, target, rule }: UrlOfRequest): string {
  return joinUrl(originInKey(origin, rule), target);
}

/** A URL in the form that a purge accepts, or only the target if the host is invalid. */
export function joinUrl({ scheme, host }: Pick<Origin, 'scheme' | 'host'>, target: string): string {
  const base = `${scheme}://${host}`;
  return /^[^/?#\\]+$/.test(host) && URL.canParse(base) ? base + target : target;
}

/** The name of each result in the counts. */
const COUNTED = {
  HIT: 'hits',
  STALE: 'stale',
  REVALIDATED: 'revalidated',
  MISS: 'misses',
  PASS: 'passes',
} as const;

/** Counts the result of a request. @param template of the route; `undefined` if none matched. */
export function countResult(
  counts: CacheCounts,
  result: XCache,
  status: CacheStatus,
  template: string | undefined,
): void {
  const route = counts.routes.of(template);
  if (result === 'BYPASS') {
    route.bypasses++;
    countByWord(counts.bypasses, status.detail ?? status.fwd ?? 'other');
  } else {
    const name = COUNTED[result];
    counts[name]++;
    route[name]++;
  }
  if (status.collapsed) counts.collapsed++;
  const refusal = refusalOf(result, status);
  if (refusal) countByWord(counts.refusals, refusal);
}

/** Why a response is not stored. */
function refusalOf(result: XCache, { stored, detail }: CacheStatus): string | undefined {
  return (result === 'MISS' || result === 'PASS') && !stored ? detail : undefined;
}

/**
 * Counts the result and publishes it as an event. Sets `X-Cache` and adds to `Cache-Status`, unless `statusHeader` is
 * off. Scrapes, probes and requests of the performance API are not counted: they would change the hit ratio of the app.
 * Warming requests are neither counted nor published, because no client sent them.
 */
export function writeCacheStatus(
  state: CacheState,
  exchange: Exchange,
  result: XCache,
  status: CacheStatus,
): void {
  const isOwn = isInternal(exchange.req);
  if (!isOwn && !exchange.dataOf(UNCOUNTED)) countResult(state.counts, result, status, exchange.template);
  exchange.cacheResult = result;
  exchange.cacheReason = result === 'BYPASS' ? (status.detail ?? status.fwd) : refusalOf(result, status);
  if (!isOwn && cacheEvents.hasSubscribers) publishResult(exchange, result, status);
  if (!state.settings.statusHeader) return;
  const { res } = exchange;
  res.setHeader('X-Cache', result);
  // Caches nearer to the origin come first (RFC 9211 §2).
  const before = readHeaderText(res, 'cache-status');
  const own = formatCacheStatus(status);
  res.setHeader('Cache-Status', before ? `${before}, ${own}` : own);
}

function publishResult(exchange: Exchange, result: XCache, status: CacheStatus): void {
  const { req, res, template } = exchange;
  cacheEvents.publish({
    req,
    res,
    result,
    route: template,
    detail: status.detail ?? (result === 'BYPASS' ? status.fwd : undefined),
    isFrontDoor: false,
  });
}

/** Writes the fields of `writeCacheStatus` for a plain hit as text; formats only `ttl` and `key` each time. */
export class HitStatusLines {
  readonly #state: CacheState;
  readonly #beginning: string;

  constructor(state: CacheState) {
    const isShown = state.settings.statusHeader !== false;
    this.#state = state;
    this.#beginning = isShown ? `X-Cache: HIT\r\nCache-Status: ${formatCacheStatus({ hit: true })}` : '';
  }

  /** Empty if `statusHeader` is off. @param ttl seconds. */
  text(ttl: number, origin: Origin, target: string, rule: CacheRuleSettings | undefined): string {
    if (this.#beginning === '') return '';
    const key =
      this.#state.settings.statusHeader === 'key' ? describeUrl({ origin, target, rule }) : undefined;
    return `${this.#beginning}; ttl=${ttl}${key === undefined ? '' : keyParameter(key)}\r\n`;
  }
}

function keyParameter(key: string): string {
  return formatCacheStatus({ key }).slice(formatCacheStatus({}).length);
}
