import type { IncomingMessage, ServerResponse } from 'node:http';
import { pathAndQueryOf } from '../../http/request-target.js';
import type { CacheContext, HotpathRequest, RouteParams } from '../../options/request-types.js';
import { firstHost, type Origin, originOf } from './origin.js';

/** Where parameters come from, once someone asks for them. */
export interface MatchedRule {
  readonly params: RouteParams;
}

/** What a rule's functions receive; parameters and the URL are worked out when they are asked for. */
export class RuleContext implements CacheContext {
  readonly req: HotpathRequest;
  readonly res: ServerResponse | undefined;
  readonly #matched: MatchedRule;
  readonly #target: string;
  #url: URL | undefined;
  #origin: Origin | undefined;

  constructor(req: IncomingMessage, res: ServerResponse | undefined, matched: MatchedRule, target: string) {
    this.req = req;
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

  /** To be asked for when the request arrives: it needs the socket, which others may take away. */
  get origin(): Origin {
    return (this.#origin ??= originOf(this.req));
  }
}

/** Never throws: a client chooses the target and `Host`. */
function buildUrl({ scheme, host }: Origin, target: string): URL {
  // `origin` drops a path or query that a client put into a host.
  const base = `${scheme}://${firstHost(host)}`;
  const origin = URL.canParse(base) ? new URL(base).origin : 'null';
  const rest = pathAndQueryOf(target) ?? '/';
  // Joined, not resolved: `//name` is a path here, and no host.
  return new URL((origin === 'null' ? 'http://localhost' : origin) + rest);
}
