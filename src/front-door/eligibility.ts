import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { CacheSettings } from '../cache/options.js';
import { hasWritePreconditions, isReadMethod, mayCarryBody } from '../cache/request/bypass.js';
import { CLIENT_CERTIFICATE, hasClientCertificate } from '../exchange/client-certificate.js';
import { CREDENTIAL_HEADERS, hasCredentials } from '../middleware/cache-control/middleware.js';

type Request = IncomingMessage & { readonly originalUrl?: string; readonly hotpath?: object };

/** Decides which requests the front door may serve. The middlewares handle all others. */
export class Eligibility {
  /** Request headers of the config that make a request ineligible. */
  readonly #headers: readonly string[];
  readonly #checksCertificates: boolean;

  constructor({ credentials, requestDirectives }: CacheSettings) {
    // Checked in any case; whether a cookie matters depends on the rule.
    const known: ReadonlySet<string> = new Set([...CREDENTIAL_HEADERS, 'cookie', CLIENT_CERTIFICATE]);
    const directives = requestDirectives === 'honor' ? ['cache-control', 'pragma'] : [];
    this.#headers = [...credentials.filter((name) => !known.has(name)), ...directives];
    this.#checksCertificates = credentials.includes(CLIENT_CERTIFICATE);
  }

  accepts(req: Request): boolean {
    const { headers, url } = req;
    if (!isReadMethod(req.method) || req.httpVersion !== '1.1' || url === undefined) return false;
    // Mounted below the root, rewritten by a middleware, or a background refresh.
    if ((req.originalUrl !== undefined && req.originalUrl !== url) || req.hotpath !== undefined) return false;
    return (
      !mayCarryBody(req) &&
      !hasWritePreconditions(headers) &&
      !needsExpress(headers) &&
      !hasCredentials(headers) &&
      !this.#headers.some((name) => headers[name] !== undefined) &&
      !(this.#checksCertificates && hasClientCertificate(req))
    );
  }
}

/** Whether a request asks for a range, another protocol, or a 100. */
function needsExpress({ range, upgrade, expect }: IncomingHttpHeaders): boolean {
  return range !== undefined || upgrade !== undefined || expect !== undefined;
}
