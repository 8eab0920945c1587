import type { IncomingMessage } from 'node:http';
import type { HotpathRequest } from '../../options/request-types.js';
import { reportFault } from '../../runtime/report-fault.js';

/** The action that a request asks permission for. */
export interface AuthorizeContext {
  /** `change`: purge, expire and the like; `read`: all else. */
  readonly action: 'read' | 'change';
}

/**
 * Decides whether a request may use the performance API. Only `true`, or a promise of it, permits the request. An
 * exception is reported and refuses the request with a 500.
 */
export interface Authorize {
  (req: HotpathRequest, context: AuthorizeContext): boolean | Promise<boolean>;
  /** The value of `WWW-Authenticate`: refused requests get a 401 with it, and otherwise a 403. */
  readonly challenge?: string | undefined;
}

/** The outcome of `authorize`; `failed`: it threw or rejected. */
export type Permit = 'granted' | 'refused' | 'failed';

/** Calls the app's function. Never rejects. */
export async function askPermission(
  authorize: Authorize,
  req: IncomingMessage,
  context: AuthorizeContext,
): Promise<Permit> {
  try {
    return (await authorize(req as HotpathRequest, context)) === true ? 'granted' : 'refused';
  } catch (error) {
    reportFault('authorize', error);
    return 'failed';
  }
}
