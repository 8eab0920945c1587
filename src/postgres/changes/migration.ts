import { HotpathError } from '../../options/errors.js';
import { type QualifiedName, quoteIdentifier } from '../indexes/definition.js';
import { type ChangeMapping, resolveMapping } from './mapping.js';
import {
  disableRowTriggerSql,
  dollarTag,
  formSql,
  functionNameOf,
  functionSql,
  grantSql,
  partitionsSql,
  qualifiedName,
  quoteLiteral,
  rowTrigger,
  schemaSql,
  statementTriggers,
  type TableForm,
  type TriggerSql,
  triggersOf,
} from './sql.js';

/** Options of `changesMigration`. */
export interface ChangesMigrationOptions {
  /** The role of the app, if another one runs the migration. Default: none. */
  grantTo?: string | undefined;
}

/** The parts of a mapping that triggers depend on. */
export type MigrationTables = Readonly<Record<string, Pick<ChangeMapping[string], 'columns'>>>;

/**
 * The SQL that `purgeOnChange` would run, for a migration tool: `purgeOnChange(mapping, { install: false })` then only
 * reads. It may run again, in a transaction or without one. A table without a schema is one of `public`.
 *
 * @throws HotpathError `HOTPATH_CONFIG_INVALID` for an invalid mapping or name.
 */
export function changesMigration(
  mapping: MigrationTables,
  { grantTo }: ChangesMigrationOptions = {},
): string {
  const tables = Object.entries(resolveMapping(mapping));
  const parts = tables.map(([key, { columns }]) => tableMigration(parseName(key), columns));
  return `-- The outbox of hotpath, and triggers that write to it. To remove all of it: DROP SCHEMA hotpath CASCADE;
${[schemaSql, ...parts, ...(grantTo === undefined ? [] : [grantSql(grantTo)])].join('\n\n')}
`;
}

/** Without a connection, it is not known whether the table is partitioned, and which triggers it has. */
function tableMigration(table: QualifiedName, columns: readonly string[]): string {
  const source = qualifiedName(table);
  const oid = `${quoteLiteral(source)}::regclass`;
  const called = `${quoteLiteral(`hotpath.${quoteIdentifier(functionNameOf(source))}`)}::regproc`;
  // To create a trigger again would lock the table again.
  const missing = (relation: string, { name, sql }: TriggerSql, isDynamic = false) => {
    const statement = sql.replace(/;$/, '');
    return `  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = ${relation}
      AND tgname = ${quoteLiteral(name)} AND tgfoid = ${called} AND tgenabled IN ('O', 'A')) THEN
    ${isDynamic ? `EXECUTE format(${quoteLiteral(statement)}, part.relid::regclass)` : statement};
  END IF;`;
  };
  const all = (form: TableForm) =>
    triggersOf(source, form)
      .map((trigger) => missing(oid, trigger))
      .join('\n');
  // In place of the name of each partition.
  const ofPartitions = statementTriggers('%s', source);
  const disable = quoteLiteral(disableRowTriggerSql('%s', source));
  const body = `DECLARE
  form text := ${formSql(oid)};
  part record;
BEGIN
IF form = 'member' THEN
${all('member')}
ELSIF form = 'plain' THEN
${all('plain')}
ELSE
${all('partitioned')}
  FOR part IN ${partitionsSql(oid)} ORDER BY depth, relid LOOP
${ofPartitions.map((trigger) => missing('part.relid', trigger, true)).join('\n')}
  IF part.kind = 'r' AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = part.relid
      AND tgname = ${quoteLiteral(rowTrigger(source).name)} AND tgenabled IN ('O', 'A')) THEN
    EXECUTE format(${disable}, part.relid::regclass);
  END IF;
  END LOOP;
END IF;
END`;
  const tag = dollarTag(body);
  return `-- ${source.replaceAll(/[\r\n]/g, ' ')}\n${functionSql(table, columns)}\nDO ${tag}\n${body}\n${tag};`;
}

/** Reads a name as SQL does: parts in lower case unless they are quoted. */
export function parseName(text: string): QualifiedName {
  const part = String.raw`("(?:[^"]|"")+"|[\p{L}_][\p{L}\d_$]*)`;
  const [, first, second] = new RegExp(`^${part}(?:\\.${part})?$`, 'u').exec(text) ?? [];
  if (first === undefined) {
    throw new HotpathError(
      'HOTPATH_CONFIG_INVALID',
      `changesMigration: ${JSON.stringify(text)} is no name of a table; write products, shop.products or '${quoteIdentifier('Order Items')}'`,
    );
  }
  const [schema, name] = second === undefined ? ['public', first] : [first, second];
  return { schema: unquoteName(schema), name: unquoteName(name) };
}

function unquoteName(part: string): string {
  return part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part.toLowerCase();
}
