import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';

const whenLoaded = AsyncLocalStorage.snapshot();

/**
 * Runs work for many clients in the async context in which this module was loaded. Otherwise it would run
 * with the `AsyncLocalStorage` of the request that happened to start it.
 *
 * Each call uses a resource of its own, because on Node 20 and 22 `enterWith` would affect the next call.
 */
export function runInOwnContext<Result>(work: () => Result): Result {
  return whenLoaded(runInNewResource, work) as Result;
}

function runInNewResource<Result>(work: () => Result): Result {
  return new AsyncResource('Hotpath').runInAsyncScope(work);
}
