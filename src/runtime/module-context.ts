import { AsyncResource } from 'node:async_hooks';

const whenLoaded = makeEndedResource();

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
  return makeEndedResource().runInAsyncScope(work);
}

/**
 * A resource keeps its context after its end. It ends at once, not at the next garbage collection, because Jest reports
 * a resource without an end as an open handle.
 */
function makeEndedResource(): AsyncResource {
  const resource = new AsyncResource('Hotpath', { requireManualDestroy: true });
  resource.emitDestroy(); // returns nothing in Bun
  return resource;
}
