// What was measured, as it is kept in results.json: all that a report needs, so that it can be written again.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Load } from './loads.mjs';
import type { Machine } from './machine.mjs';
import { median } from './statistics.mjs';

export interface Run {
  readonly round: number;
  /** Requests a second. */
  readonly rate: number;
  /** Share of its core that the server used. */
  readonly busy: number;
  /** Server CPU time for a request. Microseconds. */
  readonly cpu: number;
  readonly isCounted: boolean;
  /** Why it is not counted. */
  readonly reason?: string;
  /** Latency from the moment when the request was due, in milliseconds, of open loads. */
  readonly latency?: Latency;
  /** Purges a second that were made meanwhile. */
  readonly purges?: number;
}

export interface Latency {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

export interface ContenderResult {
  readonly runs: readonly Run[];
  /** Bytes of the body that it answered with. */
  readonly bytes?: number;
  /** Why there are no runs. */
  readonly absent?: string;
}

export interface LoadResult {
  readonly load: Load;
  /** Loads may be measured on different days. */
  readonly measured: { readonly date: string; readonly commit: string };
  readonly seconds: number;
  readonly rounds: number;
  /** Of each contender. Absent: one. */
  readonly processes?: number;
  /** Of an open load: requests a second. */
  readonly rate?: number;
  readonly contenders: Readonly<Record<string, ContenderResult>>;
}

export interface Results {
  readonly machine: Machine;
  readonly loads: Readonly<Record<string, LoadResult>>;
  readonly scale?: ScaleResult;
}

/** The tables of `bench:scale`. */
export interface ScaleResult {
  /** CPU time of a hit by number of entries. */
  readonly entries: readonly {
    readonly contender: string;
    readonly count: number;
    /** Microseconds, a value for each round. */
    readonly cpu: readonly number[];
    /** Bytes for each entry, beyond the empty process; body included. */
    readonly heap: number;
    readonly resident: number;
    readonly body: number;
  }[];
  readonly purging: readonly {
    readonly contender: string;
    readonly purges: number;
    readonly rate: number;
    readonly latency: Latency;
  }[];
  readonly connections: readonly {
    readonly contender: string;
    readonly open: number;
    readonly rate: number;
    readonly failed: number;
    readonly latency: Latency;
  }[];
  readonly start: readonly { readonly what: string; readonly milliseconds: readonly number[] }[];
  readonly subpaths: readonly {
    readonly subpath: string;
    readonly importMilliseconds: readonly number[];
    /** Own code, minified. */
    readonly bytes: number;
    readonly gzip: number;
    /** With all dependencies but peers, minified. */
    readonly bytesWithDependencies: number;
    readonly gzipWithDependencies: number;
  }[];
}

export function readResults(folder: string): Results | undefined {
  const file = join(folder, 'results.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

export function writeResults(folder: string, results: Results): void {
  writeFileSync(join(folder, 'results.json'), `${JSON.stringify(results, undefined, 1)}\n`);
}

export type Figure = 'rate' | 'cpu';

/** The counted values of a contender under a load, by round. */
export function valuesOf(
  result: LoadResult | undefined,
  contender: string,
  figure: Figure,
): Map<number, number> {
  const runs = result?.contenders[contender]?.runs ?? [];
  return new Map(runs.filter(({ isCounted }) => isCounted).map((run) => [run.round, run[figure]]));
}

export interface Ratio {
  /** Of the medians. */
  readonly ratio: number;
  /** Of the ratios of single rounds: what was measured one after the other. */
  readonly min: number;
  readonly max: number;
}

/** How many times as good `ours` is as `theirs`: more requests a second, or less CPU time for one. */
export function ratioOf(
  result: LoadResult | undefined,
  ours: string,
  theirs: string,
  figure: Figure = 'rate',
): Ratio | undefined {
  const a = valuesOf(result, ours, figure);
  const b = valuesOf(result, theirs, figure);
  if (a.size === 0 || b.size === 0) return undefined;
  const quotient = (x: number, y: number) => (figure === 'rate' ? x / y : y / x);
  const ratio = quotient(median([...a.values()]), median([...b.values()]));
  const pairs = [...a]
    .filter(([round]) => b.has(round))
    .map(([round, x]) => quotient(x, b.get(round) as number));
  return { ratio, min: Math.min(ratio, ...pairs), max: Math.max(ratio, ...pairs) };
}

export function isOurs(contender: string): boolean {
  return contender.startsWith('hotpath');
}
