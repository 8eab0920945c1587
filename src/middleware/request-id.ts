import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** The owner of a request's timing on its exchange; two copies of the package find the same. */
export const TIMING = Symbol.for('hotpath.timing');

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/**
 * The id of a request: a well-formed one of its header, or a new one.
 *
 * @param field the name of the header, in lower case.
 * @param trustInbound whether the header counts.
 */
export function requestIdOf(req: IncomingMessage, field: string, trustInbound: boolean): string {
  if (trustInbound) {
    // Node joins duplicates with a comma, which the pattern rejects.
    const inbound = req.headers[field];
    if (typeof inbound === 'string' && REQUEST_ID.test(inbound)) return inbound;
  }
  return randomUUID();
}
