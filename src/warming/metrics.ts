import type { Registry } from 'prom-client';
import { registerCounters } from '../telemetry/callback-counters.js';
import { type Combine, type Level, registerGauges } from '../telemetry/callback-gauges.js';
import type { WarmingTaskFigures } from './task.js';

/**
 * Shows the figures of warming tasks as metrics.
 *
 * @returns a function that reads the counts for the last time and removes them; idempotent.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds other metrics by these names.
 */
export function showWarming(registry: Registry, read: () => readonly WarmingTaskFigures[]): () => void {
  const levels = (value: (figures: WarmingTaskFigures) => number | null) => (): Level<'task'>[] =>
    read().flatMap((figures) => {
      const level = value(figures);
      return level === null ? [] : [{ labels: { task: figures.name }, value: level }];
    });
  const counter = (name: string, help: string, value: (figures: WarmingTaskFigures) => number) =>
    registerCounters(registry, `hotpath_warming_${name}`, help, ['task'], levels(value));
  const gauge = (
    name: string,
    help: string,
    value: (figures: WarmingTaskFigures) => number | null,
    combine: Combine,
  ) => registerGauges(registry, `hotpath_warming_${name}`, help, ['task'], levels(value), combine);
  const seconds = (milliseconds: number | null) => (milliseconds === null ? null : milliseconds / 1000);
  const releases = [
    counter('executions_total', 'Runs of warming tasks that have begun.', (task) => task.execution_count),
    counter('successes_total', 'Runs that have succeeded.', (task) => task.success_count),
    counter('failures_total', 'Runs that have failed.', (task) => task.failure_count),
    gauge('running', 'Whether the task runs now.', (task) => Number(task.running), 'sum'),
    gauge(
      'last_success_timestamp_seconds',
      'When the last successful run ended, in seconds since 1970.',
      (task) => seconds(task.last_success),
      'max',
    ),
    gauge(
      'last_duration_seconds',
      'How long the last run took.',
      (task) => task.last_duration_seconds,
      'max',
    ),
  ];
  return () => {
    for (const release of releases) release();
  };
}
