import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

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
