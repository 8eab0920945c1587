import { type IndexDefinition, type IndexKey, idOf } from '../indexes/definition.js';
import type { Catalogue, CatalogueColumn, CatalogueTable, ExistingIndex } from './catalogue.js';
import { type Condition, type IndexedPart, readCondition } from './conditions.js';
import { type Expression, keyText } from './expression.js';
import type { OrderKey } from './plan.js';
import type { ScannedTable } from './scans.js';

/** Indexes that could help one scan: one, or one for each arm of an OR. */
export interface Proposal {
  readonly table: CatalogueTable;
  /** Of the scan: in a self join, another scan of the table could use the index as well. */
  readonly alias: string;
  readonly definitions: readonly IndexDefinition[];
  /** Between proposals of much the same gain, the simpler one is chosen. */
  readonly complexity: number;
  /** The condition that a GIN or GiST index serves, with the alias: HypoPG cannot try those. */
  readonly sampled?: Expression;
}

/** Conditions whose constants the statement itself has, so that a partial index serves every call. */
export type OwnConditions = ReadonlySet<string>;

const MOST_KEYS = 4;

/** Values of a column that a predicate may name one of. */
const MOST_DISTINCT = 50;

const MOST_INCLUDED = 2;

/** Of stored columns together. Bytes. */
const MOST_INCLUDED_BYTES = 16;

/** Of one scan; further ones are not tried. */
const MOST_PROPOSALS = 80;

/** The parts of a scan that indexes could serve. */
interface Wanted {
  readonly scanned: ScannedTable;
  readonly equal: readonly Condition[];
  readonly joins: readonly (readonly Condition[])[];
  readonly in: readonly Condition[];
  readonly ranges: readonly Condition[];
  readonly orders: readonly (readonly IndexKey[])[];
  readonly partial: readonly Condition[];
  readonly catalogue: Catalogue;
}

/** The indexes that could help a scan. */
export function proposalsFor(
  scanned: ScannedTable,
  catalogue: Catalogue,
  own: OwnConditions,
  isIndexable: (expression: Expression) => boolean,
): Proposal[] {
  const { table, alias } = scanned;
  const conditions = scanned.conditions.map((expression) =>
    readCondition(expression, { catalogue, table, alias, isIndexable }),
  );
  const wanted = wantedOf(scanned, conditions, catalogue, own, isIndexable);
  const found = new Map<string, Proposal>();
  const add = (proposal: Proposal) => {
    const fresh = proposal.definitions.filter((definition) => !isCovered(definition, table, catalogue));
    // The other arms of an OR may have their index already.
    if (fresh.length === 0 || found.size >= MOST_PROPOSALS) return;
    const key = fresh.map(idOf).sort().join();
    if (!found.has(key)) found.set(key, { ...proposal, definitions: fresh });
  };
  for (const keys of keyLists(wanted)) for (const proposal of formsOf(keys, wanted)) add(proposal);
  for (const condition of conditions) for (const proposal of special(condition, wanted)) add(proposal);
  return [...found.values()];
}

function wantedOf(
  scanned: ScannedTable,
  conditions: readonly Condition[],
  catalogue: Catalogue,
  own: OwnConditions,
  isIndexable: (expression: Expression) => boolean,
): Wanted {
  const distinctOf = ({ keys: [key] }: Condition) => {
    const column = columnOfKey(key, scanned.table, catalogue);
    return column?.distinct ?? 0;
  };
  const byDistinct = (a: Condition, b: Condition) => distinctOf(b) - distinctOf(a);
  const ofKind = (...kinds: Condition['kind'][]) =>
    conditions.filter(({ kind, isJoin }) => !isJoin && kinds.includes(kind)).sort(byDistinct);
  const joined = conditions.filter(({ kind, isJoin }) => isJoin && kind === 'equal');
  const ranges = [...ofKind('range'), ...conditions.filter(({ kind, isJoin }) => isJoin && kind === 'range')];
  return {
    scanned,
    // NULL is one value, however many others a column has. Updates often set it, as `read_at`, so that it comes last.
    equal: [...ofKind('equal'), ...ofKind('null')],
    // Each join column alone, and all together.
    joins:
      joined.length > 1
        ? [...joined.map((each) => [each]), [...joined].sort(byDistinct)]
        : joined.map((each) => [each]),
    in: ofKind('in'),
    ranges,
    orders: scanned.orders
      .map((order) => keysOfOrder(order, scanned, isIndexable))
      .filter(({ length }) => length > 0),
    partial: conditions.filter((condition) => canBePredicate(condition, scanned.table, catalogue, own)),
    catalogue,
  };
}

