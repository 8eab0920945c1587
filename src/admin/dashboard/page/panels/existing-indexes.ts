import type { ExistingIndexFinding, IndexReport } from '../../../../postgres/adviser/report.js';
import { NOTHING, showBytes, showCount } from '../format.js';

const MOST_ROWS = 30;

/** The findings about existing indexes and foreign keys, as rows of a table. */
export function existingRows({
  duplicate,
  redundant,
  unused,
  invalid,
  foreignKeys,
}: IndexReport): (readonly string[])[] {
  const rows = [
    ...invalid.map((index) => rowOf('invalid', index, 'a build has failed; no query uses it')),
    ...duplicate.map((index) => rowOf('duplicate', index, `equal to the index ${index.coveredBy}`)),
    ...redundant.map((index) =>
      rowOf('redundant', index, `the index ${index.coveredBy} begins with its columns`),
    ),
    ...unused.map((index) => rowOf('unused', index, `${showCount(index.scans)} scans`)),
    ...foreignKeys.map(({ name, schema, table, columns, target, caveats }) => [
      `foreign key ${schema}.${table}.${name}`,
      `${table} (${columns.join(', ')}) → ${target}`,
      'no index',
      whyOf('deletions in the other table read this one in full', caveats),
      NOTHING,
    ]),
  ];
  return rows.slice(0, MOST_ROWS);
}

function rowOf(finding: string, index: ExistingIndexFinding, why: string): string[] {
  const { schema, name, definition, bytes, caveats } = index;
  return [`${finding} ${schema}.${name}`, definition, finding, whyOf(why, caveats), showBytes(bytes)];
}

function whyOf(why: string, caveats: readonly string[]): string {
  return [`${why}.`, ...caveats].join(' ');
}
