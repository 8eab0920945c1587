import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';

const whenLoaded = AsyncLocalStorage.snapshot();

/**
 * Runs work for many clients in the async context of the moment when this module was loaded. Otherwise the work would
 * run with the `AsyncLocalStorage` of the one request that happened to start it.
 *
 * Each call has a resource of its own: on Node 20 and 22, `enterWith` in one piece of work would stay for the next.
 */
export function runInOwnContext<Result>(work: () => Result): Result {
  return whenLoaded(runInNewResource, work) as Result;
}

function runInNewResource<Result>(work: () => Result): Result {
  return new AsyncResource('Hotpath').runInAsyncScope(work);
}
