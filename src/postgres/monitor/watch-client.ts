import { performance } from 'node:perf_hooks';
import type { Exchange } from '../../exchange/exchange.js';
import { reportFault } from '../../runtime/report-fault.js';
import { type DriverClient, type DriverQuery, rowsOf, textOfQuery } from '../driver.js';
import type { Checkout, PoolRecorder, SentQuery } from './pool-monitor.js';

/** The request for which the calling code runs. */
export type RequestSource = () => Exchange | undefined;

type Callback = (this: unknown, ...args: unknown[]) => unknown;

/** A client whose queries are counted. */
export interface ClientWatch {
  readonly recorder: PoolRecorder;
  /** That of the client itself. */
  readonly query: DriverClient['query'];
  taken(checkout: Checkout): void;
  released(): void;
}

type End = (error: unknown, result: unknown) => void;

/** Counts the queries of a client, whichever way they are called. */
export function watchClient(
  client: DriverClient,
  recorder: PoolRecorder,
  currentRequest: RequestSource | undefined,
): ClientWatch {
  const { query } = client;
  let checkout: Checkout | undefined;

  function monitoredQuery(this: unknown, ...args: unknown[]): unknown {
    const config = args[0] as DriverQuery;
    if (recorder.isClosed || config === null || config === undefined) return query.apply(this, args);
    const sent = send(config, args[1]);
    if (!sent) return query.apply(this, args);
    const end = endOf(recorder, sent, checkout);
    if (isSubmittable(config)) {
      watchSubmittable(config as Submittable, end);
      return query.apply(this, args);
    }
    const at = withCallback(args, end);
    const result: unknown = query.apply(this, args);
    if (at || typeof (result as { then?: unknown } | undefined)?.then !== 'function') return result;
    // Only the promise that the caller gets may have a rejection that is not handled.
    return (result as Promise<unknown>).then(
      (value) => {
        end(undefined, value);
        return value;
      },
      (error) => {
        end(error ?? true, undefined);
        throw error;
      },
    );
  }

  function send(config: NonNullable<DriverQuery>, second: unknown): SentQuery | undefined {
    try {
      const ofPool = checkout?.statement;
      const text = textOfQuery(config);
      const statement = ofPool ?? recorder.statements.of(text);
      // A callback of a full pool runs in the context of the caller that released the client.
      const request = checkout?.request ?? currentRequest?.();
      if (checkout && ofPool) checkout.statement = undefined;
      else recorder.began(statement, request, monitoredQuery);
      // A `pool.query` sends its query when it gets its client. Reading the clock is a large part of the cost.
      const startedAt = checkout && ofPool ? checkout.takenAt : performance.now();
      const isStream = isSubmittable(config) && !isPlainQuery(config, client);
      const bound = typeof config === 'object' ? (config.values ?? second) : second;
      const values = typeof bound === 'function' ? undefined : bound;
      statement.offerSample(config, text, values, startedAt);
      return { statement, request, startedAt, isStream, sql: text, values };
    } catch (error) {
      reportFault('monitorPool', error);
      return undefined;
    }
  }

  Object.defineProperty(client, 'query', {
    value: monitoredQuery,
    configurable: true,
    writable: true,
    enumerable: false,
  });
  return {
    recorder,
    query,
    taken(taken) {
      checkout = taken;
      if (taken.trace) recorder.checkouts.add(taken);
    },
    released() {
      if (!checkout) return;
      recorder.used((checkout.endedAt || performance.now()) - checkout.takenAt);
      recorder.checkouts.delete(checkout);
      checkout = undefined;
    },
  };
}

/** @returns counts the end of a query once; it never throws. */
function endOf(recorder: PoolRecorder, sent: SentQuery, checkout: Checkout | undefined): End {
  let hasEnded = false;
  return (error, result) => {
    if (hasEnded) return;
    hasEnded = true;
    try {
      const endedAt = performance.now();
      if (checkout?.isOfPool) checkout.endedAt = endedAt;
      recorder.ended(sent, endedAt, result === undefined ? 0 : rowsOf(result), error);
    } catch (fault) {
      reportFault('monitorPool', fault);
    }
  };
}

/**
 * Puts a function around the callback that the driver would take: the third argument, else the second, else that of the
 * config.
 *
 * @returns whether there is one.
 */
function withCallback(args: unknown[], end: End): boolean {
  const [config, values, callback] = args;
  const around = (inner: unknown) =>
    function (this: unknown, ...results: unknown[]) {
      end(results[0] ?? undefined, results[1]);
      return (inner as Callback).apply(this, results);
    };
  // The driver refuses one that is no function.
  if (callback) {
    if (typeof callback === 'function') args[2] = around(callback);
    return true;
  }
  if (typeof values === 'function') {
    args[1] = around(values);
    return true;
  }
  const own = typeof config === 'object' && (config as { callback?: unknown }).callback;
  if (!own) return false;
  // A third argument takes the place of that of the config.
  if (typeof own === 'function') {
    if (args.length < 2) args[1] = undefined;
    args[2] = around(own);
  }
  return true;
}

/** A query object that speaks the protocol itself. */
interface Submittable {
  handleReadyForQuery?: unknown;
  handleError?: unknown;
}

function isSubmittable(config: NonNullable<DriverQuery>): boolean {
  return typeof (config as { submit?: unknown }).submit === 'function';
}

/** One of the driver's own class: its time is that of the server. */
function isPlainQuery(config: unknown, client: DriverClient): boolean {
  const { Query } = client.constructor as { Query?: unknown };
  return typeof Query === 'function' && config instanceof Query;
}

/** The driver tells such an object when it has ended, by one of two methods. Then both are again as they were. */
function watchSubmittable(config: Submittable, end: End): void {
  const restoreAll = () => {
    for (const restore of restores) restore();
  };
  const restores = [
    before(config, 'handleReadyForQuery', () => {
      restoreAll();
      end(undefined, (config as { _result?: unknown })._result);
    }),
    before(config, 'handleError', (error) => {
      restoreAll();
      end(error ?? true, undefined);
    }),
  ];
}

/** Runs a function before a method. @returns undoes it. */
function before(target: Submittable, name: keyof Submittable, run: (argument: unknown) => void): () => void {
  const method = target[name];
  if (typeof method !== 'function' || !Object.isExtensible(target)) return () => {};
  const wasOwn = Object.hasOwn(target, name);
  const ours = function (this: unknown, ...args: unknown[]): unknown {
    run(args[0]);
    return method.apply(this, args);
  };
  target[name] = ours;
  return () => {
    if (target[name] !== ours) return;
    if (wasOwn) target[name] = method;
    else delete target[name];
  };
}
