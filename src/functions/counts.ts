/** Counts of one cached function since it was created. Each only grows. */
export interface FunctionCounts {
  /** Calls that got a fresh result, from memory or Redis. */
  hits: number;
  /** Calls that ran the function and waited for it. */
  misses: number;
  /** Calls that waited for the run of another call. */
  collapsed: number;
  /** Calls that got a stale result. */
  stale: number;
  /** Calls that ran the function without the cache: their arguments cannot be a key, or their result cannot be shared. */
  uncached: number;
  /** Runs of the function, in the background too. */
  runs: number;
  /** Runs that threw, or took longer than `timeout`. */
  errors: number;
  /** Total duration of the runs that have ended. Seconds. */
  runSeconds: number;
}

/** The counts of all functions of a cache, by name. */
export type FunctionStats = Readonly<Record<string, Readonly<FunctionCounts>>>;

export function noFunctionCounts(): FunctionCounts {
  return { hits: 0, misses: 0, collapsed: 0, stale: 0, uncached: 0, runs: 0, errors: 0, runSeconds: 0 };
}
