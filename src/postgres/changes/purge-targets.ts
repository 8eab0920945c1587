import { unawaited } from '../../runtime/guard.js';
import { reportFault } from '../../runtime/report-fault.js';
import type { Selector } from '../../store/invalidation/selector.js';
import type { ChangeRecord } from './consumer.js';
import type { ChangedRow, MappedTable } from './mapping.js';

/** More tags of one table become its `all` selector, so that a bulk write adds few records to the invalidation log. */
const MOST_TAGS = 1000;

/** Tables by their qualified name. */
export type MappedTables = ReadonlyMap<string, MappedTable>;

/** The selectors that cover every table, each once. */
export function everythingOf(tables: Iterable<MappedTable>): readonly Selector[] {
  return reduceSelectors([...tables].flatMap(({ all }) => all));
}

/** The purges that follow from the records of a table. */
export interface TableTargets {
  /** The qualified name. */
  readonly source: string;
  readonly records: number;
  readonly rows: number;
  /** Each tag once, or `all` of the table. */
  readonly selectors: readonly Selector[];
}

interface Collected {
  readonly table: MappedTable;
  /** `all`: those of a row are not known. */
  tags: Set<string> | 'all';
  records: number;
  rows: number;
}

/** The purges that follow from records of the outbox, by table. */
export function collectTargets(
  records: readonly ChangeRecord[],
  tables: MappedTables,
): readonly TableTargets[] {
  const collected = new Map<string, Collected>();
  for (const { source, rows: json } of records) {
    const table = tables.get(source);
    if (!table) continue;
    const found = collected.get(source) ?? { table, tags: new Set(), records: 0, rows: 0 };
    collected.set(source, found);
    found.records++;
    if (found.tags === 'all') continue;
    const rows = json === null ? undefined : readChangedRows(json, source);
    found.rows += rows?.length ?? 0;
    if (!rows || !addTags(found.tags, rows, table, source)) found.tags = 'all';
  }
  return [...collected].map(([source, { table, tags, records, rows }]) => ({
    source,
    records,
    rows,
    selectors: tags === 'all' ? table.all : [...tags].map((tag) => ({ tag })),
  }));
}

/** @returns `undefined` for rows that cannot be read. */
function readChangedRows(json: string, source: string): readonly ChangedRow[] | undefined {
  try {
    return parseRows(json);
  } catch (error) {
    reportFault(`purgeOnChange: rows of ${source}`, error);
    return undefined;
  }
}

/** @returns false if the tags of a row are not known, so that `all` has to be purged. */
function addTags(
  tags: Set<string>,
  rows: readonly ChangedRow[],
  { columns, tags: tagsOf }: MappedTable,
  source: string,
): boolean {
  if (!tagsOf) return false;
  try {
    for (const row of rows) {
      // Another version of the app may have installed other columns.
      if (columns.some((column) => !Object.hasOwn(row, column))) return false;
      const made: unknown = tagsOf(row);
      for (const tag of Array.isArray(made) ? (made as readonly unknown[]) : [made]) {
        // A promise that rejects later must not end the process.
        if (typeof tag === 'object') void unawaited(tag);
        if (typeof tag !== 'string' || tag === '')
          throw new TypeError('`tags` must return strings that are not empty');
        tags.add(tag);
      }
      if (tags.size > MOST_TAGS) return false;
    }
    return true;
  } catch (error) {
    reportFault(`purgeOnChange: tags of ${source}`, error);
    return false;
  }
}

/** Each selector once; everything in place of all others. */
export function reduceSelectors(selectors: readonly Selector[]): readonly Selector[] {
  const everything = selectors.find((selector) => 'all' in selector);
  if (everything) return [everything];
  return [...new Map(selectors.map((selector) => [JSON.stringify(selector), selector])).values()];
}

/** Numbers that JavaScript cannot hold exactly become strings, as `pg` returns them. */
export function parseRows(json: string): readonly ChangedRow[] {
  const exact = json.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g, (token) =>
    token.startsWith('"') || String(Number(token)) === token ? token : `"${token}"`,
  );
  return JSON.parse(exact) as ChangedRow[];
}
