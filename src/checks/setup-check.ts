import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheRoutePolicies } from '../cache/options.js';
import { type Exchange, exchangeOf } from '../exchange/exchange.js';
import { isInternal } from '../exchange/internal-mark.js';
import { routerOf } from '../exchange/router-layer.js';
import type { RouteMatch, RouteTable } from '../options/route-table.js';
import { guarded } from '../runtime/guard.js';
import { findForeignResponse } from '../runtime/node-response.js';
import { reportFault } from '../runtime/report-fault.js';
import { type HotpathWarningCode, warn } from '../runtime/warn.js';
import {
  type AppLayer,
  type CheckedApp,
  endpointsOf,
  hasSubApp,
  layersBefore,
  mountsOf,
  nameLayer,
  responds,
} from './app-layers.js';
import { RefusedRules } from './refused-rules.js';
import { warnOfUnmatchedRules } from './rule-checks.js';
import { warnOfLateSettings } from './setting-checks.js';

/** Requests that are observed; afterwards nothing is left to do for a request. */
const OBSERVED_REQUESTS = 100;

/** Requests of a rule without a partition before it counts as always empty. */
const EMPTY_PARTITIONS = 3;

/** Responses at an attached front door before a config without any rule counts as one that shares nothing. */
const UNSHARED_RESPONSES = 5;

/** A channel of `node:diagnostics_channel`, of HTTP/1 servers. */
const RESPONSE_FINISHED = 'http.server.response.finish';

interface FinishedResponse {
  readonly request?: IncomingMessage;
}

/** Noted on exchanges; two copies of the package recognise each other's. */
const MOUNTED = Symbol.for('hotpath.mounted');

type ExpressRequest = IncomingMessage & { app?: CheckedApp; baseUrl?: string };

/** The instance whose setup is checked. */
export interface CheckedInstance {
  readonly middleware: unknown;
  readonly routes: RouteTable<CacheRoutePolicies>;
  /** Whether the front door of an app is open. */
  isAttached(): boolean;
}

/**
 * Looks for mistakes in the way hotpath is set up, while the first requests arrive, and warns once of each. Outside
 * production only. No method throws.
 */
export class SetupCheck {
  readonly #instance: CheckedInstance;
  readonly #warned = new Set<string>();
  /** Requests without partition, by rule; -1 once the rule had one. */
  readonly #emptyPartitions = new Map<string, number>();
  readonly #refusedRules = new RefusedRules();
  #observed = 0;
  #isAppChecked = false;
  #isDoorChecked = false;
  #unshared = 0;

  /** The middleware has been called. */
  hasRun = false;

  constructor(instance: CheckedInstance) {
    this.#instance = instance;
    this.#watchResponses();
  }

  /**
   * Watches the first responses of the process: where everything is mounted before hotpath, no request comes to the
   * middleware.
   */
  #watchResponses(): void {
    // An instance that is never used must not be kept in memory.
    const reference = new WeakRef(this);
    const listener = guarded('setup check', (message: unknown) => {
      const check = reference.deref();
      if (!check || check.#isSeen(message as FinishedResponse)) unsubscribe(RESPONSE_FINISHED, listener);
    });
    subscribe(RESPONSE_FINISHED, listener);
  }

