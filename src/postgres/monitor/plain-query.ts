import type { DriverClient } from '../driver.js';

/** Where a client keeps its watch: a property is found faster than an entry of a `WeakMap`. */
export const CLIENT_WATCH = Symbol('hotpath.client-watch');

/** The `query` of a client that counts nothing. */
export function plainQuery(client: DriverClient): DriverClient['query'] {
  const { [CLIENT_WATCH]: watch } = client as { [CLIENT_WATCH]?: Pick<DriverClient, 'query'> };
  return watch?.query ?? client.query;
}
