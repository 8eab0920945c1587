import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { CacheSettings } from '../cache/options.js';
import { CLIENT_CERTIFICATE, hasClientCertificate } from '../exchange/client-certificate.js';

type Request = IncomingMessage & { readonly originalUrl?: string; readonly hotpath?: object };

/** Tells the requests that may be answered at once from all others: the way through the middlewares is for those. */
export class Eligibility {
  /** Fields beyond those that are looked at in any case. */
  readonly #others: readonly string[];
  readonly #looksAtCertificates: boolean;

  constructor({ credentials, requestDirectives }: CacheSettings) {
    const known = new Set([
      'cookie',
      'authorization',
      'proxy-authorization',
      'x-api-key',
      CLIENT_CERTIFICATE,
    ]);
    const directives = requestDirectives === 'honor' ? ['cache-control', 'pragma'] : [];
    this.#others = [...credentials.filter((name) => !known.has(name)), ...directives];
    this.#looksAtCertificates = credentials.includes(CLIENT_CERTIFICATE);
  }

  /** Whether a request is one of those. A cookie is for the rule to judge. */
  accepts(req: Request): boolean {
    const { method, url } = req;
    if ((method !== 'GET' && method !== 'HEAD') || req.httpVersion !== '1.1' || url === undefined)
      return false;
    // Mounted below the root, or rewritten by others; or a request of our own.
    if ((req.originalUrl !== undefined && req.originalUrl !== url) || req.hotpath !== undefined) return false;
    const { headers } = req;
    return (
      !isUnusual(headers) &&
      !isPersonal(headers) &&
      !this.#others.some((name) => headers[name] !== undefined) &&
      !(this.#looksAtCertificates && hasClientCertificate(req))
    );
  }
}

/** It has more to say than what it wants. Each field by its name: Node's objects of headers are fastest read so. */
function isUnusual(headers: IncomingHttpHeaders): boolean {
  const length = headers['content-length'];
  return (
    headers.range !== undefined ||
    headers['if-match'] !== undefined ||
    headers['if-unmodified-since'] !== undefined ||
    headers['transfer-encoding'] !== undefined ||
    headers.upgrade !== undefined ||
    headers.expect !== undefined ||
    (length !== undefined && length !== '0')
  );
}

/** Whatever the cache is told of credentials: to these, Cache-Control is another. */
function isPersonal(headers: IncomingHttpHeaders): boolean {
  return (
    headers.authorization !== undefined ||
    headers['proxy-authorization'] !== undefined ||
    headers['x-api-key'] !== undefined
  );
}

/** Whether proxies say where the request was sent: then it is for the app to say which of them it trusts. */
export function isForwarded({ headers }: IncomingMessage): boolean {
  return headers['x-forwarded-host'] !== undefined || headers['x-forwarded-proto'] !== undefined;
}
