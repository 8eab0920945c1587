/** Where a pool keeps its monitor; two copies of the package agree. */
export const POOL_MONITOR: unique symbol = Symbol.for('hotpath.pool-monitor');

/** Slow queries of a pool since the start; `undefined` if `monitorPool` does not watch it. */
export function slowQueriesOf(pool: object): number | undefined {
  return (pool as { [POOL_MONITOR]?: { slowQueries(): number } })[POOL_MONITOR]?.slowQueries();
}
