import type { QualifiedName } from '../indexes/definition.js';
import type { Catalogue, CatalogueTable } from './catalogue.js';
import {
  columnsOf,
  conjunctsOf,
  type Expression,
  keyText,
  printedText,
  withoutAliases,
  withoutCasts,
} from './expression.js';

/** Something that can be the key of an index: a column, or an expression of columns of one table. */
export interface IndexedPart {
  readonly column?: string;
  readonly expression?: string;
}

/** A condition on one table, as an index can serve it. */
export interface Condition {
  readonly kind:
    | 'equal'
    | 'in'
    | 'range'
    | 'null'
    | 'prefix'
    | 'row'
    | 'or'
    | 'boolean'
    | 'gin'
    | 'gist'
    | 'other';
  readonly keys: readonly IndexedPart[];
  /** The other side comes from another table. */
  readonly isJoin: boolean;
  /** Of an `or`: the conditions of each arm. */
  readonly arms?: readonly (readonly Condition[])[];
  /** Of `gin` and `gist`: the operator class. Default: the one of the type. */
  readonly opclass?: QualifiedName;
  /** As the server prints it, without the alias. */
  readonly text: string;
  readonly expression: Expression;
}

/** The table that conditions are read for. */
export interface ConditionContext {
  readonly catalogue: Catalogue;
  readonly table: CatalogueTable;
  readonly alias: string;
  /** Whether an expression may be the key of an index. */
  isIndexable(expression: Expression): boolean;
}

const RANGES = new Set(['<', '<=', '>', '>=']);

/** Operators of patterns that trigrams serve. */
const PATTERNS = new Set(['~~', '~~*', '~', '~*', '%']);

const JSON_OPERATORS = new Set(['@>', '?', '?|', '?&', '@?', '@@']);

/** Reads a condition; `undefined` if no index of the table can serve it, and no predicate can name it. */
export function readCondition(expression: Expression, context: ConditionContext): Condition {
  const read = readKind(expression, context);
  return { isJoin: false, keys: [], kind: 'other', ...read, text: withoutAliases(expression), expression };
}

type Kind = Partial<Pick<Condition, 'kind' | 'keys' | 'isJoin' | 'arms' | 'opclass'>>;

function readKind(expression: Expression, context: ConditionContext): Kind {
  const [left, right] = expression.parts;
  switch (expression.kind) {
    case 'column':
    case 'not':
      return readBoolean(expression, context);
    case 'test':
      return readTest(expression, context);
    case 'or':
      return readOr(expression, context);
    case 'any': {
      const key = expression.name === '=' ? keyPart(left!, context) : undefined;
      return key && !names(right!, context) ? { kind: 'in', keys: [key], isJoin: isOfOthers(right!) } : {};
    }
    case 'call':
      return expression.name === 'starts_with' && left && right
        ? readOperator('^@', left, right, context)
        : {};
    case 'operator':
      return left && right ? readOperator(expression.name, left, right, context) : {};
    default:
      return {};
  }
}

function readOperator(
  operator: string,
  left: Expression,
  right: Expression,
  context: ConditionContext,
): Kind {
  if (left.kind === 'row' && right.kind === 'row') return readRowComparison(operator, left, right, context);
  const isTurned = !names(left, context) && names(right, context);
  const [own, other] = isTurned ? [right, left] : [left, right];
  if (names(other, context)) return {};
  const isJoin = isOfOthers(other);
  if (operator === '=' || RANGES.has(operator)) {
    const key = keyPart(own, context);
    return key ? { kind: operator === '=' ? 'equal' : 'range', keys: [key], isJoin } : {};
  }
  const placed = readPlaces(isTurned ? COMMUTATORS.get(operator) : operator, own, context);
  if (placed || isTurned || isJoin) return placed ? { ...placed, isJoin } : {};
  return readTextPattern(operator, own, other, context) ?? readContains(operator, own, context);
}

