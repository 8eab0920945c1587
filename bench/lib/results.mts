// The measurements in results.json, complete enough to write the report again.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Load } from './loads.mjs';
import type { Machine } from './machine.mjs';
import { median } from './statistics.mjs';

export interface Run {
  readonly round: number;
  /** Requests per second. */
  readonly rate: number;
  /** Share of its core that the server used. */
  readonly busy: number;
  /** CPU time of the server per request. Microseconds. */
  readonly cpu: number;
  readonly isCounted: boolean;
  /** Why the run does not count. */
  readonly reason?: string;
  /** Latency since the due time of the request, for open loads. Milliseconds. */
  readonly latency?: Latency;
  /** Purges per second during the run. */
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
  /** Bytes of the response body. */
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
  /** Processes per contender. Absent: one. */
  readonly processes?: number;
  /** Rate of an open load: requests per second. */
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
    /** Microseconds, one value per round. */
    readonly cpu: readonly number[];
    /** Bytes per entry, body included, without the empty process. */
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
    /** hotpath's code, minified. */
    readonly bytes: number;
    readonly gzip: number;
    /** With all dependencies except peers, minified. */
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
  /** Ratio of the medians. */
  readonly ratio: number;
  /** Smallest ratio of two consecutive runs. */
  readonly min: number;
  readonly max: number;
}

/** Ratio of `ours` to `theirs` where more is better: requests per second, or the inverse of CPU time. */
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
