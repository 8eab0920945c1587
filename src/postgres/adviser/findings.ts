import { ddlOf, type IndexDefinition, idOf } from '../indexes/definition.js';
import type { Session } from '../sessions.js';
import { Catalogue, type ExistingIndex, type ForeignKey } from './catalogue.js';
import { noPlan, readOnly } from './explain.js';
import type { ExistingIndexes, ExistingIndexFinding, IndexReport, UnindexedForeignKey } from './report.js';

type Findings = Pick<IndexReport, 'duplicate' | 'redundant' | 'unused' | 'invalid' | 'foreignKeys'>;

/** Entries of each list. */
const MOST_LISTED = 100;

/** Smaller indexes cost little. Bytes. */
const LEAST_UNUSED_BYTES = 1024 * 1024;

/** A foreign key of a smaller table is checked fast without an index. */
const LEAST_FOREIGN_ROWS = 10_000;

/** Scans that are counted for a shorter time say little. Milliseconds. */
const ENOUGH_TIME = 14 * 24 * 3_600_000;

/** Reads the catalogue, and finds out what it shows. */
export async function readExistingIndexes(session: Session): Promise<ExistingIndexes> {
  const catalogue = await Catalogue.read(session);
  const { figures } = await findingsOf(session, catalogue);
  return { ...figures, countedSince: catalogue.countedSince };
}

/** Finds out what the catalogue alone shows. No index is dropped, and none is advised to be unique. */
export async function findingsOf(
  session: Session,
  catalogue: Catalogue,
): Promise<{ figures: Findings; definitions: readonly IndexDefinition[] }> {
  const building = await indexesInBuild(session);
  const indexes = catalogue.indexes.filter(({ isAttached, oid }) => !isAttached && !building.has(oid));
  const invalid = indexes.filter(({ isValid }) => !isValid);
  const valid = indexes.filter(({ isValid }) => isValid);
  const duplicate: ExistingIndexFinding[] = [];
  const redundant: ExistingIndexFinding[] = [];
  const named = new Set<number>();
  for (const index of valid) {
    const others = valid.filter(
      (other) => other.table === index.table && other !== index && !named.has(other.oid),
    );
    const same = isReplaceable(index) ? others.find((other) => isSame(index, other)) : undefined;
    const longer = isReplaceable(index) ? others.find((other) => isBeginning(index, other)) : undefined;
    if (!same && !longer) continue;
    named.add(index.oid);
    if (same) duplicate.push(finding(index, catalogue, same));
    else redundant.push(finding(index, catalogue, longer));
  }
  const unused = valid.filter((index) => isUnused(index, catalogue) && !named.has(index.oid));
  await catalogue.readColumns(
    session,
    catalogue.foreignKeys.map(({ table }) => table),
  );
  const foreignKeys = catalogue.foreignKeys.flatMap((key) => unindexed(key, catalogue));
  return {
    figures: {
      duplicate: duplicate.slice(0, MOST_LISTED),
      redundant: redundant.slice(0, MOST_LISTED),
      unused: largestFirst(unused).map((index) => unusedFinding(index, catalogue)),
      invalid: largestFirst(invalid).map((index) => invalidFinding(index, catalogue)),
      foreignKeys: foreignKeys.map(({ figures }) => figures).slice(0, MOST_LISTED),
    },
    definitions: foreignKeys.map(({ definition }) => definition).slice(0, MOST_LISTED),
  };
}

function largestFirst(indexes: readonly ExistingIndex[]): ExistingIndex[] {
  return [...indexes].sort((a, b) => b.bytes - a.bytes).slice(0, MOST_LISTED);
}

/** An index that is being built is not valid yet. */
async function indexesInBuild(session: Session): Promise<ReadonlySet<number>> {
  const read = () => session.query('SELECT index_relid::int8 AS oid FROM pg_stat_progress_create_index');
  const result = await readOnly(session, read).catch(noPlan);
  return new Set((result?.rows ?? []).map(({ oid }) => Number(oid)));
}

/** A rule for rows, or for replication, is more than a way to find them. */
function isReplaceable({ isUnique, isPrimary, hasConstraint, isReplicaIdentity }: ExistingIndex): boolean {
  return !isUnique && !isPrimary && !hasConstraint && !isReplicaIdentity;
}

function isSame(a: ExistingIndex, b: ExistingIndex): boolean {
  return (
    isAlike(a, b) && a.keyCount === b.keyCount && String(a.numbers) === String(b.numbers) && hasSameKeys(a, b)
  );
}

