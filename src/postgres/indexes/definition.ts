import { createHash } from 'node:crypto';

/** A name of PostgreSQL with its schema. */
export interface QualifiedName {
  readonly schema: string;
  readonly name: string;
}

/** A key of an index: a column, or an expression. */
export interface IndexKey {
  /** Either the name of a column … */
  readonly column?: string;
  /** … or an expression as the server prints it, without the alias of a table. Never text of a request. */
  readonly expression?: string;
  /** Default: `'asc'`. */
  readonly order?: 'asc' | 'desc';
  /** Default: that of PostgreSQL, `'last'` for `asc` and `'first'` for `desc`. */
  readonly nulls?: 'first' | 'last';
  /** Default: the one of the type. */
  readonly opclass?: QualifiedName;
}

/** An index that could be built. Never unique: a unique index is a rule for rows, and no advice about speed. */
export interface IndexDefinition {
  readonly schema: string;
  readonly table: string;
  readonly method: 'btree' | 'gin' | 'gist';
  readonly keys: readonly IndexKey[];
  /** Columns that are stored beside the keys. */
  readonly include: readonly string[];
  /** A predicate as the server prints it, without the alias of a table. Never text of a request. */
  readonly where?: string;
}

/** How an index is built. */
export interface DdlOptions {
  /** Default: `false`. */
  readonly concurrently?: boolean;
  /** The parent of partitions alone, which stays invalid until each has its index. Default: `false`. */
  readonly only?: boolean;
  /** Default: that of `indexNameOf`. */
  readonly name?: string;
}

/** PostgreSQL cuts longer names silently. Bytes. */
const MOST_NAME_BYTES = 63;

/** Digits of a hash in a name. */
const HASH_DIGITS = 8;

/** An identifier in quotes. @throws Error for an empty name, or one with a null character, which PostgreSQL has not. */
export function quoteIdentifier(name: string): string {
  if (name === '' || name.includes('\0')) throw new Error('not a name of PostgreSQL');
  return `"${name.replaceAll('"', '""')}"`;
}

/** The statement that builds an index. The same definition always gives the same text. */
export function ddlOf(
  definition: IndexDefinition,
  { concurrently = false, only = false, name = indexNameOf(definition) }: DdlOptions = {},
): string {
  const how = concurrently ? ' CONCURRENTLY' : '';
  return `CREATE INDEX${how} ${quoteIdentifier(name)} ON ${only ? 'ONLY ' : ''}${bodyOf(definition)}`;
}

/** The id of an advice: a hash of the DDL, so that every instance has the same one for the same index. */
export function idOf(definition: IndexDefinition): string {
  return createHash('sha256').update(bodyOf(definition)).digest('hex').slice(0, 16);
}

/** The end of the name of an index, and of those of its parts. */
export function nameHashOf(definition: IndexDefinition): string {
  return idOf(definition).slice(0, HASH_DIGITS);
}

/**
 * The name of an index: table and keys, cut, then a hash, so that two long names do not become one. At most 63 bytes, which
 * PostgreSQL keeps whole.
 */
export function indexNameOf(definition: IndexDefinition): string {
  const hash = nameHashOf(definition);
  const words = [definition.table, ...definition.keys.map(({ column = 'expr' }) => column)];
  // Null characters are refused where the name is quoted.
  const readable = ['hotpath', ...words].join('_');
  return `${cutToBytes(readable, MOST_NAME_BYTES - HASH_DIGITS - 1)}_${hash}`;
}

/** Everything after the name. */
function bodyOf({ schema, table, method, keys, include, where }: IndexDefinition): string {
  if (keys.length === 0) throw new Error('an index needs a key');
  const on = `${quoteIdentifier(schema)}.${quoteIdentifier(table)} USING ${method} (${keys.map(keyOf).join(', ')})`;
  const beside = include.length > 0 ? ` INCLUDE (${include.map(quoteIdentifier).join(', ')})` : '';
  return on + beside + (where === undefined ? '' : ` WHERE ${inParentheses(where)}`);
}

function keyOf({ column, expression, order = 'asc', nulls, opclass }: IndexKey): string {
  if ((column === undefined) === (expression === undefined))
    throw new Error('a key is a column or an expression');
  const key = column === undefined ? `(${expression})` : quoteIdentifier(column);
  const isDefault = nulls === undefined || nulls === (order === 'asc' ? 'last' : 'first');
  return [
    key,
    opclass && `${quoteIdentifier(opclass.schema)}.${quoteIdentifier(opclass.name)}`,
    order === 'desc' && 'DESC',
    !isDefault && `NULLS ${nulls!.toUpperCase()}`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** The server prints most predicates in parentheses already. */
function inParentheses(predicate: string): string {
  const outside = predicate.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"/g, '');
  let depth = 0;
  const closesEarly = [...outside].some((character, at) => {
    if (character === '(') depth++;
    if (character === ')') depth--;
    return depth === 0 && at < outside.length - 1;
  });
  return closesEarly ? `(${predicate})` : predicate;
}

/** The longest beginning within a limit that ends with a whole character. */
function cutToBytes(text: string, most: number): string {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > most) break;
    end += character.length;
  }
  return text.slice(0, end);
}
