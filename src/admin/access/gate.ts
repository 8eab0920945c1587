import type { IncomingMessage, ServerResponse } from 'node:http';
import { isHttp2 } from '../../exchange/connection.js';
import { configError } from '../../options/errors.js';
import { formatValue } from '../../options/format-value.js';
import { warn } from '../../runtime/warn.js';
import { type ProblemStatus, respondWithProblem } from '../respond.js';
import { type Authorize, askPermission, readWait } from './authorize.js';
import { KeySessions, SESSION_SECONDS } from './key-sessions.js';
import { findChangeProblem, findReadProblem } from './request-origin.js';

/** A request at the gate. */
export interface GateRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly query: URLSearchParams;
  readonly action: 'read' | 'change';
  /** Whether a link with a key may lead here. */
  readonly isPage: boolean;
  /** Whether it is the mount path itself, with or without a final slash. */
  readonly isRoot: boolean;
  /** Sends a refusal. Default: as a problem (RFC 9457). */
  readonly refuse?: (status: ProblemStatus, detail: string) => void;
}

/** A refusal. */
interface Refusal {
  readonly status: ProblemStatus;
  readonly detail: string;
}

/** How long `authorize` may take. Milliseconds. */
const LONGEST_DECISION = 10_000;

/** The parameter of a link that holds its key. */
export const KEY_PARAMETER = 'key';

/**
 * Decides who may see the performance API. Addresses and `Host` prove nothing: behind a proxy on the same machine every
 * request comes from 127.0.0.1. So it takes `authorize`; without it nothing is open in production, and otherwise only
 * with the key of a link that the developer prints.
 */
export class Gate {
  readonly #authorize: Authorize | undefined;
  readonly #messages: GateMessages;
  readonly #sessions = new KeySessions();
  #hasLink = false;

  /** @param factory the function that the app calls, for messages. */
  constructor(authorize: Authorize | undefined, factory: 'performanceApi' | 'dashboard') {
    this.#authorize = authorize;
    this.#messages = messagesFor(factory);
  }

  /** Whether anyone may change something: keys open figures alone. */
  get permitsChanges(): boolean {
    return this.#authorize !== undefined;
  }

