import { reportFault } from '../../exchange/run-listeners.js';
import type { MiddlewareRequest } from '../request/cache-request.js';
import { readHints } from '../request/handler-hints.js';
import { visibleKey, writeCacheStatus } from '../serve/cache-status.js';
import type { CacheState } from '../state.js';
import { warnOfCookies } from './cookie-warning.js';
import type { FillPlan } from './fill-plan.js';
import { declaresCacheable, type Refused, type Storable } from './storable.js';

/** How a fill stands when the headers of its response go. */
interface FillOutcomeAtHead {
  readonly verdict: Storable | Refused;
  /** The handler has revalidated the stored response. */
  readonly isRevalidated: boolean;
  /** The handler's status. */
  readonly handlerStatus: number | undefined;
}

/** Counts the result of a client's fill and writes `X-Cache` and `Cache-Status`. */
export function reportFill(
  state: CacheState,
  request: MiddlewareRequest,
  plan: FillPlan,
  { verdict, isRevalidated, handlerStatus }: FillOutcomeAtHead,
): void {
  const { exchange, credential, rule } = request;
  const { found, detail } = plan;
  const { refusal } = verdict;
  exchange.lifetime = verdict.refusal === undefined ? verdict.lifetime : undefined;
  try {
    const key = visibleKey(state, request);
    if (refusal !== undefined && refusal === credential) {
      writeCacheStatus(state, exchange, 'BYPASS', { fwd: 'bypass', key, detail: refusal });
      if (credential === 'cookie' && rule?.shared) warnOfCookies(request);
      return;
    }
    const isPass = refusal !== undefined && !isCacheable(state, request, plan);
    writeCacheStatus(state, exchange, isRevalidated ? 'REVALIDATED' : isPass ? 'PASS' : 'MISS', {
      fwd: found.forward,
      // RFC 9211 §2.3: if the client gets another one.
      fwdStatus: handlerStatus === exchange.res.statusCode ? undefined : handlerStatus,
      stored: verdict.refusal === undefined,
      collapsed: detail?.startsWith('collapse-') ? false : undefined,
      ttl: verdict.refusal === undefined ? Math.floor(verdict.lifetime - verdict.initialAge) : undefined,
      key,
      detail: refusal ?? detail,
    });
  } catch (error) {
    reportFault('cache status', error);
  }
}

/** Whether a rule or the response itself declares it cacheable. If neither does, the request is no miss. */
function isCacheable(
  { settings }: CacheState,
  { exchange: { res }, rule }: MiddlewareRequest,
  { found }: FillPlan,
): boolean {
  return (
    rule !== undefined ||
    found.entry !== undefined ||
    declaresCacheable(res, settings, readHints(res, settings.lifetimes))
  );
}
