import { reportFault } from '../../runtime/report-fault.js';
import type { ExistingIndexes, IndexReport } from '../adviser/report.js';
import type { DriverPool } from '../driver.js';
import type { DatabaseMaintenance } from '../maintenance/maintenance.js';
import { monitorOf } from '../monitor/figures.js';
import type { ScopedHotpath } from '../monitor/options.js';
import type { CollectedFigures } from '../statistics/collector.js';
import type { ServerFigure, ServerReadings } from '../statistics/figures.js';
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
  /** Reads the catalogue; nothing is planned. Never rejects. */
  readonly existingIndexes: () => Promise<ServerFigure<ExistingIndexes>>;
  /** The last advice, or a new one. @throws the error of the connection. */
  readonly missingIndexes: (isNew: boolean) => Promise<IndexReport | null>;
}

/** Options of a report. */
export interface ReportOptions {
  /** Whether missing indexes are searched now, which takes up to 30 seconds. Default: `false`, the last advice is shown. */
  readonly indexes?: boolean | undefined;
}

/** The report, and the advice about the pool. */
export interface DatabaseReports {
  /**
   * Findings in the order of their importance, each with its evidence and what to do. Never rejects: figures that cannot be
   * read are named in `missing`.
   */
  report(options?: ReportOptions): Promise<DatabaseReport>;
  /** As Markdown. */
  report(options: ReportOptions & { readonly format: 'markdown' }): Promise<string>;
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

  async report({ indexes = false }: ReportOptions = {}): Promise<DatabaseReport> {
    const { statistics, maintenance, pool } = this.#parts;
    const [read, lists, existingIndexes, missingIndexes] = await Promise.all([
      statistics(),
      maintenance.figures(),
      this.#parts.existingIndexes(),
      this.#parts.missingIndexes(indexes).catch(noAdvice),
    ]);
    const monitor = monitorOf(pool)?.figures() ?? null;
    const advice = await this.#advise(read);
    return makeReport(
      { statistics: read, maintenance: lists, monitor, pool: advice, existingIndexes, missingIndexes },
      REPORT_SECTIONS,
    );
  }

  async markdown(options?: ReportOptions): Promise<string> {
    return reportMarkdown(await this.report(options));
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

/** The report names what it has not. */
function noAdvice(error: unknown): null {
  reportFault('report of the database: missing indexes', error);
  return null;
}