/** The lists of keys to try: columns of equality first, then one range, or the order. */
function keyLists({ equal, joins, in: lists, ranges, orders }: Wanted): IndexKey[][] {
  const keys: IndexKey[][] = [];
  const keysOf = (conditions: readonly Condition[]) => conditions.flatMap((condition) => condition.keys);
  const firsts = [
    keysOf(equal),
    ...equal.map((each) => keysOf([each])),
    keysOf(equal.slice(0, 2)),
    keysOf([...equal, ...lists]),
    ...lists.map((each) => keysOf([each])),
    ...joins.flatMap((join) => [
      keysOf(join),
      keysOf([...equal, ...join].sort(nullLast)),
      keysOf([...join, ...equal]),
    ]),
    ...joins.flatMap((join) => equal.map((each) => keysOf([...join, each]))),
    [],
  ];
  for (const first of firsts) {
    if (first.length > 0) keys.push(first);
    for (const order of orders) keys.push([...first, ...order], [...first, ...order.slice(0, 1)]);
    for (const range of ranges) keys.push([...first, ...range.keys]);
    for (const order of orders)
      for (const range of ranges) if (first.length < 2) keys.push([...first, ...order, ...range.keys]);
  }
  return keys.map((list) => distinctKeys(list).slice(0, MOST_KEYS)).filter(({ length }) => length > 0);
}

function nullLast(a: Condition, b: Condition): number {
  return Number(a.kind === 'null') - Number(b.kind === 'null');
}

/** A list of keys as it is, partial, and with stored columns. */
function* formsOf(keys: readonly IndexKey[], wanted: Wanted): Generator<Proposal> {
  const { scanned, partial } = wanted;
  const plain = definitionOf(scanned.table, keys);
  yield proposal(scanned, [plain]);
  const include = includable(keys, wanted);
  if (include.length > 0) yield proposal(scanned, [{ ...plain, include }]);
  const predicates =
    partial.length > 1 ? [...partial.map((each) => [each]), partial] : partial.map((each) => [each]);
  for (const predicate of predicates) {
    const named = new Set(predicate.flatMap((condition) => condition.keys.map(({ column }) => column)));
    const rest = keys.filter(({ column }) => column === undefined || !named.has(column));
    const [first] = keys;
    const where = predicate.map(({ text }) => text).join(' AND ');
    if (rest.length === 0 && wantsOtherKeys(named, wanted)) continue;
    const partialKeys = rest.length > 0 ? rest : (primaryKey(wanted) ?? [first!]);
    yield proposal(scanned, [{ ...plain, keys: partialKeys, where }]);
  }
}

/** Indexes of forms of their own: patterns, pages, arms of OR, GIN, and a predicate alone. */
function* special(condition: Condition, wanted: Wanted): Generator<Proposal> {
  const { scanned, equal, catalogue, orders } = wanted;
  const { table } = scanned;
  const { kind, keys } = condition;
  const equalKeys = equal.flatMap((each) => each.keys).filter(({ column }) => column !== keys[0]?.column);
  if (kind === 'row') {
    for (const order of [keys, ...orders])
      yield proposal(scanned, [
        definitionOf(table, distinctKeys([...equalKeys, ...order]).slice(0, MOST_KEYS)),
      ]);
  }
  if (kind === 'prefix') {
    const key = patternKey(keys[0]!, table, catalogue);
    yield proposal(scanned, [definitionOf(table, [key])]);
    if (equalKeys.length > 0) yield proposal(scanned, [definitionOf(table, [...equalKeys, key])]);
  }
  if (kind === 'gin' || kind === 'gist')
    yield { ...proposal(scanned, [specialIndexOf(table, condition, kind)]), sampled: condition.expression };
  if (kind === 'or') yield* orProposals(condition, wanted);
  const named = new Set([keys[0]?.column, ...condition.expression.parts.map(({ name }) => name)]);
  if (wanted.partial.includes(condition) && !wantsOtherKeys(named, wanted)) {
    const primary = primaryKey(wanted);
    if (primary) yield proposal(scanned, [{ ...definitionOf(table, primary), where: condition.text }]);
  }
}

/**
 * Whether a key of the scan itself can stand where the primary key only fills the place. The planner takes the rows of a
 * predicate for neighbours if the key follows the table, however far apart they lie.
 */