/** Operators of ranges, shapes and networks, as they read from the other side. */
const COMMUTATORS = new Map([
  ['&&', '&&'],
  ['@>', '<@'],
  ['<@', '@>'],
  ['-|-', '-|-'],
  ['<<', '>>'],
  ['>>', '<<'],
  ['<<=', '>>='],
  ['>>=', '<<='],
]);

const SHAPES = /^(?:point|box|polygon|circle)$/;
const NETWORKS = /^(?:inet|cidr)$/;

/** Ranges, shapes and networks that meet or contain others: GiST finds them. */
function readPlaces(
  operator: string | undefined,
  own: Expression,
  context: ConditionContext,
): Kind | undefined {
  if (operator === undefined || !COMMUTATORS.has(operator)) return undefined;
  const key = keyPart(own, context, false);
  const column =
    key?.column === undefined ? undefined : context.catalogue.columnNamed(context.table.oid, key.column);
  const type = typeOf(own, context) ?? '';
  if (!key) return undefined;
  // The server turns it into two limits, which a B-tree serves.
  if (NETWORKS.test(type) && operator.startsWith('<<')) return { kind: 'range', keys: [key] };
  if (NETWORKS.test(type))
    return { kind: 'gist', keys: [key], opclass: { schema: 'pg_catalog', name: 'inet_ops' } };
  const isRange = column ? column.isRange : /range$/.test(type) || isRangeCall(own);
  return isRange || SHAPES.test(type) ? { kind: 'gist', keys: [key] } : undefined;
}

/** `tstzrange(starts_at, ends_at)` of two columns. */
function isRangeCall({ kind, name }: Expression): boolean {
  return kind === 'call' && /^(?:int4|int8|num|ts|tstz|date)(?:multi)?range$/.test(name);
}

/** `(a, b) < (1, 2)`, as pages after a key are written. */
function readRowComparison(
  operator: string,
  left: Expression,
  right: Expression,
  context: ConditionContext,
): Kind {
  const [own, other] = names(left, context) ? [left, right] : [right, left];
  if (!RANGES.has(operator) || other.parts.some((part) => names(part, context))) return {};
  const keys = own.parts.map((part) => keyPart(part, context));
  return keys.every((key) => key !== undefined)
    ? { kind: 'row', keys: keys as IndexedPart[], isJoin: isOfOthers(other) }
    : {};
}

function readTextPattern(
  operator: string,
  own: Expression,
  other: Expression,
  context: ConditionContext,
): Kind | undefined {
  // Before PostgreSQL 15, SP-GiST alone knew it.
  if (operator === '^@' && context.catalogue.version < 150_000) return {};
  if (operator === '^@') {
    const key = keyPart(own, context);
    return key && { kind: 'prefix', keys: [key] };
  }
  if (!PATTERNS.has(operator)) return undefined;
  const key = keyPart(own, context);
  if (!key || !isText(own, context)) return {};
  const pattern = /^'((?:[^']|'')*)'/.exec(printedText(withoutCasts(other)))?.[1];
  // A backslash takes its meaning from the character after it.
  const isPrefix = operator === '~~' && pattern !== undefined && /^[^%_\\]{2,}%$/.test(pattern);
  if (isPrefix || (operator === '~' && pattern !== undefined && /^\^[\w ]{2,}(?:\.\*)?$/.test(pattern)))
    return { kind: 'prefix', keys: [key] };
  const schema = context.catalogue.extensions.get('pg_trgm');
  // Without three letters in a row there is no trigram.
  const hasTrigram = operator === '%' || (pattern !== undefined && /[^%_\\\W]{3}/u.test(pattern));
  if (schema === undefined || !hasTrigram) return {};
  return { kind: 'gin', keys: [key], opclass: { schema, name: 'gin_trgm_ops' } };
}

