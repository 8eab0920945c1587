import type { ExistingIndexes, IndexReport } from '../adviser/report.js';
import type { MaintenanceFigures } from '../maintenance/maintenance.js';
import type { DatabaseFigures } from '../monitor/figures.js';
import type { CollectedFigures } from '../statistics/collector.js';
import type { ServerFigure, ServerReadings } from '../statistics/figures.js';
import type { PoolAdvice } from './pool-advice.js';

/** How much a finding matters, the most first. */
export const FINDING_LEVELS = ['critical', 'warning', 'notice'] as const;

/** A finding of the report. */
export interface Finding {
  /** Names its kind, such as `blocked-sessions`. */
  readonly id: string;
  readonly level: (typeof FINDING_LEVELS)[number];
  readonly title: string;
  /** The measurements, one sentence each. */
  readonly evidence: readonly string[];
  /** The advice. */
  readonly action: string;
}

/** The figures that the sections of the report read. */
export interface ReportSources {
  readonly statistics: CollectedFigures<ServerReadings>;
  readonly maintenance: MaintenanceFigures;
  readonly existingIndexes: ServerFigure<ExistingIndexes>;
  /** The last advice; `null`: there is none yet. */
  readonly missingIndexes: Pick<IndexReport, 'at' | 'missing'> | null;
  /** `null` without `monitorPool`. */
  readonly monitor: DatabaseFigures | null;
  readonly pool: PoolAdvice;
}

/** A part of the report: its findings in any order. A rejection leaves its part out, and is named. */
export interface ReportSection {
  readonly name: string;
  find(sources: ReportSources): readonly Finding[] | Promise<readonly Finding[]>;
}

/** Items of one finding. */
const MOST_EVIDENCE = 5;

/** The first items as sentences, with the number of the others. */
export function listEvidence<Item>(items: readonly Item[], write: (item: Item) => string): string[] {
  const lines = items.slice(0, MOST_EVIDENCE).map(write);
  const others = items.length - lines.length;
  return others > 0 ? [...lines, `And ${others} more.`] : lines;
}

/** Bytes for people. */
export function writeBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let at = 0;
  for (; value >= 1024 && at < units.length - 1; at++) value /= 1024;
  return `${value >= 10 || at === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[at]}`;
}

/** Seconds for people. */
export function writeSeconds(seconds: number): string {
  const ms = seconds * 1000;
  // More digits before the point would be written with an exponent.
  if (seconds < 1) return `${ms < 10 ? ms.toPrecision(2) : Math.round(ms)} ms`;
  return seconds < 120 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`;
}

/** A share for people. */
export function writeShare(share: number): string {
  return `${(share * 100).toFixed(share >= 0.995 || share < 0.1 ? 1 : 0)} %`;
}

/** Text as code in Markdown, whatever it contains. */
export function codeSpan(text: string | null): string {
  if (text === null) return 'hidden';
  // Control characters too: the text is of the database.
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, 300);
  const longest = Math.max(0, ...(line.match(/`+/g) ?? []).map(({ length }) => length));
  const fence = '`'.repeat(longest + 1);
  const space = longest > 0 || line === '' ? ' ' : '';
  return `${fence}${space}${line}${space}${fence}`;
}
