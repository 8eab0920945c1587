import type { Registry } from 'prom-client';
import type { CacheStats, RedisStats } from '../cache/stats.js';
import { registerCounters } from './callback-counters.js';
import { type Combine, type Level, registerGauges } from './callback-gauges.js';

type ByWord = Readonly<Record<string, number>>;

/** The values of `hotpath_cache_redis_breaker_state`. */
const BREAKER: ByWord = { closed: 0, 'half-open': 1, open: 2 };

/**
 * Shows the statistics of a cache as metrics, read at each scrape. Redis metrics exist only with a Redis.
 *
 * @returns a function that reads the counts for the last time and removes the cache; idempotent.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds other metrics by these names.
 */
export function showCache(registry: Registry, read: () => CacheStats): () => void {
  const releases = showRequests(registry, read);
  if (read().redis) {
    const redis = () => read().redis as RedisStats;
    releases.push(...showRedis(registry, redis), ...showLog(registry, () => redis().log));
  }
  return () => {
    for (const release of releases) release();
  };
}

function showRequests(registry: Registry, read: () => CacheStats): (() => void)[] {
  const { counters, counter, gauge } = writers(registry, 'hotpath_cache_');
  return [
    counters('requests_total', 'Requests by result of the cache.', ['result'], () => {
      const { bypasses, ...counts } = read();
      return byWord('result', resultsOf({ ...counts, bypasses: sumOf(bypasses) }));
    }),
    counters('route_requests_total', 'Requests by route and result.', ['path', 'result'], () =>
      Object.entries(read().routes).flatMap(([path, counts]) =>
        Object.entries(resultsOf(counts)).map(([result, value]) => ({ labels: { path, result }, value })),
      ),
    ),
    counters('bypasses_total', 'Requests that bypassed the cache.', ['reason'], () =>
      byWord('reason', read().bypasses),
    ),
    counters('refusals_total', 'Responses that were not stored.', ['reason'], () =>
      byWord('reason', read().refusals),
    ),
    counter('collapsed_requests_total', 'Hits that waited for the fill of another request.', () => {
      return read().collapsed;
    }),
    counter('front_door_hits_total', 'Hits served before Express.', () => {
      return read().frontDoor.hits;
    }),
    counters('front_door_skipped_total', 'Requests that the front door left to Express.', ['reason'], () =>
      byWord('reason', read().frontDoor.skipped),
    ),
    counter('stores_total', 'Responses that were stored.', () => read().stores),
    counter('refreshes_total', 'Background refreshes of stale entries.', () => {
      return read().refreshes;
    }),
    counters('refresh_results_total', 'Background refreshes by result.', ['result'], () =>
      byWord('result', read().refreshResults),
    ),
    counters('refresh_refusals_total', 'Background refreshes that ended stale serving.', ['reason'], () =>
      byWord('reason', read().refreshRefusals),
    ),
    gauge('refreshes_in_progress', 'Background refreshes that run.', () => read().refreshing.running),
    gauge('refreshes_queued', 'Background refreshes that wait to run.', () => read().refreshing.waiting),
    counters('purges_total', 'Purges and expiries by selector.', ['kind', 'by'], () =>
      Object.entries(read().purgesBy).flatMap(([kind, counts]) =>
        Object.entries(counts).map(([by, value]) => ({ labels: { kind, by }, value })),
      ),
    ),
    counter('invalidations_total', 'URLs and groups that unsafe methods invalidated.', () => {
      return read().invalidations;
    }),
    counters('tier_lookups_total', 'Lookups of each tier by result.', ['tier', 'result'], () => {
      const { memory, redis } = read();
      const { hits, misses, unusable } = redis ?? {};
      return [
        ...inTier('memory', { hit: memory.hits, miss: memory.misses }),
        ...(redis ? inTier('redis', { hit: hits, miss: misses, unusable: sumOf(unusable) }) : []),
      ];
    }),
    ...showFunctions(registry, () => read().functions),
    gauge('memory_entries', 'Entries in the memory tier.', () => read().entries),
    gauge('memory_bytes', 'Bytes of the memory tier: bodies, keys, headers and tags.', () => read().bytes),
    gauge('memory_max_bytes', 'Limit of memory_bytes (cache.memory.maxBytes).', () => read().limits.bytes),
    gauge('memory_max_entries', 'Limit of memory_entries (cache.memory.maxEntries).', () => {
      return read().limits.entries;
    }),
    counters('evictions_total', 'Responses removed from memory to make room.', ['reason'], () =>
      byWord('reason', read().evictions),
    ),
    gauge('fills_in_progress', 'Fills that other requests may wait for.', () => read().pending),
    gauge('log_position', 'Position of the invalidation log in this process.', () => read().position, 'max'),
  ];
}

