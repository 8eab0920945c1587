import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { CacheRuleSettings } from '../config/cache.js';
import { Dispatcher, type RequestListener } from '../exchange/dispatch.js';
import type { Exchange } from '../exchange/exchange.js';
import { guarded, unawaited } from '../runtime/guard.js';
import type { ResponseHead } from '../store/entry.js';
import type { Pending } from './collapse.js';
import type { Origin } from './context.js';
import { headerOf, selectCookies } from './key.js';
import type { CacheState } from './state.js';

/** How long a refresh may take where its rule gives no `timeout`. Seconds. */
export const DEADLINE = 30;

/** What a refresh needs of the visit that found the stale response. */
export interface RefreshRequest {
  readonly exchange: Exchange;
  readonly key: string;
  readonly target: string;
  readonly origin: Origin;
  readonly rule: CacheRuleSettings | undefined;
}

interface App {
  parent?: App;
}

/** Runs handlers again in requests of our own, which no visitor waits on and none of whose credentials they carry. */
export class Refresher {
  readonly #state: CacheState;
  readonly #dispatcher = new Dispatcher();

  constructor(state: CacheState) {
    this.#state = state;
  }

  /** Whether there is an app to ask. */
  static canRefresh(req: IncomingMessage): boolean {
    return rootOf(req) !== undefined;
  }

  /**
   * Starts a refresh; its outcome comes through `pending`.
   * @param onExchange told of the internal request before the app is.
   */
  start(
    visit: RefreshRequest,
    entry: Pick<ResponseHead, 'vary'>,
    pending: Pending,
    onExchange: (exchange: Exchange) => void,
  ): void {
    const { collapser, fault, settings } = this.#state;
    const app = rootOf(visit.exchange.req);
    const fail = () => collapser.settle(visit.key, pending, { kind: 'failed' });
    if (!app) return fail();
    const deadline = new AbortController();
    const seconds = visit.rule?.timeout ?? DEADLINE;
    const abort = guarded('refresh', () => deadline.abort(new Error(`no answer within ${seconds} s`)));
    const timer = setTimeout(abort, seconds * 1000);
    timer.unref();
    const run = this.#dispatcher
      .dispatch(app, {
        target: visit.target,
        headers: headersFor(visit, entry, settings.credentials),
        scheme: visit.origin.scheme === 'https' ? 'https' : 'http',
        remoteAddress: nobodysAddress(),
        maxBytes: settings.maxEntryBytes,
        signal: deadline.signal,
        onExchange,
      })
      .catch((error) => fault(error, 'refresh'))
      // Whatever was stored has settled it by now; this is for what was not.
      .finally(() => {
        clearTimeout(timer);
        fail();
      });
    void unawaited(run, 'refresh');
  }
}

/** An address of the private range, another one each time: limits by address neither stop it nor count it as a visitor. */
function nobodysAddress(): string {
  return `fd00:${randomBytes(14).toString('hex').match(/.{4}/g)!.join(':')}`;
}

/** The app that listens: a sub-app sees requests only through its parents. */
function rootOf(req: IncomingMessage): RequestListener | undefined {
  let app = (req as IncomingMessage & { app?: App }).app;
  while (app?.parent) app = app.parent;
  return typeof app === 'function' ? (app as RequestListener) : undefined;
}

/** The headers that the key covers, where the request was sent, and what the stored response can be confirmed by. */
function headersFor(
  visit: RefreshRequest,
  entry: Pick<ResponseHead, 'vary'>,
  credentials: readonly string[],
): Record<string, string> {
  const { exchange, origin, rule } = visit;
  const { req } = exchange;
  const headers: Record<string, string> = { host: origin.host };
  // Only what the app trusts, and a scheme is one of two words.
  if (headerOf(req, 'x-forwarded-host') === origin.host) headers['x-forwarded-host'] = origin.host;
  const proto = headerOf(req, 'x-forwarded-proto');
  if (proto === 'http' || proto === 'https') headers['x-forwarded-proto'] = proto;
  const named = entry.vary.filter((name) => !credentials.includes(name));
  for (const name of [...named, ...(rule?.vary.headers ?? [])]) {
    const value = headerOf(req, name);
    if (value !== undefined) headers[name] = String(value);
  }
  if (rule?.vary.cookies?.length) {
    const covered = selectCookies(req.headers.cookie, rule.vary.cookies);
    if (covered !== undefined) headers.cookie = covered;
  }
  return headers;
}
