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
  /**
   * How long the client of a refused request has to wait before its next attempt. Such a request gets a 429 with
   * `Retry-After`. `0` or `undefined`: not at all.
   */
  readonly secondsToWait?: ((req: HotpathRequest) => number | undefined) | undefined;
}

/** The outcome of `authorize`. `failed`: it threw or rejected; `late`: it has not settled in time. */
export type Permit = 'granted' | 'refused' | 'failed' | 'late';

/** How a request is authorized. */
export interface Authorization extends AuthorizeContext {
  /** How long it may take. */
  readonly timeoutMs: number;
}

/** Calls the app's function. Never rejects, and settles in time: a sign-in that hangs must not keep requests open. */
export async function askPermission(
  authorize: Authorize,
  req: IncomingMessage,
  { action, timeoutMs }: Authorization,
): Promise<Permit> {
  const decide = async (): Promise<Permit> => {
    try {
      return (await authorize(req as HotpathRequest, { action })) === true ? 'granted' : 'refused';
    } catch (error) {
      reportFault('authorize', error);
      return 'failed';
    }
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Permit>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, 'late').unref();
  });
  const permit = await Promise.race([decide(), late]);
  clearTimeout(timer);
  return permit;
}

/** How long the client of a refused request has to wait; 0: not at all. Never throws. */
export function readWait(authorize: Authorize, req: IncomingMessage): number {
  try {
    const seconds = authorize.secondsToWait?.(req as HotpathRequest) ?? 0;
    return seconds > 0 && Number.isFinite(seconds) ? Math.ceil(seconds) : 0;
  } catch (error) {
    reportFault('authorize', error);
    return 0;
  }
}
