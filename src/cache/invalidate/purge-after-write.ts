import type { IncomingMessage, ServerResponse } from 'node:http';
import * as v from 'valibot';
import { exchangeOf } from '../../exchange/exchange.js';
import type { RouteParams } from '../../options/request-types.js';
import { leaf, resolve, section } from '../../options/schema.js';
import { readWord } from '../../options/validators.js';
import { guarded, unawaited } from '../../runtime/guard.js';
import type { Selector } from '../../store/invalidation/selector.js';
import type { CacheContext } from '../options.js';
import { RuleContext } from '../request/rule-context.js';

type Selectors = Selector | readonly Selector[];

/** Selectors, or a function that computes them from a request, synchronously or not. */
export type PurgeTarget = Selectors | ((context: CacheContext) => Selectors | Promise<Selectors>);

/** After which responses to purge. */
export interface PurgeAfterOptions {
  /**
   * `'success'`: after 2xx and 3xx. `'always'`: after any status, and if no response is sent; for a handler that may
   * write and then fail. Default: `'success'`.
   */
  readonly on?: 'success' | 'always';
}

const purgeAfterSchema = section({ on: v.optional(leaf(readWord('success', 'always')), 'success') });

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` naming every wrong option. */
export function resolvePurgeAfter(options: PurgeAfterOptions | undefined): Required<PurgeAfterOptions> {
  return resolve(purgeAfterSchema, options, 'purgeAfter');
}

/** The functions of the cache that `purgeBeforeEnd` needs. */
export interface PurgeRecorder {
  /** Returns a promise only if there is something to wait for. */
  readonly purge: (selectors: readonly Selector[]) => unknown;
  readonly fault: (error: unknown, where: string) => void;
  /** How long the end of the response waits. Milliseconds. Default: 5000. */
  readonly deadline?: number;
  /** Default: `'success'`. */
  readonly on?: PurgeAfterOptions['on'];
}

/** Read-your-writes: holds the end of a response until its purge is acknowledged, fails or takes too long. */
export function purgeBeforeEnd(
  req: IncomingMessage,
  res: ServerResponse,
  target: PurgeTarget,
  hold: PurgeRecorder,
): void {
  const { purge, fault, deadline = 5000, on = 'success' } = hold;
  const exchange = exchangeOf(req, res);
  // The route's own parameters. When the response ends, an outer router has restored its own.
  const params = (req as { params?: RouteParams }).params ?? {};
  const context = new RuleContext(req, res, { params }, exchange.target);
  try {
    void context.origin; // read now, because the request may have lost its socket when it ends
  } catch (error) {
    fault(error, 'trust proxy');
  }
  const isMeant = () => on === 'always' || (res.statusCode >= 200 && res.statusCode <= 399);
  const attempt = (): Promise<unknown> | undefined => {
    try {
      const made = typeof target === 'function' ? target(context) : target;
      const done = isPromise(made)
        ? Promise.resolve(made).then((later) => purge(toList(later)))
        : purge(toList(made));
      // Without a promise, the response is not delayed.
      return isPromise(done) ? within(deadline, done).catch((error) => fault(error, 'purges')) : undefined;
    } catch (error) {
      fault(error, 'purges');
      return undefined;
    }
  };
  exchange.holdEnd(() => (isMeant() ? attempt() : undefined));
  exchange.onClose(() => {
    if (exchange.ended) return;
    // The response was interrupted after a successful head, so the write may have happened.
    if (on === 'always' || (exchange.headed && isMeant())) void unawaited(attempt(), 'purges');
  });
}

function within<T>(milliseconds: number, task: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = guarded('purges', () =>
      reject(
        new Error(
          `the purge took more than ${milliseconds} ms, so the response was sent before it; look for a slow Redis or selector function`,
        ),
      ),
    );
    const timer = setTimeout(late, milliseconds);
    timer.unref();
    const settled = task.then(resolve, reject).finally(() => clearTimeout(timer));
    void unawaited(settled, 'purges');
  });
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function';
}

/** Returns a value or a list as a list. */
export function toList<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T];
}
