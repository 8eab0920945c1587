import { reportFault } from '../../runtime/report-fault.js';
import type { AbsenceReason, ServerFigure } from '../statistics/figures.js';
import { FINDING_LEVELS, type Finding, type ReportSection, type ReportSources } from './findings.js';
import type { PoolAdvice } from './pool-advice.js';

/** A figure that the report had to do without. */
export interface MissingFigure {
  readonly figure: string;
  /** `failed` for a part of the report that failed. */
  readonly reason: AbsenceReason;
}

/** The report about a database. */
export interface DatabaseReport {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The most important first. */
  readonly findings: readonly Finding[];
  /** Figures that are absent or incomplete, with the reason. */
  readonly missing: readonly MissingFigure[];
  readonly pool: PoolAdvice;
}

/** Makes the report. Never rejects: a section that fails is named. */
export async function makeReport(
  sources: ReportSources,
  sections: readonly ReportSection[],
): Promise<DatabaseReport> {
  const found = await Promise.all(
    sections.map(async (section) => {
      try {
        return await section.find(sources);
      } catch (error) {
        reportFault(`report of the database: ${section.name}`, error);
        return section.name;
      }
    }),
  );
  const failed = found.filter((each) => typeof each === 'string');
  const findings = found
    .flatMap((each) => (typeof each === 'string' ? [] : each))
    .sort((a, b) => FINDING_LEVELS.indexOf(a.level) - FINDING_LEVELS.indexOf(b.level));
  const missing = [
    ...missingIn(sources.statistics),
    ...missingIn(sources.maintenance),
    ...missingIn({ existingIndexes: sources.existingIndexes }),
    ...(sources.missingIndexes ? [] : [NOT_ADVISED]),
    ...failed.map((figure): MissingFigure => ({ figure, reason: 'failed' })),
  ];
  return { at: Date.now(), findings, missing, pool: sources.pool };
}

/** No run of the adviser has been wanted yet. */
const NOT_ADVISED: MissingFigure = { figure: 'missingIndexes', reason: 'unavailable' };

function missingIn(figures: object): MissingFigure[] {
  return Object.entries(figures).flatMap(([figure, each]) => {
    const { reason } = (each ?? {}) as Partial<ServerFigure<unknown>>;
    return reason ? [{ figure, reason }] : [];
  });
}

const LEVEL_TITLES: Readonly<Record<Finding['level'], string>> = {
  critical: 'Critical',
  warning: 'Warning',
  notice: 'Notice',
};

/** The report as Markdown. Texts of the database are in code spans. */
export function reportMarkdown({ at, findings, missing, pool }: DatabaseReport): string {
  const lines = ['# PostgreSQL report', '', new Date(at).toISOString(), ''];
  if (findings.length === 0) lines.push('Nothing was found.', '');
  findings.forEach(({ level, title, evidence, action }, at) => {
    lines.push(`## ${at + 1}. ${title}`, '', `${LEVEL_TITLES[level]}.`, '');
    lines.push(...evidence.map((line) => `- ${line}`), '', `**To do:** ${action}`, '');
  });
  lines.push('## Size of the pool', '', ...pool.reasoning.map((line) => `- ${line}`), '');
  if (missing.length > 0) {
    lines.push('## Figures that are absent or incomplete', '');
    lines.push(...missing.map(({ figure, reason }) => `- \`${figure}\`: ${reason}`), '');
  }
  return lines.join('\n');
}