  /** @returns whether no more responses have to be seen. */
  #isSeen({ request }: FinishedResponse): boolean {
    if (this.hasRun) return true;
    const app = (request as ExpressRequest | undefined)?.app;
    const before = app && layersBefore(routerOf(app)?.stack ?? [], this.#instance.middleware);
    // Another app, or one that serves hits at its front door.
    if (!before || this.#instance.isAttached()) return false;
    const answering = before.find((layer) => responds(layer)) ?? before[0];
    if (answering) this.#warnOfAnswering(answering);
    // A probe may come long before the first request that hotpath gets.
    return answering !== undefined;
  }

  /** Observes a request that has come to the middleware. @returns whether to observe the next one too. */
  observe(req: IncomingMessage, res: ServerResponse): boolean {
    try {
      this.#observe(exchangeOf(req, res), (req as ExpressRequest).app);
    } catch (error) {
      reportFault('setup check', error);
    }
    return ++this.#observed < OBSERVED_REQUESTS;
  }

  /** Checks the app of a front door that has passed its first request on. */
  passed(app: CheckedApp): void {
    if (this.#isDoorChecked) return;
    this.#isDoorChecked = true;
    try {
      const stack = routerOf(app)?.stack ?? [];
      const answering = layersBefore(stack, this.#instance.middleware)?.find((layer) => responds(layer));
      if (answering) this.#warnOfAnswering(answering);
      if (layersBefore(stack, this.#instance.middleware) || hasSubApp(stack)) return;
      this.#warn(
        'HOTPATH_NOT_USED',
        'attach(app) was called, but the app does not mount the instance, so nothing is cached, compressed or ' +
          'counted; add app.use(perf) before all routes',
      );
    } catch (error) {
      reportFault('setup check', error);
    }
  }

  #observe(exchange: Exchange, app: CheckedApp | undefined): void {
    const { req } = exchange;
    if (isInternal(req)) return;
    if (exchange.dataOf(MOUNTED)) {
      this.#warnOfSecondMount('');
      return;
    }
    exchange.setData(MOUNTED, true);
    this.#checkArrival(exchange);
    exchange.onClose(() => this.#checkResponse(exchange));
    if (app && !this.#isAppChecked) {
      this.#isAppChecked = true;
      this.#checkApp(app);
    }
  }

  /** Finds traces of the middlewares that ran before. */
  #checkArrival({ req, res, isUnpatched }: Exchange): void {
    // Adapters set headers, and replace methods, on the responses that they make.
    if (findForeignResponse(req, res) === 'adapter') return;
    const names = res.getHeaderNames().filter((name) => name !== 'x-powered-by');
    if (names.length > 0) {
      this.#warn(
        'HOTPATH_NOT_FIRST',
        `a middleware before hotpath sets response headers (${names.join(', ')}); a hit at the front door lacks them, ` +
          'and a stored response keeps their old values; mount hotpath first: app.use(perf)',
      );
    } else if (!isUnpatched) {
      this.#warn(
        'HOTPATH_NOT_FIRST',
        'a middleware before hotpath has replaced res.write or res.end, as compression and express-session do, so it ' +
          'changes responses after hotpath; mount hotpath first: app.use(perf)',
      );
    }
  }

  #checkApp(app: CheckedApp): void {
    const { middleware, routes } = this.#instance;
    const stack = routerOf(app)?.stack ?? [];
    warnOfLateSettings(app);
    const answering = layersBefore(stack, middleware)?.find((layer) => responds(layer));
    if (answering) this.#warnOfAnswering(answering);
    const mounts = mountsOf(stack, middleware);
    if (
      mounts.some((path, at) => mounts.some((other, i) => i !== at && `${path}/`.startsWith(`${other}/`)))
    ) {
      this.#warnOfSecondMount(mounts.find((path) => path !== '') ?? '');
    }
    // Of an app within another one, only the inner one is seen from here, and rules hold for full paths.
    if (mounts.length > 0 && app.parent === undefined) {
      warnOfUnmatchedRules(routes.patterns, endpointsOf(stack, middleware));
    }
  }

