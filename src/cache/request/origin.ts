import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/** Scheme and host of a request as the app sees them under its `trust proxy`. */
export interface Origin {
  readonly scheme: string;
  /** `Host` as the client sent it. */
  readonly rawHost: string;
  /** `X-Forwarded-Host` if its sender is trusted, else `rawHost`. */
  readonly host: string;
}

interface ExpressRequest {
  protocol?: string;
  app?: { get?: (name: string) => unknown };
}

export function originOf(req: IncomingMessage): Origin {
  const express = req as IncomingMessage & ExpressRequest;
  const rawHost = hostHeaderOf(req);
  const forwarded = req.headers['x-forwarded-host'];
  // Without a socket, the sender is unknown and its forwarding headers are not trusted.
  if (!(req.socket as Socket | null)) return { scheme: 'http', rawHost, host: rawHost };
  const scheme = express.protocol ?? connectionScheme(req);
  if (forwarded === undefined || !trusts(express)) return { scheme, rawHost, host: rawHost };
  return { scheme, rawHost, host: String(forwarded) };
}

/** As `originOf`, at less cost: for requests without forwarding headers, where `trust proxy` makes no difference. */
export class DirectOrigins {
  /** The last result: most requests of an app have the same origin. */
  #last: Origin = { scheme: '', rawHost: '', host: '' };

  originOf(req: IncomingMessage): Origin {
    const rawHost = hostHeaderOf(req);
    const scheme = connectionScheme(req);
    const last = this.#last;
    if (last.rawHost === rawHost && last.scheme === scheme) return last;
    return (this.#last = { scheme, rawHost, host: rawHost });
  }
}

/** Whether a request has forwarding headers, which count if the app trusts their sender. */
export function isForwarded({ headers }: IncomingMessage): boolean {
  return headers['x-forwarded-host'] !== undefined || headers['x-forwarded-proto'] !== undefined;
}

function hostHeaderOf({ headers }: IncomingMessage): string {
  return headers.host ?? String(headers[':authority'] ?? '');
}

function connectionScheme({ socket }: IncomingMessage): string {
  return (socket as { encrypted?: boolean } | null)?.encrypted ? 'https' : 'http';
}

/** Whether the app sees the same scheme and host in both. */
export function isSameOrigin(a: Origin, b: Origin): boolean {
  return a.scheme === b.scheme && (a.host === b.host || firstHost(a.host) === firstHost(b.host));
}

/** The first host of `X-Forwarded-Host`, as Express reads it; each proxy may have appended its own. */
export function firstHost(host: string): string {
  return host.split(',', 1)[0]!.trim();
}

function trusts(req: IncomingMessage & ExpressRequest): boolean {
  return trustsAddress(req, req.socket.remoteAddress);
}

/** Whether the app trusts forwarding headers of requests from this address (`trust proxy`). */
export function trustsAddress(
  { app }: IncomingMessage & ExpressRequest,
  address: string | undefined,
): boolean {
  const trust = app?.get?.('trust proxy fn');
  return typeof trust === 'function' && Boolean(trust(address, 0));
}
