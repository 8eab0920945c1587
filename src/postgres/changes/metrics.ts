import type { Registry } from 'prom-client';
import { registerCounters } from '../../telemetry/callback-counters.js';
import { registerGauges } from '../../telemetry/callback-gauges.js';
import type { ChangeFigures } from './follower.js';

/**
 * Shows the reader of changes as metrics.
 *
 * @returns removes them; idempotent.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds other metrics by these names.
 */
export function showChanges(registry: Registry, read: () => ChangeFigures): () => void {
  const counter = (name: string, help: string, value: (figures: ChangeFigures) => number) =>
    registerCounters(registry, `hotpath_db_changes_${name}`, help, [], () => [
      { labels: {}, value: value(read()) },
    ]);
  const gauge = (
    name: string,
    help: string,
    value: (figures: ChangeFigures) => number | null,
    combine: 'max' | 'min',
  ) =>
    registerGauges(
      registry,
      `hotpath_db_changes_${name}`,
      help,
      [],
      () => {
        const level = value(read());
        return level === null ? [] : [{ labels: {}, value: level }];
      },
      combine,
    );
  const releases = [
    counter('records_total', 'Records of changed rows that were read.', ({ records }) => records),
    counter('rows_total', 'Rows of these records, before and after a change.', ({ rows }) => rows),
    counter('purges_total', 'Selectors that were purged for them.', ({ purges }) => purges),
    counter(
      'full_purges_total',
      'Purges of everything that depends on the tables.',
      ({ fullPurges }) => fullPurges,
    ),
    counter('failures_total', 'Connections of the reader that failed or broke.', ({ failures }) => failures),
    gauge(
      'following',
      '1: all tables are followed; 0: not.',
      ({ state }) => Number(state === 'following'),
      'min',
    ),
    gauge(
      'unfollowed_tables',
      'Tables of the mapping that are missing or cannot be followed.',
      ({ tables }) => tables.filter(({ state }) => state === 'missing' || state === 'failed').length,
      'max',
    ),
    gauge(
      'lag_seconds',
      'Time since all changes were last known to be purged.',
      ({ lagSeconds }) => lagSeconds,
      'max',
    ),
  ];
  return () => {
    for (const release of releases) release();
  };
}
