import type { UsedResults } from '../../functions/used-results.js';
import type { PendingFill } from '../collapse/collapser.js';
import type { FillMode } from '../decide.js';
import type { Lookup } from '../lookup/lookup.js';
import type { Refresh } from '../revalidate/background-refresh.js';
import type { ReceivedRequest } from './received-headers.js';
import type { RequestOverrides } from './request-overrides.js';

/** How a request is filled. Decided before the handler runs. */
export interface FillPlan {
  readonly mode: FillMode;
  /** The lookup that did not lead to a hit. */
  readonly found: Lookup;
  /** The request as it was when its key was made. */
  readonly received: ReceivedRequest;
  /** The changes to the request while the handler runs; `undefined` if there are none. */
  readonly overrides: RequestOverrides | undefined;
  /** The requests that wait, if this is the one fill of its key. */
  readonly pending: PendingFill | undefined;
  /** The reason for filling without waiting, for `Cache-Status`. */
  readonly detail: string | undefined;
  /** The background refresh that sent the request. */
  readonly refresh: Refresh | undefined;
  /** The results of cached functions that the handler uses, for a rule with `tags: 'inherit'`. */
  readonly used: UsedResults | undefined;
}
