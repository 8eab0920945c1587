import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { leaf, list, mapOf, resolve, section } from '../../options/schema.js';
import type { ValidationResult } from '../../options/validation-result.js';
import { readFunction, readName } from '../../options/validators.js';
import { compileSelectors, type Selector } from '../../store/invalidation/selector.js';

/**
 * The mapped columns of a row that was inserted, updated or deleted. An update gives two: the row before and after.
 * Values are those of JSON. Numbers that JavaScript cannot hold exactly, such as a long `bigint`, are strings.
 */
export type ChangedRow = Readonly<Record<string, unknown>>;

/** The purges that follow a change of a table. */
export interface TableChanges {
  /** Columns that `tags` reads, with their exact names. Default: none. */
  columns?: readonly string[] | undefined;
  /** Returns the tags to purge for a row. Default: each change purges `all`. */
  tags?: ((row: ChangedRow) => string | readonly string[]) | undefined;
  /**
   * Purged where tags cannot be computed: after a TRUNCATE, a change of more than 1,000 rows, or a gap in the changes.
   * It must cover every response that reads the table. Default: `{ all: true }`.
   */
  all?: Selector | readonly Selector[] | undefined;
}

/** Tables by name, as SQL reads it: `products`, `shop.products`, `'"Order Items"'`. */
export type ChangeMapping = Readonly<Record<string, TableChanges>>;

/** A resolved mapping of one table. */
export interface MappedTable {
  readonly columns: readonly string[];
  readonly tags: TableChanges['tags'];
  readonly all: readonly Selector[];
}

const EVERYTHING: Selector = { all: true };

const mappingSchema = mapOf<MappedTable>(
  readName,
  v.pipe(
    section(
      {
        columns: v.optional(list(leaf(readName), 'a list of names of columns'), []),
        tags: v.optional(leaf(readFunction<NonNullable<TableChanges['tags']>>())),
        all: v.optional(leaf<readonly Selector[]>(readSelectors), EVERYTHING),
      },
      ({ tags, columns }, report) => {
        if (tags !== undefined && !(Array.isArray(columns) && columns.length > 0))
          report('tags', 'needs `columns`: the columns that the function reads');
      },
    ),
    v.transform((table) => ({ ...table, columns: [...new Set(table.columns)] }) as MappedTable),
  ),
  'names of tables',
);

/** @throws HotpathError `HOTPATH_CONFIG_INVALID` with every problem. */
export function resolveMapping(mapping: ChangeMapping): Readonly<Record<string, MappedTable>> {
  return resolve(v.pipe(mappingSchema, notEmpty), mapping, 'purgeOnChange');
}

/** A text that is another one if other tags are purged, as far as the text of the functions tells. */
export function fingerprintMapping(mapping: Readonly<Record<string, MappedTable>>): string {
  const parts = Object.entries(mapping)
    .map(([key, { columns, tags, all }]) => JSON.stringify([key, columns.toSorted(), String(tags), all]))
    .sort();
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16);
}

const notEmpty = v.rawCheck<Readonly<Record<string, MappedTable>>>(({ dataset, addIssue }) => {
  if (dataset.typed && Object.keys(dataset.value).length === 0)
    addIssue({ message: 'expected at least one table', received: '{}' });
});

function readSelectors(input: unknown): ValidationResult<readonly Selector[]> {
  const selectors = Array.isArray(input) ? (input as Selector[]) : [input as Selector];
  try {
    for (const selector of selectors) compileSelectors(selector);
    if (selectors.length > 0) return { value: selectors };
  } catch {
    // The result below says what is accepted.
  }
  return { expected: "a selector such as { tag: 'products' }, or a list of selectors" };
}
