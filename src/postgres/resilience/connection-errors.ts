/** Errors of Node that mean that there is no connection, or none any more. */
const NODE_CODES = new Set([
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'ETIMEDOUT',
]);

/** SQLSTATEs: connection exceptions, and a server that shuts down, has crashed or still starts. */
const SERVER_CODES = /^(?:08...|57P01|57P02|57P03)$/;

/** Errors of `pg` without a code. */
const MESSAGES =
  /^(?:Connection terminated\b|Client has encountered a connection error\b|Client was closed and is not queryable)/;

/** Whether an error of `pg` says that the connection is lost or could not be opened. */
export function isConnectionError(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (typeof code === 'string') return NODE_CODES.has(code) || SERVER_CODES.test(code);
  return typeof message === 'string' && MESSAGES.test(message);
}
