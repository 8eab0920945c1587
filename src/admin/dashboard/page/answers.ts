import type { KeyList } from '../../../cache/explain/key-list.js';
import type { CacheStats } from '../../../cache/stats.js';
import type { FunctionCounts } from '../../../functions/counts.js';
import type { ChangeFigures } from '../../../postgres/changes/follower.js';
import type { DatabaseFigures } from '../../../postgres/monitor/figures.js';
import type { ServerFigure, ServerReadings } from '../../../postgres/statistics/figures.js';
import type { AdviceItem } from '../../../telemetry/advice.js';
import type { Alert } from '../../../telemetry/alerts/options.js';
import type { InstancesReport } from '../../../telemetry/instances/instances.js';
import type { InstanceLabels } from '../../../telemetry/instances/snapshot.js';
import type { CacheUseFigures } from '../../../telemetry/requests/cache-use.js';
import type { RequestFigures } from '../../../telemetry/requests/figures.js';
import type { RouteQueries } from '../../../telemetry/requests/route-series.js';
import type { SlowRequestFigures } from '../../../telemetry/requests/slowest-requests.js';
import type { TopKey } from '../../../telemetry/requests/top-keys.js';
import type { HostFigures } from '../../../telemetry/system/host-sampler.js';
import type { ProcessUsage } from '../../../telemetry/system/other-processes.js';
import type { ProcessFigures } from '../../../telemetry/system/process-sampler.js';
import type { WarmingTaskFigures } from '../../../warming/task.js';
import type { ShownJobFigures } from '../../performance-api/job-figures.js';

/** A response of the performance API. */
export interface Answer<Volatile, Stable = object> {
  readonly at: number;
  /** `null`: sums of all instances. */
  readonly instance: InstanceLabels | null;
  readonly ageSeconds?: number;
  readonly stable?: Stable;
  readonly volatile: Volatile;
}

/** A route in `/api`. */
export interface ApiRoute {
  readonly method: string;
  readonly route: string;
  readonly sinceStart: RequestFigures;
  /** `null` where another instance has published the figures. */
  readonly recent: RequestFigures | null;
  readonly cacheHitRatio: number | null;
  /** Queries since the start; absent without any. */
  readonly database?: RouteQueries;
}

export interface ApiFigures {
  readonly uptimeSeconds: number;
  readonly requests: {
    readonly active: number;
    readonly openConnections: number;
    readonly recent: RequestFigures | null;
    readonly sinceStart: RequestFigures;
  };
  readonly routes: readonly ApiRoute[];
  readonly routeCount: number | null;
  readonly instanceCount?: number;
  readonly isComplete?: boolean;
}

/** The counts of a cached function. */
export interface NamedFunctionCounts extends FunctionCounts {
  readonly name: string;
}

export interface CacheFigures {
  readonly use: CacheUseFigures;
  readonly topKeys: readonly TopKey[] | null;
  readonly store: Omit<CacheStats, 'routes' | 'functions'> | null;
  readonly list: KeyList | null;
  readonly functions: readonly NamedFunctionCounts[] | null;
}

export interface CacheLimits {
  readonly isOn: boolean;
  readonly maxBytes: number;
  readonly maxEntries: number;
}

export interface MachineFigures {
  readonly uptimeSeconds: number;
  readonly process: ProcessFigures | null;
  readonly host: HostFigures | null;
  readonly others: readonly ProcessUsage[];
}

export interface MachineLabels {
  readonly nodeVersion: string;
  readonly platform: string;
}

export interface HistoryFigures {
  readonly process: {
    readonly at: readonly number[];
    readonly figures: Readonly<Record<string, readonly (number | null)[]>>;
  };
}

/** The statistics of the server. */
type ServerAnswer = { readonly [Name in keyof ServerReadings]: ServerFigure<ServerReadings[Name]> };

/** The figures of `/database`. */
export interface DatabaseAnswer {
  /** `null`: there is none. */
  readonly pool: PoolFigures | null;
  /** `null`: `monitorPool` does not watch it. */
  readonly monitor: DatabaseFigures | null;
  /** `null`: no cache follows the tables. */
  readonly changes: ChangeFigures | null;
  /** `null`: without `postgres`. */
  readonly statistics: ServerAnswer | null;
}

export interface PoolFigures {
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
  readonly activeCount: number;
  readonly isSaturated: boolean | null;
}

/** An alert. The instance is named where another one, or all, are shown. */
export interface ShownAlert extends Alert {
  readonly instance?: string;
}

/** The queue of background jobs. */
export interface ShownJobs {
  /** Whether the app gives figures. */
  readonly isOn: boolean;
  /** `null`: they are not available. */
  readonly queue: ShownJobFigures | null;
}

/** All that the page shows. Absent until it has come. */
export interface Shown {
  api?: Answer<ApiFigures>;
  cache?: Answer<CacheFigures>;
  cacheLimits?: CacheLimits;
  machine?: Answer<MachineFigures>;
  machineLabels?: MachineLabels;
  advice?: readonly AdviceItem[];
  instances?: InstancesReport;
  warming?: readonly WarmingTaskFigures[];
  alerts?: readonly ShownAlert[];
  database?: DatabaseAnswer;
  jobs?: ShownJobs;
  slowest?: readonly SlowRequestFigures[];
  /** The last hour of one instance. */
  history?: HistoryColumns;
  historyOf?: InstanceLabels;
  /** `all`, or the id of an instance; absent: the one that answers. */
  selected?: string;
}

/** The last hour in columns, the oldest first. */
export interface HistoryColumns {
  /** Seconds since 1970. */
  readonly at: readonly number[];
  readonly figures: Readonly<Record<string, readonly (number | null)[]>>;
}