  #warnOfAnswering(layer: AppLayer): void {
    this.#warn(
      'HOTPATH_NOT_FIRST',
      `${nameLayer(layer)} is mounted before hotpath, so its responses are neither cached, compressed nor counted; ` +
        'mount hotpath first: app.use(perf)',
    );
  }

  #warnOfSecondMount(path: string): void {
    const where = path === '' ? '' : ` (once at ${JSON.stringify(path)})`;
    this.#warn(
      'HOTPATH_MOUNTED_TWICE',
      `hotpath is mounted twice${where}, so it runs twice for a request; mount one instance once, before all routes, and ` +
        'give other policies to other paths in `routes`',
    );
  }

  #checkResponse(exchange: Exchange): void {
    const { req, res, aborted } = exchange;
    if (aborted || (req.method !== 'GET' && req.method !== 'HEAD')) return;
    const match = exchange.match(this.#instance.routes) as RouteMatch<CacheRoutePolicies> | undefined;
    this.#checkPartition(exchange, match);
    if (res.statusCode !== 200) return;
    this.#checkLifetime(exchange, match);
    this.#checkStorage(exchange, match);
    this.#checkSharing(exchange, match);
  }

  #checkPartition(exchange: Exchange, match: RouteMatch<CacheRoutePolicies> | undefined): void {
    const { cacheResult, cacheReason } = exchange;
    const isOfConfig = match?.policy.cache ? match.policy.cache.partition !== undefined : false;
    const rule = isOfConfig
      ? `routes[${JSON.stringify(match?.pattern)}].cache`
      : `the rule of cache.route() at ${exchange.template ?? 'a route'}`;
    const before = this.#emptyPartitions.get(rule) ?? 0;
    if (before < 0) return;
    if (cacheReason !== 'no-partition') {
      const wasLookedUp = cacheResult !== undefined && cacheResult !== 'BYPASS';
      if (isOfConfig && wasLookedUp) this.#emptyPartitions.set(rule, -1);
      return;
    }
    this.#emptyPartitions.set(rule, before + 1);
    if (before + 1 < EMPTY_PARTITIONS) return;
    this.#warn(
      'HOTPATH_PARTITION_EMPTY',
      `\`partition\` of ${rule} returned nothing for the first ${EMPTY_PARTITIONS} requests, and such requests are not ` +
        'cached. If it reads what a later middleware sets, such as req.user, put the cache after that middleware: ' +
        'app.get(path, authenticate, perf.cache.route({ ttl, partition }), handler)',
      rule,
    );
  }

  #checkLifetime({ cacheReason }: Exchange, match: RouteMatch<CacheRoutePolicies> | undefined): void {
    const rule = match?.policy.cache;
    if (!rule || rule.ttl !== undefined || cacheReason !== 'no-lifetime') return;
    const path = `routes[${JSON.stringify(match.pattern)}].cache`;
    this.#warn(
      'HOTPATH_RULE_NO_TTL',
      `${path} has no \`ttl\`, and the handler sets no lifetime, so the response was not stored; add a ttl such as ` +
        "{ ttl: '1m' }, or send Cache-Control: public, max-age=60 from the handler",
      path,
    );
  }

  #checkStorage({ cacheReason }: Exchange, match: RouteMatch<CacheRoutePolicies> | undefined): void {
    const rule = match?.policy.cache;
    if (rule) this.#refusedRules.note(rule, `routes[${JSON.stringify(match.pattern)}].cache`, cacheReason);
  }

  /** The front door serves what a rule or the response declares to be the same for everyone. */
  #checkSharing(
    { res, cacheResult, cacheReason }: Exchange,
    match: RouteMatch<CacheRoutePolicies> | undefined,
  ): void {
    const { routes, isAttached } = this.#instance;
    if (
      !isAttached() ||
      routes.policies.some(({ cache }) => cache !== undefined && cache !== false && cache.shared)
    )
      return;
    if (/public|s-maxage/i.test(String(res.getHeader('cache-control') ?? ''))) {
      this.#unshared = Number.NEGATIVE_INFINITY;
      return;
    }
    const isStored = cacheResult === 'MISS' && cacheReason === undefined;
    const isCached = match?.policy.cache && (cacheResult === 'HIT' || isStored);
    if (++this.#unshared < UNSHARED_RESPONSES && !(isCached && this.#unshared > 0)) return;
    this.#warn(
      'HOTPATH_NOTHING_SHARED',
      'attach(app) was called, but no rule has `shared: true` and no response declares itself public, so the front ' +
        'door serves nothing; add `shared: true` to the rules whose responses are the same for everyone, or send ' +
        'Cache-Control: public, max-age=60',
    );
  }

  /** @param subject warns once for each. */
  #warn(code: HotpathWarningCode, message: string, subject = ''): void {
    const key = `${code} ${subject}`;
    if (this.#warned.has(key)) return;
    this.#warned.add(key);
    warn(code, message);
  }
}
