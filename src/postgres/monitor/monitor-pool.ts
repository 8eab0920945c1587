import { performance } from 'node:perf_hooks';
import { REQUEST_SCOPE } from '../../exchange/request-scope.js';
import { HotpathError } from '../../options/errors.js';
import { guarded } from '../../runtime/guard.js';
import { reportFault } from '../../runtime/report-fault.js';
import { type DriverClient, type DriverPool, type DriverQuery, textOfQuery } from '../driver.js';
import { ReadRetry } from '../resilience/retry.js';
import { SoundConnect } from '../resilience/sound-connect.js';
import { captureTrace } from './call-site.js';
import { monitorOf, setMonitor } from './figures.js';
import { type MonitorPoolOptions, resolveMonitorPool } from './options.js';
import { CLIENT_WATCH } from './plain-query.js';
import { type Checkout, PoolRecorder } from './pool-monitor.js';
import type { Statement } from './statements.js';
import { type ClientWatch, type RequestSource, watchClient } from './watch-client.js';

/** A pool of `pg`. */
export type MonitorablePool = DriverPool;

type Callback = (this: unknown, ...args: unknown[]) => unknown;

/**
 * Watches a pool of `pg`: its connections, its queries and, with `perf`, the queries of each request. It changes neither
 * results, errors nor the order of anything; the pool and its clients get own methods in place of those of their classes.
 *
 * @returns the same pool. `monitorOf(pool)` has the figures.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options, and for a pool that is monitored already.
 */
export function monitorPool<Pool extends MonitorablePool>(pool: Pool, options?: MonitorPoolOptions): Pool {
  const settings = resolveMonitorPool(options);
  checkPool(pool);
  const scope = settings.perf?.[REQUEST_SCOPE];
  const recorder = new PoolRecorder(pool, settings);
  const restore = watchPool(pool, recorder, scope && (() => scope.current()));
  let isClosed = false;
  const close = () => {
    if (isClosed) return;
    isClosed = true;
    leave?.();
    restore();
    recorder.close();
    setMonitor(pool, undefined);
  };
  const leave = scope?.join(close);
  setMonitor(pool, {
    figures: () => recorder.figures(),
    totals: () => recorder.totals(),
    slowQueries: () => recorder.slowQueries,
    statements: () => recorder.statements.list(),
    close,
  });
  return pool;
}

function checkPool(pool: MonitorablePool): void {
  const isPool = ['connect', 'query', 'on', 'off'].every(
    (name) => typeof (pool as unknown as Record<string, unknown> | undefined)?.[name] === 'function',
  );
  if (!isPool) {
    throw new HotpathError(
      'HOTPATH_CONFIG_INVALID',
      'monitorPool: the first argument must be a pool of pg: new pg.Pool(...)',
    );
  }
  if (monitorOf(pool)) {
    throw new HotpathError(
      'HOTPATH_CONFIG_INVALID',
      'monitorPool: the pool is monitored already; call monitorPool once, or monitorOf(pool).close() first',
    );
  }
}

/** @returns undoes it. */
function watchPool(
  pool: MonitorablePool,
  recorder: PoolRecorder,
  currentRequest: RequestSource | undefined,
): () => void {
  const { connect: ownConnect, query } = pool;
  const { sound, retry } = resilienceOf(pool, recorder);
  const connect = sound ? (callback?: unknown) => sound.connect(callback) : ownConnect;
  const isTraced = recorder.settings.leakAfter !== false;
  let isCalled = false;
  let called: Statement | undefined;

  function monitoredQuery(this: unknown, ...args: unknown[]): unknown {
    const statement = began(args[0] as DriverQuery);
    called = statement;
    isCalled = true;
    try {
      const result: unknown = query.apply(this, args);
      if (!retry || !statement || !retry.permits(args, statement)) return result;
      return retry.run(result as Promise<unknown>, args, currentRequest?.());
    } finally {
      isCalled = false;
    }
  }

  function began(config: DriverQuery): Statement | undefined {
    try {
      const statement = recorder.statements.of(textOfQuery(config));
      recorder.began(statement, currentRequest?.(), monitoredQuery);
      return statement;
    } catch (error) {
      reportFault('monitorPool', error);
      return undefined;
    }
  }

  function monitoredConnect(this: unknown, ...args: unknown[]): unknown {
    const isOfPool = isCalled;
    isCalled = false;
    const checkout: Checkout = {
      request: currentRequest?.(),
      wantedAt: performance.now(),
      takenAt: 0,
      endedAt: 0,
      trace: isOfPool || !isTraced ? undefined : captureTrace(monitoredConnect),
      isOfPool,
      statement: isOfPool ? called : undefined,
    };
    const [callback] = args;
    if (typeof callback === 'function') {
      return connect.call(this, function (this: unknown, ...results: unknown[]) {
        note(results[0], results[1], checkout);
        return (callback as Callback).apply(this, results);
      });
    }
    return noting(connect.apply(this, args as [unknown]), (error, client) => note(error, client, checkout));
  }

  function note(error: unknown, client: unknown, checkout: Checkout): void {
    try {
      noteGrant(recorder, currentRequest, error, client, checkout);
    } catch (fault) {
      reportFault('monitorPool', fault);
    }
  }

  replace(pool, 'query', monitoredQuery);
  replace(pool, 'connect', monitoredConnect);
  const unlisten = listen(pool, recorder);
  return () => {
    restore(pool, 'query', monitoredQuery, query);
    restore(pool, 'connect', monitoredConnect, ownConnect);
    sound?.close();
    unlisten();
  };
}

