import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { pathAndQueryOf } from '../../http/request-target.js';
import type { CacheContext, HotpathRequest, RouteParams } from '../../options/request-types.js';

/** Where parameters come from, once someone asks for them. */
export interface Matched {
  readonly params: RouteParams;
}

/** What a rule's functions receive; parameters and the URL are worked out when they are asked for. */
export class RuleContext implements CacheContext {
  readonly req: HotpathRequest;
  readonly res: ServerResponse | undefined;
  readonly #matched: Matched;
  readonly #target: string;
  #url: URL | undefined;
  #origin: Origin | undefined;

  constructor(req: IncomingMessage, res: ServerResponse | undefined, matched: Matched, target: string) {
    this.req = req;
    this.res = res;
    this.#matched = matched;
    this.#target = target;
  }

  get params(): RouteParams {
    return this.#matched.params;
  }

  get url(): URL {
    return (this.#url ??= urlOf(this.origin, this.#target));
  }

  /** To be asked for when the request arrives: it needs the socket, which others may take away. */
  get origin(): Origin {
    return (this.#origin ??= originOf(this.req));
  }
}

/** Never throws: a client chooses the target and `Host`. */
function urlOf({ scheme, host }: Origin, target: string): URL {
  // `origin` drops a path or query that a client put into a host.
  const base = `${scheme}://${firstHost(host)}`;
  const origin = URL.canParse(base) ? new URL(base).origin : 'null';
  const rest = pathAndQueryOf(target) ?? '/';
  // Joined, not resolved: `//name` is a path here, and no host.
  return new URL((origin === 'null' ? 'http://localhost' : origin) + rest);
}

/** Where a request was sent, as the app sees it: with what the app's `trust proxy` lets through. */
export interface Origin {
  readonly scheme: string;
  /** `Host` as the client sent it. */
  readonly rawHost: string;
  /** `X-Forwarded-Host` where its sender is trusted, else `rawHost`. */
  readonly host: string;
}

interface ExpressRequest {
  protocol?: string;
  app?: { get?: (name: string) => unknown };
}

export function originOf(req: IncomingMessage): Origin {
  const express = req as IncomingMessage & ExpressRequest;
  const rawHost = req.headers.host ?? String(req.headers[':authority'] ?? '');
  const forwarded = req.headers['x-forwarded-host'];
  // Without a socket nobody can tell who sent it, so what it says of proxies is not believed.
  if (!(req.socket as Socket | null)) return { scheme: 'http', rawHost, host: rawHost };
  const scheme = express.protocol ?? ((req.socket as { encrypted?: boolean }).encrypted ? 'https' : 'http');
  if (forwarded === undefined || !trusts(express)) return { scheme, rawHost, host: rawHost };
  return { scheme, rawHost, host: String(forwarded) };
}

/** Whether the app sees the same host and scheme. */
export function isSameOrigin(a: Origin, b: Origin): boolean {
  return a.scheme === b.scheme && (a.host === b.host || firstHost(a.host) === firstHost(b.host));
}

/** The host that Express takes from `X-Forwarded-Host`, to which each proxy may have added its own. */
export function firstHost(host: string): string {
  return host.split(',', 1)[0]!.trim();
}

function trusts(req: IncomingMessage & ExpressRequest): boolean {
  return trustsAddress(req, req.socket.remoteAddress);
}

/** Whether the app would believe what a request from this address says of how it was forwarded (`trust proxy`). */
export function trustsAddress(
  { app }: IncomingMessage & ExpressRequest,
  address: string | undefined,
): boolean {
  const trust = app?.get?.('trust proxy fn');
  return typeof trust === 'function' && Boolean(trust(address, 0));
}
