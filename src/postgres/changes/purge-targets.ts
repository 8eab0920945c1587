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

/** The selectors to purge for records of the outbox: each tag once, or `all` of a table. */
export function selectorsOf(records: readonly ChangeRecord[], tables: MappedTables): readonly Selector[] {
  const tagsByTable = new Map<MappedTable, Set<string> | 'all'>();
  for (const { source, rows } of records) {
    const table = tables.get(source);
    if (!table) continue;
    const tags = tagsByTable.get(table) ?? new Set();
    if (tags === 'all') continue;
    const isComplete = rows !== null && addTags(tags, rows, table, source);
    tagsByTable.set(table, isComplete ? tags : 'all');
  }
  return reduceSelectors(
    [...tagsByTable].flatMap(([table, tags]) =>
      tags === 'all' ? table.all : [...tags].map((tag) => ({ tag })),
    ),
  );
}

/** @returns false if the tags of a row are not known, so that `all` has to be purged. */
function addTags(
  tags: Set<string>,
  json: string,
  { columns, tags: tagsOf }: MappedTable,
  source: string,
): boolean {
  if (!tagsOf) return false;
  try {
    for (const row of parseRows(json)) {
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

function reduceSelectors(selectors: readonly Selector[]): readonly Selector[] {
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