function showFunctions(registry: Registry, read: () => CacheStats['functions']): (() => void)[] {
  const { counters } = writers(registry, 'hotpath_cache_function_');
  const byFunction = (name: 'runs' | 'errors' | 'runSeconds') => () =>
    Object.entries(read()).map(([label, counts]) => ({ labels: { function: label }, value: counts[name] }));
  return [
    counters('calls_total', 'Calls of cached functions by result.', ['function', 'result'], () =>
      Object.entries(read()).flatMap(([label, { hits, misses, collapsed, stale, uncached }]) =>
        Object.entries({ hit: hits, miss: misses, collapsed, stale, uncached }).map(([result, value]) => ({
          labels: { function: label, result },
          value,
        })),
      ),
    ),
    counters('runs_total', 'Runs of cached functions.', ['function'], byFunction('runs')),
    counters('run_errors_total', 'Runs that threw or took too long.', ['function'], byFunction('errors')),
    counters('run_seconds_total', 'Total time of the runs.', ['function'], byFunction('runSeconds')),
  ];
}

function showRedis(registry: Registry, read: () => RedisStats): (() => void)[] {
  const { counters, counter, gauge, gauges } = writers(registry, 'hotpath_cache_redis_');
  return [
    counters('commands_total', 'Commands by result.', ['operation', 'result'], () =>
      Object.entries(read().operations).flatMap(([operation, { answered, unavailable }]) =>
        Object.entries({ answered, ...unavailable }).map(([result, value]) => ({
          labels: { operation, result },
          value,
        })),
      ),
    ),
    counters('command_seconds_total', 'Total time of commands with a reply.', ['operation'], () =>
      Object.entries(read().operations).map(([operation, { seconds }]) => ({
        labels: { operation },
        value: seconds,
      })),
    ),
    counters('unusable_total', 'Values that were found and could not be used.', ['reason'], () =>
      byWord('reason', read().unusable),
    ),
    counters('refusals_total', 'Entries that were not written.', ['reason'], () =>
      byWord('reason', read().refused),
    ),
    counter('read_bytes_total', 'Bytes of the entries that were read.', () => read().bytesRead),
    counter('written_bytes_total', 'Bytes of the entries that were written.', () => read().bytesWritten),
    gauge('commands_in_progress', 'Commands without a reply.', () => read().outstanding),
    gauge(
      'connected',
      'Whether there is a connection that takes commands.',
      () => Number(read().ready),
      'min',
    ),
    gauges(
      'breaker_state',
      'The breakers of reads and of writes: 0 closed, 1 half-open, 2 open.',
      ['lane'],
      () =>
        Object.entries(read().breaker).map(([lane, state]) => ({
          labels: { lane },
          value: BREAKER[state] ?? 2,
        })),
      'max',
    ),
  ];
}

function showLog(registry: Registry, read: () => RedisStats['log']): (() => void)[] {
  const { counter, gauge } = writers(registry, 'hotpath_cache_log_');
  return [
    gauge('in_contact', 'Whether the shared log is followed.', () => Number(read().inContact), 'min'),
    gauge('shares', 'Whether entries of other instances may be used.', () => Number(read().shares), 'min'),
    gauge('lag_records', 'Records still to be read when Redis was last asked.', () => read().lag, 'max'),
    gauge('queued_records', 'Records of this process that wait for Redis.', () => read().queued),
    gauge('remembered_selectors', 'Tags, URLs and patterns that are remembered.', () => read().remembered),
    counter('records_total', 'Records of the log in Redis that were applied here.', () => read().records),
    counter('voids_total', 'How often all entries in memory were invalidated.', () => read().voided),
  ];
}

/** Creates metrics with a common name prefix. */
function writers(registry: Registry, prefix: string) {
  const counters = <Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: () => Iterable<Level<Label>>,
  ) => registerCounters(registry, prefix + name, help, labelNames, collect);
  const gauges = <Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: () => Iterable<Level<Label>>,
    combine?: Combine,
  ) => registerGauges(registry, prefix + name, help, labelNames, collect, combine);
  return {
    counters,
    gauges,
    counter: (name: string, help: string, value: () => number) =>
      counters(name, help, [], () => [{ labels: {}, value: value() }]),
    gauge: (name: string, help: string, value: () => number, combine?: Combine) =>
      gauges(name, help, [], () => [{ labels: {}, value: value() }], combine),
  };
}

/** The results of requests, by the words of the label. */
function resultsOf(counts: CacheStats['routes'][string]): ByWord {
  const { hits, misses, stale, revalidated, passes, bypasses } = counts;
  return { hit: hits, miss: misses, stale, revalidated, pass: passes, bypass: bypasses };
}

function byWord<Label extends string>(label: Label, counts: ByWord): Level<Label>[] {
  return Object.entries(counts).map(([word, value]) => ({
    labels: { [label]: word } as Record<Label, string>,
    value,
  }));
}

function inTier(tier: string, counts: Readonly<Record<string, number | undefined>>) {
  return Object.entries(counts).map(([result, value = 0]) => ({ labels: { tier, result }, value }));
}

function sumOf(counts: ByWord = {}): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