function wantsOtherKeys(
  named: ReadonlySet<string | undefined>,
  { equal, in: lists, ranges }: Wanted,
): boolean {
  return [...equal, ...lists, ...ranges].some(
    ({ isJoin, keys }) => !isJoin && keys.some(({ column }) => column === undefined || !named.has(column)),
  );
}

/** An index for each arm; a second try adds what is equal beside the OR. */
function* orProposals(
  { arms = [] }: Condition,
  { scanned, equal, catalogue, orders }: Wanted,
): Generator<Proposal> {
  const { table } = scanned;
  const armKeys = arms.map((arm) => {
    const found = ['equal', 'prefix', 'in', 'null', 'row', 'range'].map((kind) =>
      arm.filter((each) => each.kind === kind),
    );
    const [first = []] = found.filter(({ length }) => length > 0);
    const keys =
      first[0]?.kind === 'prefix'
        ? [patternKey(first[0].keys[0]!, table, catalogue)]
        : first.flatMap((each) => each.keys);
    const range = first[0]?.kind === 'equal' ? (arm.find(({ kind }) => kind === 'range')?.keys ?? []) : [];
    return distinctKeys([...keys, ...range]);
  });
  if (armKeys.some(({ length }) => length === 0)) return;
  const listOf = (first: readonly IndexKey[], last: readonly IndexKey[] = []) => {
    const definitions = armKeys.map((keys) =>
      definitionOf(table, distinctKeys([...first, ...keys, ...last]).slice(0, MOST_KEYS)),
    );
    return [...new Map(definitions.map((definition) => [idOf(definition), definition])).values()];
  };
  yield proposal(scanned, listOf([]));
  const equalKeys = equal.flatMap((each) => each.keys);
  if (equalKeys.length > 0) yield proposal(scanned, listOf(equalKeys));
  for (const order of orders)
    yield proposal(scanned, [
      definitionOf(table, distinctKeys([...equalKeys, ...order]).slice(0, MOST_KEYS)),
    ]);
}

function proposal({ table, alias }: ScannedTable, definitions: readonly IndexDefinition[]): Proposal {
  const complexity = definitions.reduce((sum, definition) => sum + complexityOf(definition), 0);
  return { table, alias, definitions, complexity };
}

function complexityOf({ keys, include, where, method }: IndexDefinition): number {
  const special = keys.filter(({ expression, opclass }) => expression ?? opclass).length;
  return (
    keys.length +
    special / 2 +
    include.length * 1.2 +
    (where === undefined ? 0 : 1.5) +
    (method === 'btree' ? 0 : 3)
  );
}

function definitionOf(table: CatalogueTable, keys: readonly IndexKey[]): IndexDefinition {
  return { schema: table.schema, table: table.name, method: 'btree', keys, include: [] };
}

function specialIndexOf(
  table: CatalogueTable,
  { keys: [key], opclass }: Condition,
  method: 'gin' | 'gist',
): IndexDefinition {
  const isDefault = opclass && /^(?:jsonb_ops|tsvector_ops|array_ops)$/.test(opclass.name);
  return {
    ...definitionOf(table, [{ ...key, ...(opclass && !isDefault && { opclass }) }]),
    method,
  };
}

/** Under most collations, a pattern needs an operator class that compares by bytes. */
export function patternKey(key: IndexedPart, table: CatalogueTable, catalogue: Catalogue): IndexKey {
  const column = columnOfKey(key, table, catalogue);
  const comparesBytes = column ? column.comparesBytes : false;
  return comparesBytes ? key : { ...key, opclass: { schema: 'pg_catalog', name: 'text_pattern_ops' } };
}

/** The keys of an order. If all of them go the same way, the index goes up, and is read backwards where needed. */
function keysOfOrder(
  order: readonly OrderKey[],
  { alias }: ScannedTable,
  isIndexable: (expression: Expression) => boolean,
): IndexKey[] {
  const keys: { key: IndexedPart; isDescending: boolean; nullsFirst: boolean }[] = [];
  for (const { expression, isDescending, nullsFirst } of order) {
    const isColumn = expression.kind === 'column' && expression.relation === alias;
    if (!isColumn && !(expression.kind !== 'column' && isIndexable(expression))) break;
    const key = isColumn ? { column: expression.name } : { expression: keyText(expression) };
    keys.push({ key, isDescending, nullsFirst });
  }
  // An order that goes down with each key is an index that goes up, read backwards.
  const turn = keys.every(({ isDescending, nullsFirst }) => isDescending && nullsFirst);
  return keys.map(({ key, isDescending, nullsFirst }) => ({
    ...key,
    order: isDescending !== turn ? 'desc' : 'asc',
    nulls: nullsFirst !== turn ? 'first' : 'last',
  }));
}

