import { isFailure } from '../cache/fill/refusal-scope.js';
import type { WarmResult, WarmTarget } from '../cache/revalidate/warm-requests.js';
import { formatTarget } from './targets.js';

/** Failures of a run that its message names. */
export const MOST_NAMED = 3;

/** How to get through a gate of the app. */
const PASS = 'let requests with req.hotpath.internal through, or set cache.refreshHeaders';

/** Some URLs were not warmed. */
export class UrlsFailedError extends Error {
  /** Whether another attempt may help. */
  readonly isRetryable: boolean;

  constructor(reasons: readonly string[], failed: number, all: number, isRetryable: boolean) {
    const named = reasons.slice(0, MOST_NAMED).join('; ');
    super(`${failed} of ${all} URLs failed: ${named}${failed > MOST_NAMED ? '; …' : ''}`);
    this.isRetryable = isRetryable;
  }
}

/** Why a URL was not warmed. */
export interface UrlFailure {
  readonly reason: string;
  /** Whether another attempt may help. */
  readonly isRetryable: boolean;
}

/** Judges the response to a warming request. @returns `undefined` if the entry is warm. */
export function judgeWarmed(target: WarmTarget, result: WarmResult): UrlFailure | undefined {
  const { status, refusal } = result;
  const isWarm = result.outcome !== 'not-stored';
  // A stored redirect is served to clients as one.
  if (isWarm && !isRedirect(status)) return undefined;
  const reason = `${formatTarget(target)} → ${describeFailure(target, result)}`;
  const isTemporary = refusal !== undefined && isFailure(refusal, status);
  return { reason, isRetryable: isTemporary || status === 429 || status >= 500 || status === 0 };
}

/** Whether the app has failed or denies access. Otherwise the resource may have been removed or changed. */
export function isRefused({ status }: WarmResult): boolean {
  return status === 0 || status === 401 || status === 403 || status === 429 || status >= 500;
}

function isRedirect(status: number): boolean {
  return status >= 300 && status <= 399 && status !== 304;
}

function describeFailure(target: WarmTarget, { status, location, refusal }: WarmResult): string {
  if (status === 0) return 'no response';
  if (isRedirect(status)) return `${status} ${describeRedirect(target, location)}`;
  if (status === 401 || status === 407) return `${status}: authentication is before the route; ${PASS}`;
  if (status === 403) return `403: an access check is before the route (addresses, hosts, CSRF); ${PASS}`;
  if (status === 400 || status === 421)
    return `${status}: is ${target.host} in the app's list of hosts? Warm an origin that clients use`;
  if (status === 429) return `429: a rate limiter is before the route; ${PASS}`;
  if (status === 404) return '404: no such resource under this host';
  if (status === 503) return '503: the app sheds load, or is not ready';
  if (status >= 500) return `${status}: the handler failed`;
  if (refusal === undefined)
    return `${status}: a middleware before hotpath responded; mount hotpath first, with app.use(perf)`;
  if (refusal === 'no-partition')
    return `${status}: the rule of its route has a \`partition\`, whose entries only their owners can fill`;
  return `${status}: the response was not stored (${refusal}; see docs/cache-status.md)`;
}

function describeRedirect({ scheme, host }: WarmTarget, location = ''): string {
  const origin = `${scheme}://${host}`;
  const to = URL.canParse(location, origin) ? new URL(location, origin) : undefined;
  const where = `to ${location.slice(0, 200)}`;
  if (to && to.origin !== origin)
    return `${where}: a redirect to another scheme or host; warm the origin ${to.origin}`;
  if (/log-?in|sign-?in|auth|session|account/i.test(location))
    return `${where}: a login page, so authentication is before the route; ${PASS}`;
  return `${where}: a redirect; warm the URL that it leads to`;
}
