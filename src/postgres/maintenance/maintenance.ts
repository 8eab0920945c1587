import type { Sessions } from '../sessions.js';
import { type CollectedFigures, type CollectorSettings, FigureCollector } from '../statistics/collector.js';
import { AnalyzeRunner, type StartedAnalyze, type StartRefusal } from './analyze.js';
import type { AnalyzeState, MaintenanceReadings } from './figures.js';
import { maintenanceReadings } from './readings.js';

/** Lists of tables and indexes that want maintenance. */
export type MaintenanceFigures = CollectedFigures<MaintenanceReadings>;

/** The maintenance of the database. */
export interface DatabaseMaintenance {
  /** `maintenance.analyze` of the options. */
  readonly isAnalyzeAllowed: boolean;
  /** Tables and indexes that want maintenance. Callers within `statistics.cacheFor` share one reading. Never rejects. */
  figures(): Promise<MaintenanceFigures>;
  /**
   * Starts ANALYZE of stale tables in the background, if the options allow it; one run at a time in a database.
   *
   * @param ids of `staleTables` of the figures, 50 at most.
   * @returns the tables and the time of the start, or why it does not start. Never rejects.
   */
  startAnalyze(ids: readonly string[]): Promise<StartedAnalyze | StartRefusal>;
  /**
   * How far the tables of a run are, on whatever instance it was started.
   *
   * @param since the time of the start.
   * @throws the error of the server or of the connection.
   */
  analyzeStates(ids: readonly string[], since: number): Promise<readonly AnalyzeState[]>;
}

export function makeMaintenance(
  sessions: Sessions,
  { analyze }: { readonly analyze: boolean },
  settings: CollectorSettings,
): DatabaseMaintenance {
  const collector = new FigureCollector(sessions, 'maintenance figures', maintenanceReadings, settings);
  const runner = new AnalyzeRunner(sessions, analyze);
  return {
    isAnalyzeAllowed: analyze,
    figures: () => collector.read(),
    startAnalyze: (ids) => runner.start(ids),
    analyzeStates: (ids, since) => runner.states(ids, since),
  };
}
