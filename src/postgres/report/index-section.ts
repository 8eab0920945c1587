import type { ExistingIndexFinding, HelpedQuery, IndexReport, MissingIndex } from '../adviser/report.js';
import {
  codeSpan,
  type Finding,
  listEvidence,
  type ReportSection,
  type ReportSources,
  writeBytes,
  writeSeconds,
} from './findings.js';

/** Missing indexes with this many times less cost matter more than others. */
const LARGE_FACTOR = 10;

/** The indexes: those that the adviser misses, and those that the catalogue shows. Invalid ones are maintenance. */
export const indexSection: ReportSection = {
  name: 'indexes',
  find({ missingIndexes, existingIndexes: { value: existing } }) {
    if (!existing) return missingFindings(missingIndexes);
    const { duplicate, redundant, unused, foreignKeys, countedSince } = existing;
    return [
      ...missingFindings(missingIndexes),
      ...existingFinding({
        id: 'duplicate-indexes',
        title: 'Indexes exist twice',
        indexes: duplicate,
        reason: ({ coveredBy }) => `the same as ${codeSpan(coveredBy)}`,
        action: 'Each write maintains both. Drop one of them',
      }),
      ...existingFinding({
        id: 'redundant-indexes',
        title: 'Longer indexes serve the queries of shorter ones',
        indexes: redundant,
        reason: ({ coveredBy }) => `its keys are the first ones of ${codeSpan(coveredBy)}`,
        action: 'Plan its queries without it, then drop it',
      }),
      ...existingFinding({
        id: 'unused-indexes',
        title: 'Indexes are not used',
        indexes: unused,
        reason: () =>
          countedSince === null
            ? 'no scan'
            : `no scan since ${new Date(countedSince).toISOString().slice(0, 10)}`,
        action: 'Look at replicas, which count for themselves, and at monthly jobs. Then drop them',
      }),
      ...(foreignKeys.length === 0 ? [] : [foreignKeyFinding(foreignKeys)]),
    ];
  },
};

function missingFindings(report: ReportSources['missingIndexes']): Finding[] {
  if (!report || report.missing.length === 0) return [];
  const age = writeSeconds(Math.max((Date.now() - report.at) / 1000, 1));
  const isLarge = report.missing.some(({ queries }) =>
    queries.some(({ costBefore, costAfter }) => costBefore >= costAfter * LARGE_FACTOR),
  );
  return [
    {
      id: 'missing-indexes',
      level: isLarge ? 'warning' : 'notice',
      title: 'Indexes are missing',
      evidence: listEvidence(report.missing, describeMissing),
      action: `Build them at a quiet time: \`POST /indexes/optimize\` of the performance API, or these statements. They were computed ${age} ago.`,
    },
  ];
}

function describeMissing({
  ddl,
  level,
  bytes,
  tableRows,
  writesPerHour,
  queries,
  caveats,
}: MissingIndex): string {
  const [query] = queries;
  const others = queries.length > 1 ? `, and ${queries.length - 1} more` : '';
  const facts = [
    `${codeSpan(ddl)} (${level}${bytes === null ? '' : `, about ${writeBytes(bytes)}`}, for ${tableRows} rows)`,
    ...(query ? [`${gainOf(query)} for ${query.calls} calls of ${codeSpan(query.text)}${others}`] : []),
    ...(writesPerHour > 0 ? [`${writesPerHour} writes an hour become slower`] : []),
  ];
  return `${facts.join('; ')}.${caveats.length > 0 ? ` ${caveats.join(' ')}` : ''}`;
}

function gainOf({ costBefore, costAfter, buffersBefore, buffersAfter }: HelpedQuery): string {
  const cost = `cost ${writeCost(costBefore)} before, ${writeCost(costAfter)} with it`;
  if (buffersBefore === null) return cost;
  const after = buffersAfter === null ? '' : `, ${buffersAfter} with it`;
  return `${cost}, ${buffersBefore} pages before${after}`;
}

function writeCost(cost: number): string {
  return cost < 10 ? cost.toFixed(1) : String(Math.round(cost));
}

interface ExistingKind {
  readonly id: string;
  readonly title: string;
  readonly indexes: readonly ExistingIndexFinding[];
  readonly reason: (index: ExistingIndexFinding) => string;
  readonly action: string;
}

function existingFinding({ id, title, indexes, reason, action }: ExistingKind): Finding[] {
  const [first] = indexes;
  if (!first) return [];
  const bytes = indexes.reduce((sum, index) => sum + index.bytes, 0);
  const name = `${quoted(first.schema)}.${quoted(first.name)}`;
  return [
    {
      id,
      level: 'notice',
      title,
      evidence: listEvidence(
        indexes,
        (index) =>
          `${codeSpan(index.name)} on ${codeSpan(`${index.schema}.${index.table}`)}, ${writeBytes(index.bytes)}, ${index.scans} scans: ${reason(index)}.`,
      ),
      action: `${action}: ${codeSpan(`DROP INDEX CONCURRENTLY ${name}`)}. Together they have ${writeBytes(bytes)}.`,
    },
  ];
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function foreignKeyFinding(foreignKeys: IndexReport['foreignKeys']): Finding {
  return {
    id: 'unindexed-foreign-keys',
    level: 'notice',
    title: 'Foreign keys have no index',
    evidence: listEvidence(
      foreignKeys,
      ({ schema, table, name, columns, target, tableRows, ddl }) =>
        `${codeSpan(name)} on ${codeSpan(`${schema}.${table}`)} (${columns.map(codeSpan).join(', ')}), ${tableRows} rows, to ${codeSpan(target)}: ${codeSpan(ddl)}.`,
    ),
    action:
      'Build an index where rows of the other table are deleted, or their keys change: each such row reads this table whole.',
  };
}
