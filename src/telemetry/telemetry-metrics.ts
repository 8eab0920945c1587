import type { Registry } from 'prom-client';
import type { Alert } from './alerts/options.js';
import { type Count, registerCounters } from './callback-counters.js';
import { type Combine, type Level, registerGauges } from './callback-gauges.js';
import type { CacheUse } from './requests/cache-use.js';
import type { Traffic } from './requests/connections.js';
import type { RequestCounts } from './requests/figures.js';
import type { HostFigures, HostTotals } from './system/host-sampler.js';
import type { ProcessUsage } from './system/other-processes.js';
import type { ProcessFigures } from './system/process-sampler.js';

/** The numbers of telemetry that metrics show. `undefined`: not read yet, or not known here. */
export interface TelemetryReadings {
  readonly traffic: Traffic;
  /** Since the start. */
  counts(): RequestCounts;
  cacheUse(): CacheUse;
  readonly openConnections: number;
  readonly process: ProcessFigures | undefined;
  readonly host: HostFigures | undefined;
  readonly totals: HostTotals | undefined;
  readonly others: readonly ProcessUsage[];
  /** Instances that share the Redis of the cache. */
  readonly instances: number | undefined;
  readonly routes: number;
  readonly overflowed: number;
  readonly historyBytes: number;
  readonly alerts: readonly Alert[];
}

type Read = (readings: TelemetryReadings) => number | null | undefined;
type Row = readonly [name: string, help: string, read: Read];

const REQUEST_COUNTERS: readonly Row[] = [
  [
    'http_received_bytes_total',
    'Bytes received on connections, headers included.',
    (r) => r.traffic.receivedBytes,
  ],
  ['http_sent_bytes_total', 'Bytes sent on connections, headers included.', (r) => r.traffic.sentBytes],
  ['http_request_body_bytes_total', 'Bodies of requests, by Content-Length.', (r) => r.counts().requestBytes],
  [
    'http_response_body_bytes_total',
    'Bodies of responses, as they were sent.',
    (r) => r.counts().responseBytes,
  ],
  [
    'http_compression_saved_bytes_total',
    'Bytes that compression took off bodies.',
    (r) => r.counts().savedBytes,
  ],
  ['telemetry_overflow_total', 'Requests that telemetry counted as "overflow".', (r) => r.overflowed],
];

const CACHE_COUNTERS: readonly Row[] = [
  [
    'cache_served_bytes_total',
    'Bodies served from the cache, before compression.',
    (r) => r.cacheUse().servedBytes,
  ],
  [
    'cache_saved_seconds_total',
    'Time of handlers that the cache has saved.',
    (r) => r.cacheUse().savedMs / 1000,
  ],
];

/** The same for each instance in one process, and in a container. */
const MACHINE_COUNTERS: readonly Row[] = [
  ['container_cpu_periods_total', 'Periods of the CPU quota.', (r) => quotaOf(r)?.periods],
  [
    'container_cpu_throttled_periods_total',
    'Periods of the CPU quota in which it was used up.',
    (r) => quotaOf(r)?.throttledPeriods,
  ],
  [
    'container_cpu_throttled_seconds_total',
    'Time that threads have waited for the next period of the CPU quota.',
    (r) => quotaOf(r)?.throttledSeconds,
  ],
  [
    'host_network_received_bytes_total',
    'Bytes received by all interfaces but the loopback.',
    ({ totals }) => totals?.network?.received,
  ],
  [
    'host_network_sent_bytes_total',
    'Bytes sent by all interfaces but the loopback.',
    ({ totals }) => totals?.network?.sent,
  ],
];

/** Sums over instances and processes. */
const SUM_GAUGES: readonly Row[] = [
  ['http_open_connections', 'Open connections of the servers, idle ones too.', (r) => r.openConnections],
  ['telemetry_routes', 'Pairs of method and route that telemetry counts apart.', (r) => r.routes],
  ['telemetry_history_bytes', 'Memory of the history of telemetry.', (r) => r.historyBytes],
];