/** Only the promise that the caller gets may have a rejection that is not handled. */
function noting(result: unknown, note: (error: unknown, value: unknown) => void): unknown {
  if (typeof (result as { then?: unknown } | undefined)?.then !== 'function') return result;
  return (result as Promise<unknown>).then(
    (value) => {
      note(undefined, value);
      return value;
    },
    (error) => {
      note(error ?? true, undefined);
      throw error;
    },
  );
}

/** Absent parts are off: then the driver's own methods are called. */
function resilienceOf(pool: MonitorablePool, recorder: PoolRecorder) {
  const { retry: retrySettings, breaker, checkAfterIdle } = recorder.settings;
  const sound =
    breaker || checkAfterIdle !== false
      ? new SoundConnect(pool, pool.connect, { breaker, checkAfterIdle })
      : undefined;
  const retry = retrySettings ? new ReadRetry(pool, retrySettings, () => !recorder.isClosed) : undefined;
  recorder.resilience = { sound, retry };
  return recorder.resilience;
}

/** Not for `error`: with a listener, the error of an idle client would no longer reach the app. */
function listen(pool: MonitorablePool, recorder: PoolRecorder): () => void {
  const release = guarded('monitorPool', (_error: unknown, client: object) => {
    watchOf(client, recorder)?.released();
  });
  const opened = guarded('monitorPool', () => recorder.opened++);
  const closed = guarded('monitorPool', () => recorder.closed++);
  pool.on('release', release).on('connect', opened).on('remove', closed);
  return () => void pool.off('release', release).off('connect', opened).off('remove', closed);
}

function noteGrant(
  recorder: PoolRecorder,
  currentRequest: RequestSource | undefined,
  error: unknown,
  client: unknown,
  checkout: Checkout,
): void {
  checkout.takenAt = performance.now();
  recorder.waited(checkout.takenAt - checkout.wantedAt);
  if (error || typeof client !== 'object' || client === null) {
    recorder.failed++;
    return;
  }
  let watch = watchOf(client, recorder);
  if (!watch) {
    watch = watchClient(client as DriverClient, recorder, currentRequest);
    Object.defineProperty(client, CLIENT_WATCH, { value: watch, configurable: true });
  }
  watch.taken(checkout);
}

/** Not that of a monitor which has closed. */
function watchOf(client: unknown, recorder: PoolRecorder): ClientWatch | undefined {
  const { [CLIENT_WATCH]: watch } = client as { [CLIENT_WATCH]?: ClientWatch };
  return watch?.recorder === recorder ? watch : undefined;
}

function replace(target: object, name: string, method: unknown): void {
  Object.defineProperty(target, name, {
    value: method,
    configurable: true,
    writable: true,
    enumerable: false,
  });
}

/** Another package may have replaced the method since; then ours stays beneath it. */
function restore(target: object, name: string, ours: unknown, before: unknown): void {
  if ((target as Record<string, unknown>)[name] !== ours) return;
  delete (target as Record<string, unknown>)[name];
  if ((target as Record<string, unknown>)[name] !== before) replace(target, name, before);
}
