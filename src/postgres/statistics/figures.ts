/**
 * Why a figure is absent or incomplete.
 *
 * - `unavailable`: the server does not respond, or has not been read yet;
 * - `timeout`: it took too long, or another session held a lock;
 * - `permission-denied`: the role lacks a right, such as those of `pg_monitor`;
 * - `extension-missing`, `extension-not-loaded`: `CREATE EXTENSION`, or `shared_preload_libraries`;
 * - `unsupported`: this server has no such view;
 * - `too-many-connections`, `authentication-failed`: the server refused the connection;
 * - `closed`: the monitor is closed;
 * - `failed`: any other error.
 */
export type AbsenceReason =
  | 'unavailable'
  | 'timeout'
  | 'permission-denied'
  | 'extension-missing'
  | 'extension-not-loaded'
  | 'unsupported'
  | 'too-many-connections'
  | 'authentication-failed'
  | 'closed'
  | 'failed';

/** A figure that the server may not tell. */
export interface ServerFigure<T> {
  /** `null`: there is none. */
  readonly value: T | null;
  /** Why the value is absent or incomplete; `null`: it is complete. */
  readonly reason: AbsenceReason | null;
}

/** The server. */
export interface ServerFigures {
  /** Such as `15.18`. */
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly isStandby: boolean;
  readonly maxConnections: number;
  /** Those of `maxConnections` that other roles than superusers cannot use. */
  readonly reservedConnections: number;
  /** Transactions until the oldest one has to be frozen: `age(datfrozenxid)` of this database. */
  readonly xidAge: number;
  /** Where autovacuum begins to freeze: `autovacuum_freeze_max_age`. */
  readonly freezeMaxAge: number;
}

/** Sessions of clients on the server, of all databases. */
export interface ConnectionFigures {
  readonly total: number;
  /** Of this database. */
  readonly ofDatabase: number;
  /** Of this role in this database: those of the app, if it has a role of its own. */
  readonly ofRole: number;
  /** Of hotpath itself. */
  readonly ofMonitor: number;
  readonly active: number;
  readonly idle: number;
  readonly idleInTransaction: number;
  /** In a transaction that failed. */
  readonly idleInTransactionAborted: number;
  /** Sessions of other roles, whose state this role may not see. */
  readonly hidden: number;
  /** Active ones that wait for a lock. */
  readonly waitingForLock: number;
}

/** The database since its counters were reset. */
export interface ActivityFigures {
  /** Milliseconds since 1970; `null`: they never were. */
  readonly statsResetAt: number | null;
  readonly sizeBytes: number;
  readonly commits: number;
  readonly rollbacks: number;
  readonly deadlocks: number;
  /** Sorts and hashes that did not fit in `work_mem`. */
  readonly tempFiles: number;
  readonly tempBytes: number;
}

/** Blocks that were found in the server's memory, and those that were not. */
export interface BlockFigures {
  readonly hit: number;
  readonly read: number;
  /** From 0 to 1; `null`: none was needed. */
  readonly hitRatio: number | null;
}

/** How well the server's memory holds tables and indexes, since its counters were reset. */
export interface BufferFigures {
  readonly heap: BlockFigures;
  readonly index: BlockFigures;
}

/** A table. Counts are since the counters were reset; times are in milliseconds since 1970. */
export interface TableFigures {
  readonly schema: string;
  readonly table: string;
  /** With indexes and TOAST; `null`: another session holds the table locked. */
  readonly totalBytes: number | null;
  readonly indexBytes: number | null;
  readonly seqScans: number;
  /** Rows that sequential scans read. */
  readonly seqTuplesRead: number;
  /** `null`: it has no index. */
  readonly indexScans: number | null;
  /** From 0 to 1: the share of scans that used an index; `null`: no scan. */
  readonly indexScanRatio: number | null;
  /** Estimates. */
  readonly liveTuples: number;
  readonly deadTuples: number;
  readonly modifiedSinceAnalyze: number;
  readonly lastVacuumAt: number | null;
  readonly lastAutovacuumAt: number | null;
  readonly lastAnalyzeAt: number | null;
  readonly lastAutoanalyzeAt: number | null;
}

/** A session, without names of users and hosts. */
export interface SessionFigures {
  readonly pid: number;
  /** As the client calls itself. */
  readonly applicationName: string;
  /** Such as `idle in transaction`; `null`: this role may not see it. */
  readonly state: string | null;
  /** Its last statement without values; `null`: this role may not see it. */
  readonly text: string | null;
  /** Since its transaction began; `null`: none is open. */
  readonly transactionSeconds: number | null;
}

/** A session that waits for a lock. */
export interface BlockedFigures extends SessionFigures {
  /** Since it waits. */
  readonly seconds: number;
  /** Such as `ShareLock`, and the table if it is one of this database. */
  readonly lock: string | null;
  readonly table: string | null;
  /** The sessions that it waits for; a prepared transaction has the `pid` 0. */
  readonly blockers: readonly SessionFigures[];
}

/** A statement on the server, whatever program ran it. Counts are of the time since `StatementWindow.since`. */
export interface ServerStatement {
  /** Without values; `null`: this role may not see it. */
  readonly text: string | null;
  readonly calls: number;
  /** Of all calls together. */
  readonly seconds: number;
  readonly meanSeconds: number;
  readonly rows: number;
  /** Blocks that were found in memory, that were not, and that went to temporary files. */
  readonly hitBlocks: number;
  readonly readBlocks: number;
  readonly tempBlocks: number;
}

/** Statements between two readings of `pg_stat_statements`. */
export interface StatementWindow {
  /** When the time began. Milliseconds since 1970; `null`: unknown. */
  readonly since: number | null;
  /** It began when the server's counters were reset, because there was no reading before. */
  readonly isSinceReset: boolean;
  /** Statements that the server dropped, because `pg_stat_statements.max` is too small. */
  readonly dropped: number | null;
  /** Of all statements together. */
  readonly calls: number;
  readonly seconds: number;
  /** Those that took the most time together first; 50 at most. */
  readonly statements: readonly ServerStatement[];
}

/** The figures by name, as SQL can give them. */
export interface ServerReadings {
  readonly server: ServerFigures;
  readonly connections: ConnectionFigures;
  readonly activity: ActivityFigures;
  readonly buffers: BufferFigures;
  /** The largest first; 50 at most. */
  readonly tables: readonly TableFigures[];
  /** The oldest first; 20 at most. */
  readonly longTransactions: readonly SessionFigures[];
  /** Those that wait longest first; 20 at most. */
  readonly blockedSessions: readonly BlockedFigures[];
  readonly statements: StatementWindow;
}