/** The same, or nearly so, for each instance: the highest is shown. */
const LEVEL_GAUGES: readonly Row[] = [
  ['instances', 'Instances that have published their figures in Redis of late.', (r) => r.instances],
  [
    'eventloop_utilization_ratio',
    'Share of the last window in which the event loop was not idle.',
    ({ process: own }) => own?.eventLoop.utilization,
  ],
  [
    'eventloop_delay_p99_seconds',
    '99th percentile of the delay of the event loop in the last window; +Inf: it was blocked throughout.',
    ({ process: own }) => own?.eventLoop.delay?.p99,
  ],
  [
    'eventloop_delay_max_seconds',
    'Longest delay of the event loop in the last window; +Inf: it was blocked throughout.',
    ({ process: own }) => own?.eventLoop.delay?.max,
  ],
  ['process_heap_limit_bytes', 'The heap may grow so far.', ({ process: own }) => own?.heapLimitBytes],
  [
    'process_memory_limit_bytes',
    'The tightest memory limit of process and container, or the memory of the machine.',
    ({ host }) => host?.memoryLimitBytes,
  ],
  [
    'container_memory_limit_bytes',
    'Memory limit of the container.',
    ({ host }) => host?.container?.memoryLimitBytes,
  ],
  [
    'container_memory_used_bytes',
    'Memory of the container that is in use.',
    ({ host }) => host?.container?.memoryUsedBytes,
  ],
  ['container_cpu_quota_cores', 'CPU quota of the container.', ({ host }) => host?.container?.cpuQuotaCores],
  [
    'host_cpu_utilization_ratio',
    'Share of the last window in which the CPUs of the machine were busy.',
    ({ host }) => host?.cpuRatio,
  ],
  ['host_load1', 'Load average over one minute.', ({ host }) => host?.load?.[0]],
  ['host_load5', 'Load average over five minutes.', ({ host }) => host?.load?.[1]],
  ['host_load15', 'Load average over 15 minutes.', ({ host }) => host?.load?.[2]],
  ['host_memory_total_bytes', 'Memory of the machine.', ({ host }) => host?.memoryTotalBytes],
  [
    'host_memory_available_bytes',
    'Memory of the machine that can be taken without swapping.',
    ({ host }) => host?.memoryAvailableBytes,
  ],
  ['host_disk_used_bytes', 'Used space of the file system at diskPath.', ({ host }) => host?.disk?.usedBytes],
  [
    'host_disk_available_bytes',
    'Free space of the file system at diskPath for users other than root.',
    ({ host }) => host?.disk?.availableBytes,
  ],
];

/**
 * Shows the figures of telemetry as metrics, read at each scrape. A figure that is not known has no sample.
 *
 * @param has whether the cache is on, and whether there are alerts.
 * @returns a function that reads the counts for the last time and removes them; idempotent.
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` when the registry holds other metrics by these names.
 */
export function showTelemetry(
  registry: Registry,
  read: () => TelemetryReadings,
  has: { readonly cache: boolean; readonly alerts: boolean },
): () => void {
  const counters = (rows: readonly Row[], combine?: 'sum' | 'max') =>
    rows.map(([name, help, figure]) =>
      registerCounters(registry, `hotpath_${name}`, help, [], () => known(figure(read())), combine),
    );
  const gauges = (rows: readonly Row[], combine: Combine) =>
    rows.map(([name, help, figure]) =>
      registerGauges(registry, `hotpath_${name}`, help, [], () => known(figure(read())), combine),
    );
  const releases = [
    ...counters(REQUEST_COUNTERS),
    ...(has.cache ? counters(CACHE_COUNTERS) : []),
    ...counters(MACHINE_COUNTERS, 'max'),
    ...gauges(SUM_GAUGES, 'sum'),
    ...gauges(LEVEL_GAUGES, 'max'),
    ...showOthers(registry, () => read().others),
    ...(has.alerts ? [showAlerts(registry, () => read().alerts)] : []),
  ];
  return () => {
    for (const release of releases) release();
  };
}

function showOthers(registry: Registry, read: () => readonly ProcessUsage[]): (() => void)[] {
  const gauge = (name: string, help: string, figure: (usage: ProcessUsage) => number | null) =>
    registerGauges(
      registry,
      `hotpath_watched_process_${name}`,
      help,
      ['process'],
      () =>
        read().flatMap((usage) =>
          known(figure(usage)).map(({ value }) => ({ labels: { process: usage.name }, value })),
        ),
      'max',
    );
  return [
    gauge('cpu_cores', 'CPU time per second of another process.', (usage) => usage.cpuCores),
    gauge('resident_memory_bytes', 'Resident memory of another process.', (usage) => usage.rssBytes),
  ];
}

function showAlerts(registry: Registry, read: () => readonly Alert[]): () => void {
  return registerGauges(
    registry,
    'hotpath_alert_firing',
    'Whether an alert of the config is firing: 0 or 1.',
    ['alert'],
    () => read().map(({ name, state }) => ({ labels: { alert: name }, value: Number(state === 'firing') })),
    'max',
  );
}

/** The control group, where it has a CPU quota. */
function quotaOf({ totals }: TelemetryReadings) {
  const cgroup = totals?.cgroup;
  return cgroup && cgroup.cpuQuotaCores !== null ? cgroup : undefined;
}

function known(value: number | null | undefined): (Level<never> & Count<never>)[] {
  return value === null || value === undefined ? [] : [{ labels: {}, value }];
}
