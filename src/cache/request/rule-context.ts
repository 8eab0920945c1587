import type { IncomingMessage, ServerResponse } from 'node:http';
import { pathAndQueryOf } from '../../http/request-target.js';
import type { CacheContext, HotpathRequest, RouteParams } from '../../options/request-types.js';
import { firstHost, type Origin, originOf } from './origin.js';

/** The route match that gives the parameters, evaluated when they are read. */
export interface MatchedRule {
  readonly params: RouteParams;
}

/** The argument of a rule's functions. Parameters and URL are computed when they are read. */
export class RuleContext implements CacheContext {
  readonly req: HotpathRequest;
  readonly res: ServerResponse | undefined;
  readonly #matched: MatchedRule;
  readonly #target: string;
  #url: URL | undefined;
  #origin: Origin | undefined;

  constructor(req: IncomingMessage, res: ServerResponse | undefined, matched: MatchedRule, target: string) {
    this.req = req as HotpathRequest; // Express's request by the time a rule's function reads it
    this.res = res;
    this.#matched = matched;
    this.#target = target;
  }

  get params(): RouteParams {
    return this.#matched.params;
  }

  get url(): URL {
    return (this.#url ??= buildUrl(this.origin, this.#target));
  }

  /** Read it as the request arrives: it needs the socket, which a middleware may remove later. */
  get origin(): Origin {
    return (this.#origin ??= originOf(this.req));
  }
}

/** Never throws: a client chooses the target and `Host`. */
function buildUrl({ scheme, host }: Origin, target: string): URL {
  // `origin` removes a path or query from a malicious `Host`.
  const base = `${scheme}://${firstHost(host)}`;
  const origin = URL.canParse(base) ? new URL(base).origin : 'null';
  const rest = pathAndQueryOf(target) ?? '/';
  // Concatenated, not resolved: `//name` is a path here, not a host.
  return new URL((origin === 'null' ? 'http://localhost' : origin) + rest);
}
