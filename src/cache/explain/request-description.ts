import { type IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { pathAndQueryOf } from '../../http/request-target.js';
import { HotpathError } from '../../options/errors.js';
import { formatValue } from '../../options/format-value.js';
import type { RequestDescription } from './types.js';

/** A request, and whether it came through an app. */
export interface DescribedRequest {
  readonly req: IncomingMessage;
  /** Path and query as the client sent them. */
  readonly target: string;
  /** Whether it came through an app, so that the app's settings are known. */
  readonly isReal: boolean;
}

/**
 * Returns Node's request unchanged, or creates one from a description.
 *
 * @throws HotpathError `HOTPATH_REQUEST_INVALID` for any other value.
 */
export function requestFromDescription(request: IncomingMessage | RequestDescription): DescribedRequest {
  if (isRequest(request)) {
    const { originalUrl } = request as { originalUrl?: string };
    return { req: request, target: originalUrl ?? request.url ?? '/', isReal: true };
  }
  const given: unknown = (request as RequestDescription | undefined)?.url;
  if (typeof given !== 'string' || !(given.startsWith('/') || isAddress(given))) {
    throw new HotpathError(
      'HOTPATH_REQUEST_INVALID',
      `explain: expected a request, or { method?, url, headers? } with a path such as '/a?b=1' or a full URL, received ${formatValue(given)}`,
    );
  }
  const { method = 'GET', headers = {} } = request;
  const address = given.startsWith('/') ? undefined : new URL(given);
  // Kept as written: a URL object would resolve dots, which clients may send. Clients never send the fragment.
  const target = (address && pathAndQueryOf(given)?.replace(/#.*$/s, '')) ?? given;
  const made = Object.assign(new IncomingMessage(new Socket()), {
    method: method.toUpperCase(),
    url: target,
    originalUrl: target,
    protocol: address ? address.protocol.slice(0, -1) : 'http',
    httpVersion: '1.1',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
  });
  made.headers = readDescribedHeaders(headers, address?.host);
  return { req: made, target, isReal: false };
}

function isRequest(request: IncomingMessage | RequestDescription): request is IncomingMessage {
  return (
    request instanceof IncomingMessage || (typeof request === 'object' && request && 'socket' in request)
  );
}

function isAddress(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}

/** Converts headers to Node's form: names in lower case, several lines of one name as one list. */
function readDescribedHeaders(
  given: NonNullable<RequestDescription['headers']>,
  host: string | undefined,
): IncomingHttpHeaders {
  const headers: IncomingHttpHeaders = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const lower = name.toLowerCase();
    headers[lower] = typeof value === 'string' ? value : value.join(lower === 'cookie' ? '; ' : ', ');
  }
  if (host !== undefined) headers.host = host;
  return headers;
}
