import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CacheContext } from '../config/cache.js';
import type { RouteParams } from '../config/context.js';
import { exchangeOf } from '../exchange/exchange.js';
import type { Selector } from '../store/selector.js';
import { RuleContext } from './context.js';

type Selectors = Selector | readonly Selector[];

/** Selectors, or what makes them of a request, at once or later. */
export type PurgeTarget = Selectors | ((context: CacheContext) => Selectors | Promise<Selectors>);

/** What holding an answer for its purge needs of the cache. */
export interface PurgeHold {
  /** Returns a promise only where there is something to wait for. */
  readonly purge: (selectors: readonly Selector[]) => unknown;
  readonly fault: (error: unknown, where: string) => void;
  /** How long the answer's end waits. Milliseconds; default 5000. */
  readonly deadline?: number;
}

/** Lets the end of a 2xx or 3xx wait until the purge that goes with it is acknowledged, fails or takes too long. */
export function holdForPurge(
  req: IncomingMessage,
  res: ServerResponse,
  target: PurgeTarget,
  hold: PurgeHold,
): void {
  const { purge, fault, deadline = 5000 } = hold;
  const exchange = exchangeOf(req, res);
  // The route's own parameters; a router further out will have put back others by the time of the answer.
  const params = (req as { params?: RouteParams }).params ?? {};
  const isSuccess = () => res.statusCode >= 200 && res.statusCode <= 399;
  const attempt = (): Promise<unknown> | undefined => {
    try {
      const context = new RuleContext(req, res, { params }, exchange.target);
      const made = typeof target === 'function' ? target(context) : target;
      const done = isPromise(made) ? made.then((later) => purge(listOf(later))) : purge(listOf(made));
      // Nothing to wait for: the answer goes on as if we were not here.
      return isPromise(done) ? within(deadline, done).catch((error) => fault(error, 'purges')) : undefined;
    } catch (error) {
      fault(error, 'purges');
      return undefined;
    }
  };
  exchange.holdEnd(() => (isSuccess() ? attempt() : undefined));
  // It had begun to say that all went well, and broke off: what was written may well be there.
  exchange.onClose(() => {
    if (exchange.headed && !exchange.ended && isSuccess()) void attempt();
  });
}

function within<T>(milliseconds: number, task: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error('the purge took too long; the answer went out before it')),
      milliseconds,
    );
    timer.unref();
    task.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function';
}

/** One or many as a list. */
export function listOf<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T];
}
