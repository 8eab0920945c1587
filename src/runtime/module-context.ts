import { AsyncResource } from 'node:async_hooks';

// Each resource ends at once, not at the next garbage collection: Jest reports a resource without an end as an open
// handle. The resource keeps its context.
const ended = { requireManualDestroy: true };
const whenLoaded = new AsyncResource('Hotpath', ended).emitDestroy();

/**
 * Runs work for many clients in the async context in which this module was loaded. Otherwise it would run
 * with the `AsyncLocalStorage` of the request that happened to start it.
 *
 * Each call uses a resource of its own, because on Node 20 and 22 `enterWith` would affect the next call.
 */
export function runInOwnContext<Result>(work: () => Result): Result {
  return whenLoaded.runInAsyncScope(runInNewResource<Result>, undefined, work);
}

function runInNewResource<Result>(work: () => Result): Result {
  return new AsyncResource('Hotpath', ended).emitDestroy().runInAsyncScope(work);
}
