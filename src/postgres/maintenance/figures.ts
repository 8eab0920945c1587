/** Why this role or this database refuses ANALYZE. */
export type AnalyzeRefusal =
  /** The role neither owns the table, nor has `MAINTAIN` (PostgreSQL 17). */
  'not-owner' | 'standby';

/** A table whose planner statistics are missing or old. */
export interface StaleTable {
  /** A hash of the statement: the same on every instance. */
  readonly id: string;
  readonly schema: string;
  readonly table: string;
  /** The statement that would run. */
  readonly statement: string;
  readonly cause: 'never-analyzed' | 'changed';
  readonly liveTuples: number;
  readonly modifiedSinceAnalyze: number;
  /** From this many changes on autovacuum would analyze it. */
  readonly threshold: number;
  /** By hand or by autovacuum. Milliseconds since 1970; `null`: never, or the counters were reset since. */
  readonly lastAnalyzeAt: number | null;
  readonly isAutovacuumOff: boolean;
  /** Why ANALYZE cannot run; `null`: it can. */
  readonly refusal: AnalyzeRefusal | null;
}

/** A table that wants VACUUM. */
export interface VacuumTable {
  readonly schema: string;
  readonly table: string;
  /** `freeze`: its oldest transaction id is near `autovacuum_freeze_max_age`. */
  readonly cause: 'dead-tuples' | 'inserts' | 'freeze';
  readonly liveTuples: number;
  readonly deadTuples: number;
  /** From this many dead rows on autovacuum would vacuum it. */
  readonly threshold: number;
  readonly xidAge: number;
  readonly lastVacuumAt: number | null;
  readonly isAutovacuumOff: boolean;
}

/** An index that a build has left unfinished. */
export interface InvalidIndex {
  readonly schema: string;
  readonly table: string;
  readonly index: string;
  readonly bytes: number;
  /** Each write maintains it, although no query uses it. */
  readonly isReady: boolean;
}

/** A B-tree that is much larger than its rows need. An estimate from the statistics of its columns. */
export interface BloatedIndex {
  readonly schema: string;
  readonly table: string;
  readonly index: string;
  readonly bytes: number;
  readonly expectedBytes: number;
  /** The share that REINDEX would free, from 0 to 1. */
  readonly bloatRatio: number;
}

/** The lists of the maintenance; 50 items each at most. */
export interface MaintenanceReadings {
  readonly staleTables: readonly StaleTable[];
  readonly vacuumTables: readonly VacuumTable[];
  readonly invalidIndexes: readonly InvalidIndex[];
  readonly bloatedIndexes: readonly BloatedIndex[];
}

/** How far ANALYZE of a table is, as the catalogue of the server shows it. */
export interface AnalyzeState {
  readonly id: string;
  readonly schema: string;
  readonly table: string;
  /** `ended`: no session of hotpath works on it any more, and its statistics are older than the start. */
  readonly state: 'waiting' | 'running' | 'done' | 'ended';
  /** Such as `acquiring sample rows`; `null` unless it runs. */
  readonly phase: string | null;
  /** The share of the sample that was read, from 0 to 1; `null` unless it runs. */
  readonly progress: number | null;
  /** Sessions that hold the lock that it waits for. */
  readonly blockedBy: readonly number[];
  /** Milliseconds since 1970. */
  readonly lastAnalyzeAt: number | null;
}