  /**
   * @returns the link to print; `undefined` where no key is needed, or none would help.
   * @throws HotpathError `HOTPATH_CONFIG_INVALID` unless `url` is a full URL.
   */
  link(url: string): string | undefined {
    if (!URL.canParse(url)) {
      const message = "expected a full URL, such as 'http://localhost:3000/api/v1/performance'";
      throw configError([{ path: 'link', message, received: formatValue(url) }]);
    }
    if (this.#authorize || isClosed()) return undefined;
    this.#hasLink = true;
    const link = new URL(url);
    // The cookie gets the folder of the link as its path.
    if (!link.pathname.endsWith('/')) link.pathname += '/';
    link.searchParams.set(KEY_PARAMETER, this.#sessions.makeKey());
    return link.href;
  }

  /** @returns whether the request may go on; otherwise it has its response. Never rejects. */
  async admit(request: GateRequest): Promise<boolean> {
    const refusal = this.#authorize
      ? await this.#findRefusal(request, this.#authorize)
      : this.#findRefusalByKey(request);
    if (refusal === undefined) return true;
    if (refusal === 'answered') return false;
    const { status, detail } = refusal;
    if (request.refuse) request.refuse(status, detail);
    else respondWithProblem(request.req, request.res, status, detail);
    return false;
  }

  async #findRefusal(request: GateRequest, authorize: Authorize): Promise<Refusal | undefined> {
    const { req, res, action } = request;
    const problem = findOriginProblem(req);
    if (problem !== undefined) return { status: 403, detail: problem };
    const permit = await askPermission(authorize, req, { action, timeoutMs: LONGEST_DECISION });
    if (permit === 'granted') return undefined;
    if (permit === 'failed') return { status: 500, detail: 'The request could not be authorized.' };
    if (permit === 'late') return { status: 503, detail: '`authorize` has not decided in time.' };
    const wait = readWait(authorize, req);
    if (wait > 0) {
      res.setHeader('Retry-After', wait);
      return { status: 429, detail: 'There were too many failed attempts to sign in.' };
    }
    const { challenge } = authorize;
    if (challenge === undefined) return { status: 403, detail: '`authorize` refuses this request.' };
    res.setHeader('WWW-Authenticate', challenge);
    return { status: 401, detail: 'A user name and a password are needed.' };
  }

  /** Without `authorize`. */
  #findRefusalByKey(request: GateRequest): Refusal | 'answered' | undefined {
    const { req, query, action } = request;
    if (isClosed()) return { status: 403, detail: this.#messages.closed };
    const problem = findOriginProblem(req);
    if (problem !== undefined) return { status: 403, detail: problem };
    const key = query.get(KEY_PARAMETER);
    const isOpen = this.#sessions.isOpen(req.headers.cookie, cookieNameFor(req));
    if (key !== null && request.isPage && req.method === 'GET' && !isPrefetch(req)) {
      if (request.isRoot && lastSegment(req) !== '') {
        redirect(request, `./${lastSegment(req)}/?${query}`);
        return 'answered';
      }
      const token = isOpen ? undefined : this.#sessions.open(key);
      if (token !== undefined) this.#setCookie(request, token);
      if (isOpen || token !== undefined) {
        dropKey(request);
        return 'answered';
      }
      return { status: 403, detail: this.#messages.spent };
    }
    if (!isOpen) {
      this.#printLink(req);
      return { status: 403, detail: this.#messages.locked };
    }
    return action === 'change' ? { status: 403, detail: READ_ONLY } : undefined;
  }

  /** Without `Path`: browsers take the folder of the URL as they see it, also behind a proxy that rewrites paths. */
  #setCookie({ req, res }: GateRequest, token: string): void {
    const attributes = [`Max-Age=${SESSION_SECONDS}`, 'HttpOnly', 'SameSite=Strict'];
    if (isEncrypted(req)) attributes.push('Secure');
    res.setHeader('Set-Cookie', [`${cookieNameFor(req)}=${token}`, ...attributes].join('; '));
  }

  /** Once, for an app that has printed none. */
  #printLink(req: IncomingMessage): void {
    if (this.#hasLink) return;
    const { localPort } = req.socket;
    const { baseUrl = '' } = req as { baseUrl?: string };
    const url = new URL(`${isEncrypted(req) ? 'https' : 'http'}://localhost:${localPort ?? 80}`);
    // Not by the constructor, which would take the host from a path such as `//evil.example/`.
    url.pathname = baseUrl;
    const link = this.link(url.href);
    if (link)
      warn(
        'HOTPATH_ADMIN_LINK',
        `${this.#messages.subject.replace('T', 't')} needs a key; open this link, which works once: ${link}`,
      );
  }
}

interface GateMessages {
  readonly subject: string;
  readonly closed: string;
  readonly locked: string;
  readonly spent: string;
}

function messagesFor(factory: 'performanceApi' | 'dashboard'): GateMessages {
  const [subject, name] =
    factory === 'performanceApi'
      ? (['The performance API', 'api'] as const)
      : (['The dashboard', factory] as const);
  const call = `${factory}({ perf, authorize: basicAuth({ users: { name: password } }) })`;
  return {
    subject,
    closed:
      `${subject} is closed, because NODE_ENV is production and it has no \`authorize\`. ` +
      `To open it: ${call}, or a function of yours.`,
    locked:
      `A key is needed. Open the link that the app printed at its start; console.log(${name}.link(url)) prints one. ` +
      `Or set \`authorize\`: ${call}.`,
    spent: `This key is unknown, or it was used: each works once. console.log(${name}.link(url)) prints another link.`,
  };
}

const READ_ONLY = 'A key opens figures alone. To change something, set `authorize`.';

/** Read for each request, because an app may load its environment late. */
function isClosed(): boolean {
  return process.env.NODE_ENV === 'production';
}

/** GET and HEAD have no body that does something. */
function findOriginProblem(req: IncomingMessage): string | undefined {
  const isRead = req.method === 'GET' || req.method === 'HEAD';
  return isRead ? findReadProblem(req) : findChangeProblem(req);
}

/** A browser that looks ahead must not spend the key. */
function isPrefetch({ headers }: IncomingMessage): boolean {
  const purpose = `${headers['sec-purpose'] ?? ''} ${headers.purpose ?? ''} ${headers['x-moz'] ?? ''}`;
  return purpose.includes('prefetch');
}

/** Cookies ignore ports, so two apps on one machine need two names. */
function cookieNameFor(req: IncomingMessage): string {
  return `hotpath-admin-${req.socket?.localPort ?? 0}`;
}

function isEncrypted(req: IncomingMessage): boolean {
  return (
    (req.socket as { encrypted?: boolean } | undefined)?.encrypted === true ||
    (req as { secure?: boolean }).secure === true
  );
}

/** The last segment of the path as the client sent it; empty after a final slash. */
export function lastSegment(req: IncomingMessage): string {
  const { originalUrl = req.url ?? '/' } = req as { originalUrl?: string };
  const path = originalUrl.split(/[?#]/, 1)[0]!;
  return path.slice(path.lastIndexOf('/') + 1);
}

/**
 * Sends the browser to the same address without the key. A navigation from another site, such as a terminal in a
 * browser, would not send the cookie along a redirect. There, a page goes on by itself.
 */
function dropKey(request: GateRequest): void {
  const rest = new URLSearchParams(request.query);
  rest.delete(KEY_PARAMETER);
  redirect(request, `./${lastSegment(request.req)}${rest.size > 0 ? `?${rest}` : ''}`);
}

/** @param address relative, so that it holds behind a proxy that rewrites paths. */
export function redirect({ req, res }: Pick<GateRequest, 'req' | 'res'>, address: string): void {
  const site = req.headers['sec-fetch-site'];
  const isForeign = site === 'cross-site' || site === 'same-site';
  res.statusCode = isForeign ? 200 : 303;
  if (!isHttp2(req)) res.statusMessage = '';
  res.setHeader(isForeign ? 'Refresh' : 'Location', isForeign ? `0; url=${address}` : address);
  res.setHeader('Content-Length', 0);
  res.end();
}
