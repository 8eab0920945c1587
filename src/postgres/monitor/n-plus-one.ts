import { nPlusOneEvents } from '../../events/channels.js';
import type { Exchange } from '../../exchange/exchange.js';
import { nameRoute } from '../../exchange/route-template.js';
import { callHook } from '../../runtime/guard.js';
import { labelOfMethod } from '../../telemetry/labels.js';
import { callSiteOf } from './call-site.js';
import type { NPlusOneFigures } from './figures.js';
import type { MonitorPoolSettings } from './options.js';
import type { RepeatedStatement } from './request-queries.js';

/** Pairs of route and statement. */
const MOST_FOUND = 200;

const MOST_SHOWN = 50;

/** Statements that single requests repeated, by route. */
export class NPlusOneList {
  readonly #onFound: MonitorPoolSettings['onNPlusOne'];
  readonly #found = new Map<string, NPlusOneFigures>();

  constructor(onFound: MonitorPoolSettings['onNPlusOne']) {
    this.#onFound = onFound;
  }

  /** A request has ended. Each route and statement is reported once. */
  readonly report = (exchange: Exchange, repeated: readonly RepeatedStatement[]): void => {
    const method = labelOfMethod(exchange.req.method);
    const route = nameRoute(exchange.template);
    for (const { statement, queries, milliseconds, stack } of repeated) {
      const { text } = statement.fingerprint;
      const key = `${method} ${route}\n${text}`;
      const known = this.#found.get(key);
      if (known) {
        const worst = queries > known.queries ? { queries, seconds: milliseconds / 1000 } : {};
        this.#found.set(key, { ...known, ...worst, requests: known.requests + 1 });
      } else if (this.#found.size < MOST_FOUND) {
        const place = callSiteOf(stack);
        const found = { text, method, route, queries, seconds: milliseconds / 1000, ...(place && { place }) };
        this.#found.set(key, { ...found, requests: 1 });
        if (nPlusOneEvents.hasSubscribers) nPlusOneEvents.publish(found);
        if (this.#onFound) callHook('onNPlusOne', this.#onFound, found);
      }
    }
  };

  list(): NPlusOneFigures[] {
    return [...this.#found.values()].sort((a, b) => b.queries - a.queries).slice(0, MOST_SHOWN);
  }
}
