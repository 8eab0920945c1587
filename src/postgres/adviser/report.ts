import type { AdviceLevel } from '../indexes/advice-level.js';
import type { UnmeasuredReason } from './buffers/buffer-meter.js';

/** A statement that an index helps. */
export interface HelpedQuery {
  /** The statement with placeholders, never with values. */
  readonly text: string;
  readonly calls: number;
  /** In the planner's unit, of one call. */
  readonly costBefore: number;
  /** With all indexes that are advised. */
  readonly costAfter: number;
  /** Pages of one call, in memory or not; `null`: not known. */
  readonly buffersBefore: number | null;
  /** `run`: one run with the values of the app. `pg_stat_statements`: the mean of all calls. */
  readonly buffersSource: 'run' | 'pg_stat_statements' | null;
  /** Of one run with all indexes that are advised, in their trial; `null`: see `buffersReason`. */
  readonly buffersAfter: number | null;
  /** Why a figure of buffers was not measured; `null`: both were. */
  readonly buffersReason: UnmeasuredReason | null;
  /** Planned with values of the app, or without any, as prepared statements are in the long run. */
  readonly plannedWith: 'values' | 'none';
  /**
   * Of a statement with a `name`: the costs of its plan without values, which the server may keep from the sixth call on.
   * `null`: it has no name, or is planned without values above.
   */
  readonly generic: { readonly costBefore: number; readonly costAfter: number } | null;
  /** Since the values were seen; `null`: there were none. Seconds. */
  readonly sampleAge: number | null;
}

/** An index that is missing. */
export interface MissingIndex {
  /** A hash of the DDL, which every instance computes alike. */
  readonly id: string;
  readonly ddl: string;
  readonly level: AdviceLevel;
  readonly schema: string;
  readonly table: string;
  readonly method: 'btree' | 'gin' | 'gist';
  /** About; `null`: not known. */
  readonly bytes: number | null;
  readonly tableRows: number;
  readonly tableBytes: number;
  /** Changed rows of the table, in an hour, of which each will cost a little more. */
  readonly writesPerHour: number;
  /** The statements that use it, those that gain the most first. */
  readonly queries: readonly HelpedQuery[];
  /** Since the statistics of the table were made; `null`: never. Seconds. */
  readonly statisticsAge: number | null;
  readonly caveats: readonly string[];
}

/** An index that exists, with a reason to look at it. */
export interface ExistingIndexFinding {
  readonly schema: string;
  readonly table: string;
  readonly name: string;
  readonly definition: string;
  readonly bytes: number;
  /** Since the statistics of the server began. */
  readonly scans: number;
  /** The index that makes it redundant; `null`: none does. */
  readonly coveredBy: string | null;
  readonly caveats: readonly string[];
}

/** A foreign key whose columns no index begins with. */
export interface UnindexedForeignKey {
  readonly schema: string;
  readonly table: string;
  readonly name: string;
  readonly columns: readonly string[];
  readonly target: string;
  readonly tableRows: number;
  readonly ddl: string;
  readonly id: string;
  readonly caveats: readonly string[];
}

/** The findings of the catalogue about indexes that exist. */
export type ExistingIndexes = Pick<
  IndexReport,
  'duplicate' | 'redundant' | 'unused' | 'invalid' | 'foreignKeys' | 'countedSince'
>;

/** The indexes of a database, with advice. */
export interface IndexReport {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** How missing indexes were tried; `estimated`: neither HypoPG nor a build was possible. */
  readonly level: Exclude<AdviceLevel, 'sampled'>;
  /** Of the computation. Seconds. */
  readonly seconds: number;
  /** `false`: the time was not enough for all statements. */
  readonly isComplete: boolean;
  /** Statements that were seen, and those that could be planned. */
  readonly statements: number;
  readonly plannedStatements: number;
  readonly missing: readonly MissingIndex[];
  readonly duplicate: readonly ExistingIndexFinding[];
  readonly redundant: readonly ExistingIndexFinding[];
  readonly unused: readonly ExistingIndexFinding[];
  readonly invalid: readonly ExistingIndexFinding[];
  readonly foreignKeys: readonly UnindexedForeignKey[];
  /** Since when the server counts scans. Milliseconds since 1970; `null`: not known. */
  readonly countedSince: number | null;
  /** Why something was not looked at. */
  readonly notes: readonly string[];
}