function readContains(operator: string, own: Expression, context: ConditionContext): Kind {
  const type = typeOf(own, context);
  const key = keyPart(own, context, false);
  if (!key) return {};
  const gin = (name: string): Kind => ({
    kind: 'gin',
    keys: [key],
    opclass: { schema: 'pg_catalog', name },
  });
  if (type === 'jsonb' && JSON_OPERATORS.has(operator))
    return gin(/^\?/.test(operator) ? 'jsonb_ops' : 'jsonb_path_ops');
  if (type === 'tsvector' && operator === '@@') return gin('tsvector_ops');
  if (type?.endsWith('[]') && (operator === '@>' || operator === '&&')) return gin('array_ops');
  return {};
}

function readBoolean(expression: Expression, context: ConditionContext): Kind {
  const column = expression.kind === 'not' ? expression.parts[0]! : expression;
  const isOwn = column.kind === 'column' && column.relation === context.alias;
  return isOwn && typeOf(column, context) === 'boolean'
    ? { kind: 'boolean', keys: [{ column: column.name }] }
    : {};
}

function readTest({ name, parts: [of] }: Expression, context: ConditionContext): Kind {
  const key = keyPart(of!, context);
  if (key?.column === undefined) return {};
  // A column without nulls has one only where an outer join found no row.
  const column = context.catalogue.columnNamed(context.table.oid, key.column);
  if (name === 'null') return column?.isNotNull ? {} : { kind: 'null', keys: [key] };
  return /^(?:not )?(?:true|false)$/.test(name) ? { kind: 'boolean', keys: [key] } : {};
}

function readOr({ parts }: Expression, context: ConditionContext): Kind {
  const arms = parts.map((part) => conjunctsOf(part).map((each) => readCondition(each, context)));
  const isServed = (arm: readonly Condition[]) =>
    arm.some(({ kind }) => kind !== 'other' && kind !== 'or' && kind !== 'boolean');
  const keys = arms.flat().flatMap((condition) => condition.keys);
  return arms.every(isServed) ? { kind: 'or', arms, keys } : {};
}

/** The key that an index needs for one side of a condition. */
function keyPart(
  side: Expression,
  { alias, catalogue, table, isIndexable }: ConditionContext,
  mustSort = true,
): IndexedPart | undefined {
  const columns = columnsOf(side);
  if (columns.length === 0 || columns.some(({ relation }) => relation !== alias)) return undefined;
  const inner = withoutCasts(side);
  if (inner.kind === 'column' && (side === inner || isRenamed(side, inner, catalogue, table))) {
    const column = catalogue.columnNamed(table.oid, inner.name);
    return column && (column.isSortable || !mustSort) ? { column: column.name } : undefined;
  }
  return isIndexable(side) ? { expression: keyText(side) } : undefined;
}

/** `(name)::text` of a varchar is the column itself, and so is a column of a domain as the type below it. */
function isRenamed(
  side: Expression,
  column: Expression,
  catalogue: Catalogue,
  table: CatalogueTable,
): boolean {
  const type = catalogue.columnNamed(table.oid, column.name)?.type;
  const isSame = side.name === type || (side.name === 'text' && type === 'character varying');
  return isSame && side.kind === 'cast' && side.parts[0] === column;
}

function typeOf(side: Expression, { catalogue, table }: ConditionContext): string | undefined {
  if (side.kind === 'column') return catalogue.columnNamed(table.oid, side.name)?.type;
  if (side.kind === 'cast') return side.name;
  if (side.kind === 'call' && side.name === 'to_tsvector') return 'tsvector';
  if (side.kind === 'operator' && /^(?:->|#>)$/.test(side.name)) return 'jsonb';
  return undefined;
}

/** Whether patterns compare a side as text. */
function isText(side: Expression, context: ConditionContext): boolean {
  const type = typeOf(side, context);
  return type === undefined || /^(?:text|character varying)$/.test(type);
}

function names(expression: Expression, { alias }: ConditionContext): boolean {
  return columnsOf(expression).some(({ relation }) => relation === alias);
}

function isOfOthers(expression: Expression): boolean {
  return columnsOf(expression).length > 0;
}