/** The first of the keys with the same column or expression. */
function distinctKeys(keys: readonly IndexKey[]): IndexKey[] {
  const found = new Map<string, IndexKey>();
  for (const key of keys) {
    const name = key.column === undefined ? `(${key.expression})` : key.column;
    if (!found.has(name)) found.set(name, key);
  }
  return [...found.values()];
}

/** Columns that would make a scan of the index alone possible. */
function includable(keys: readonly IndexKey[], { scanned: { columns, table }, catalogue }: Wanted): string[] {
  if (columns.has('*') || keys.some(({ expression }) => expression !== undefined)) return [];
  const missing = [...columns].filter((name) => !keys.some(({ column }) => column === name));
  const figures = missing.map((name) => catalogue.columnNamed(table.oid, name));
  if (missing.length > MOST_INCLUDED || figures.includes(undefined)) return [];
  const bytes = figures.reduce((sum, column) => sum + column!.width, 0);
  return bytes <= MOST_INCLUDED_BYTES ? missing.sort() : [];
}

/** Whether every call of the statement has this condition, with few values. */
function canBePredicate(
  condition: Condition,
  table: CatalogueTable,
  catalogue: Catalogue,
  own: OwnConditions,
): boolean {
  const { kind, keys, text, isJoin } = condition;
  if (isJoin || !own.has(text)) return false;
  if (kind === 'boolean' || kind === 'null') return true;
  if (/ IS NOT NULL\)$/.test(text) && condition.expression.parts[0]?.kind === 'column') return true;
  const column = keys[0]?.column ?? condition.expression.parts[0]?.name;
  const isComparison = kind === 'equal' || kind === 'in' || condition.expression.name === '<>';
  if (!isComparison || column === undefined) return false;
  const { distinct } = catalogue.columnNamed(table.oid, column) ?? {};
  return distinct !== null && distinct !== undefined && distinct > 0 && distinct <= MOST_DISTINCT;
}

function primaryKey({ scanned: { table }, catalogue }: Wanted): IndexKey[] | undefined {
  const primary = catalogue.indexesOf(table.oid).find(({ isPrimary }) => isPrimary);
  const columns = catalogue.columnsOfTable(table.oid);
  const keys = primary?.numbers.slice(0, primary.keyCount).map((number) => ({
    column: columns.find((column) => column.number === number)?.name ?? '',
  }));
  return keys?.every(({ column }) => column !== '') ? keys.slice(0, 1) : undefined;
}

function columnOfKey(
  key: IndexedPart | undefined,
  table: CatalogueTable,
  catalogue: Catalogue,
): CatalogueColumn | undefined {
  return key?.column === undefined ? undefined : catalogue.columnNamed(table.oid, key.column);
}

/** Whether a valid index begins with the same keys in the same order, and stores the same columns. */
function isCovered(definition: IndexDefinition, table: CatalogueTable, catalogue: Catalogue): boolean {
  const { keys, include, where, method } = definition;
  if (method !== 'btree' || where !== undefined) return false;
  const columns = catalogue.columnsOfTable(table.oid);
  const numberOf = (name: string) => columns.find((column) => column.name === name)?.number;
  return catalogue.indexesOf(table.oid).some((index: ExistingIndex) => {
    if (!index.isValid || index.method !== 'btree' || index.predicate !== null) return false;
    const covers = (key: IndexKey, at: number, isTurned: boolean) => {
      const goesDown = (key.order === 'desc') !== isTurned;
      const nullsFirst =
        (key.nulls === undefined ? key.order === 'desc' : key.nulls === 'first') !== isTurned;
      const option = (goesDown ? 1 : 0) + (nullsFirst ? 2 : 0);
      return (
        key.column !== undefined &&
        key.opclass === undefined &&
        at < index.keyCount &&
        index.numbers[at] === numberOf(key.column) &&
        index.options[at] === option
      );
    };
    const isPrefix = [false, true].some((isTurned) => keys.every((key, at) => covers(key, at, isTurned)));
    return isPrefix && include.every((name) => index.numbers.includes(numberOf(name) ?? -1));
  });
}
