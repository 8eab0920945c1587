import type { DriverPool } from '../driver.js';
import type { DatabaseMaintenance } from '../maintenance/maintenance.js';
import { monitorOf } from '../monitor/figures.js';
import type { ScopedHotpath } from '../monitor/options.js';
import type { CollectedFigures } from '../statistics/collector.js';
import type { ServerReadings } from '../statistics/figures.js';
import { advisePool, type PoolAdvice } from './pool-advice.js';
import { PoolLoadRecorder } from './pool-load.js';
import { type DatabaseReport, makeReport, reportMarkdown } from './report.js';
import { REPORT_SECTIONS } from './sections.js';

type Statistics = CollectedFigures<ServerReadings>;

/** The parts that the report reads. */
export interface ReportParts {
  readonly pool: DriverPool;
  /** Knows how many instances there are. */
  readonly perf: ScopedHotpath | undefined;
  readonly statistics: () => Promise<Statistics>;
  readonly maintenance: DatabaseMaintenance;
}

/** The report, and the advice about the pool. */
export interface DatabaseReports {
  /**
   * Findings in the order of their importance, each with its evidence and what to do. Never rejects: figures that cannot be
   * read are named in `missing`.
   */
  report(): Promise<DatabaseReport>;
  /** As Markdown. */
  report(options: { readonly format: 'markdown' }): Promise<string>;
  /** A size for the pool, from the load of the last hour (`monitorPool`). Never rejects. */
  poolAdvice(): Promise<PoolAdvice>;
}

/** Makes reports, and measures the load of the pool for them until it is closed. */
export class DatabaseReporter {
  readonly #parts: ReportParts;
  readonly #load: PoolLoadRecorder;

  constructor(parts: ReportParts) {
    this.#parts = parts;
    this.#load = new PoolLoadRecorder(parts.pool);
  }

  async report(): Promise<DatabaseReport> {
    const { statistics, maintenance, pool } = this.#parts;
    const [read, lists] = await Promise.all([statistics(), maintenance.figures()]);
    const monitor = monitorOf(pool)?.figures() ?? null;
    const advice = await this.#advise(read);
    return makeReport({ statistics: read, maintenance: lists, monitor, pool: advice }, REPORT_SECTIONS);
  }

  async markdown(): Promise<string> {
    return reportMarkdown(await this.report());
  }

  async poolAdvice(): Promise<PoolAdvice> {
    return this.#advise(await this.#parts.statistics());
  }

  close(): void {
    this.#load.close();
  }

  async #advise({ server, connections }: Statistics): Promise<PoolAdvice> {
    const { pool, perf } = this.#parts;
    const report = await perf?.telemetry?.instances();
    const others = connections.value ? connections.value.total - connections.value.ofRole : 0;
    return advisePool({
      steps: this.#load.steps(),
      size: pool.options.max ?? null,
      instances: Math.max(1, report?.instances.length ?? 1),
      available: server.value
        ? Math.max(0, server.value.maxConnections - server.value.reservedConnections - others)
        : null,
    });
  }
}