/** Whether the keys of an index are the first of another one, which stores its other columns as well. */
function isBeginning(short: ExistingIndex, long: ExistingIndex): boolean {
  const stored = short.numbers.slice(short.keyCount);
  return (
    short.method === 'btree' &&
    isAlike(short, long) &&
    short.expressions === null &&
    short.numbers.length <= long.numbers.length &&
    hasSameKeys(short, long) &&
    stored.every((number) => long.numbers.includes(number))
  );
}

function isAlike(a: ExistingIndex, b: ExistingIndex): boolean {
  return (
    a.method === b.method &&
    a.predicate === b.predicate &&
    (a.expressions === b.expressions || a.expressions === null)
  );
}

function hasSameKeys(short: ExistingIndex, long: ExistingIndex): boolean {
  const classesOf = ({ classes }: ExistingIndex) => classes.split(' / ').map((list) => list.split(' '));
  const [shortClasses, longClasses] = [classesOf(short), classesOf(long)];
  return Array.from({ length: short.keyCount }, (_, at) => at).every(
    (at) =>
      at < long.keyCount &&
      short.numbers[at] === long.numbers[at] &&
      short.options[at] === long.options[at] &&
      shortClasses.every((list, kind) => list[at] === longClasses[kind]?.[at]),
  );
}

function isUnused(index: ExistingIndex, catalogue: Catalogue): boolean {
  const { scans, bytes, table, numbers } = index;
  const servesForeignKey = catalogue.foreignKeys.some(
    (key) => key.table === table && key.columns.every((column) => numbers.includes(column)),
  );
  return scans === 0 && bytes >= LEAST_UNUSED_BYTES && isReplaceable(index) && !servesForeignKey;
}

function finding(
  index: ExistingIndex,
  catalogue: Catalogue,
  other: ExistingIndex | undefined,
): ExistingIndexFinding {
  const { schema, name, definition, bytes, scans } = index;
  const table = catalogue.tables.get(index.table)?.name ?? '';
  const caveats = other
    ? [
        'Look at the plans of replicas first: they count their scans apart.',
        'A hint or a statistic may name the index.',
      ]
    : [];
  return { schema, table, name, definition, bytes, scans, coveredBy: other?.name ?? null, caveats };
}

function unusedFinding(index: ExistingIndex, catalogue: Catalogue): ExistingIndexFinding {
  const { countedSince } = catalogue;
  const caveats = [
    'Replicas count their scans apart: look there as well.',
    'A job that runs once a month may need it.',
  ];
  if (countedSince === null || Date.now() - countedSince < ENOUGH_TIME)
    caveats.unshift('Scans have been counted for less than 14 days.');
  return { ...finding(index, catalogue, undefined), caveats };
}

function invalidFinding(index: ExistingIndex, catalogue: Catalogue): ExistingIndexFinding {
  const caveats = ['No query uses it. If it is ready, each write still costs: build it again, or drop it.'];
  return { ...finding(index, catalogue, undefined), caveats };
}

function unindexed(
  { name, table: oid, columns, target }: ForeignKey,
  catalogue: Catalogue,
): { figures: UnindexedForeignKey; definition: IndexDefinition }[] {
  const table = catalogue.tables.get(oid);
  if (!table || table.rows < LEAST_FOREIGN_ROWS || table.root !== oid) return [];
  const isServed = catalogue.indexesOf(oid).some(({ isValid, predicate, numbers, keyCount }) => {
    const first = numbers.slice(0, Math.min(columns.length, keyCount));
    return isValid && predicate === null && columns.every((column) => first.includes(column));
  });
  const names = columns.map(
    (number) => catalogue.columnsOfTable(oid).find((column) => column.number === number)?.name,
  );
  if (isServed || names.includes(undefined)) return [];
  const definition: IndexDefinition = {
    schema: table.schema,
    table: table.name,
    method: 'btree',
    keys: (names as string[]).map((column) => ({ column })),
    include: [],
  };
  const figures: UnindexedForeignKey = {
    schema: table.schema,
    table: table.name,
    name,
    columns: names as string[],
    target: catalogue.tables.get(target)?.name ?? '',
    tableRows: table.rows,
    ddl: ddlOf(definition, { concurrently: true }),
    id: idOf(definition),
    caveats: [
      'It matters where rows of the other table are deleted, or their keys change: each such row reads this table whole.',
    ],
  };
  return [{ figures, definition }];
}
