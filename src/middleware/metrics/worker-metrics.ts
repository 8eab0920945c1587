import type { Worker } from 'node:worker_threads';
import { Registry } from 'prom-client';
import * as v from 'valibot';
import { leaf, resolve, section } from '../../options/schema.js';
import type { Duration } from '../../options/units.js';
import { booleanValidator, readTimerDuration } from '../../options/validators.js';
import { readFamilies } from '../../telemetry/exposition/families.js';
import { chooseFormat } from '../../telemetry/exposition/negotiate.js';
import { writeFamilies } from '../../telemetry/exposition/write.js';
import { gaugeIn } from '../../telemetry/get-or-create.js';
import { expositionHandler, type ScrapeHandler } from '../../telemetry/scrape-handler.js';
import { WorkerCollector, type WorkerCount } from '../../telemetry/workers/worker-collector.js';
import { readRegistry } from './options.js';

/** Options of `collectWorkerMetrics`. */
export interface WorkerMetricsOptions {
  /** Time to wait for a worker's reply. Default: `'1s'`. */
  timeout?: Duration | undefined;
  /** Metrics of the collecting process itself, shown with those of the workers. Default: a new registry. */
  registry?: Registry | undefined;
  /** Whether scrapers that ask for OpenMetrics get it. Default: `false`. */
  exemplars?: boolean | undefined;
}

/** The metrics of all workers as one. */
export interface WorkerMetrics {
  /** Serves them. Restrict access to this route. */
  readonly handler: ScrapeHandler;
  /** They in the text format. */
  metrics(): Promise<string>;
  /** Adds a worker thread, until it exits. Workers of `node:cluster` are found by themselves. */
  watch(worker: Worker): void;
  /** Asks no worker any more. Idempotent. */
  close(): void;
}

const workerMetricsSchema = section({
  timeout: v.optional(leaf(readTimerDuration), 1),
  registry: v.optional(leaf(readRegistry)),
  exemplars: v.optional(leaf(booleanValidator), false),
});

/**
 * Collects the metrics of all workers that call `shareMetrics`: those of `node:cluster` in the primary, and worker threads
 * that are watched. It waits for none longer than `timeout`. `hotpath_metrics_workers_expected` and
 * `hotpath_metrics_workers_answered` show how many did not reply; their counters keep the last values.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for invalid options, or if the registry contains other metrics by these
 * names.
 */
export function collectWorkerMetrics(options?: WorkerMetricsOptions): WorkerMetrics {
  const settings = resolve(workerMetricsSchema, options, 'collectWorkerMetrics');
  const registry = settings.registry ?? new Registry();
  const expected = gaugeIn(registry, {
    name: 'hotpath_metrics_workers_expected',
    help: 'Workers that are there.',
  });
  const answered = gaugeIn(registry, {
    name: 'hotpath_metrics_workers_answered',
    help: 'Workers that answered in time.',
  });
  const collector = new WorkerCollector(settings.timeout * 1000);
  const own = (count: WorkerCount) => {
    expected.set(count.expected);
    answered.set(count.answered);
    return readFamilies(registry);
  };
  let running: ReturnType<typeof collector.collect> | undefined;
  // Shared by all scrapes, in any format: a worker answers one question at a time.
  const read = () =>
    (running ??= collector.collect(own).finally(() => {
      running = undefined;
    }));
  return {
    handler: expositionHandler({
      formatFor: (req) => (settings.exemplars ? chooseFormat(req.headers.accept) : 'text'),
      negotiates: settings.exemplars,
      read,
    }),
    metrics: async () => writeFamilies(await read(), 'text'),
    watch: (worker) => collector.watch(worker),
    close: () => collector.close(),
  };
}
