import { pathToFileURL } from 'node:url';
import { isHotpathError } from '../../options/errors.js';
import { changesMigration, type MigrationTables } from '../../postgres/changes/migration.js';
import { type CliCommand, UsageError } from '../command.js';

/** `hotpath postgres:migration`. */
export const postgresMigrationCommand: CliCommand = {
  usage: '<table>[:<column>,...]... [options]',
  description:
    'Prints the SQL that purgeOnChange() installs: an outbox, and triggers on each table that write to it. ' +
    'Names are those of SQL: products:id,category_id or \'shop."Order Items":id\'. Columns have their exact names. ' +
    'The app then calls purgeOnChange(mapping, { install: false }).',
  options: {
    from: {
      type: 'string',
      value: '<module>',
      description: 'A module whose export `changes` or default is the mapping of purgeOnChange()',
    },
    grant: {
      type: 'string',
      value: '<role>',
      description: 'The role of the app, if another one runs the migration',
    },
  },
  async run({ values, positionals, terminal }) {
    const { from, grant } = values;
    const tables: MigrationTables = {
      ...(typeof from === 'string' && (await loadMapping(from))),
      ...Object.fromEntries(positionals.map(parseTable)),
    };
    if (Object.keys(tables).length === 0) throw new UsageError('name a table: products:id,category_id');
    try {
      terminal.out(changesMigration(tables, { grantTo: typeof grant === 'string' ? grant : undefined }));
    } catch (error) {
      throw isHotpathError(error) ? new UsageError(error.message) : error;
    }
    return 0;
  },
};

/** The name may be quoted, and contain any character in its quotes. */
function parseTable(text: string): [name: string, { columns: string[] }] {
  const [, name, columns = ''] = /^((?:"(?:[^"]|"")*"|[^":])+)(?::(.*))?$/s.exec(text) ?? [];
  if (name === undefined)
    throw new UsageError(`${text} is no table with columns, such as products:id,category_id`);
  return [name, { columns: columns.split(',').filter((column) => column !== '') }];
}

async function loadMapping(file: string): Promise<MigrationTables> {
  const loaded = (await import(pathToFileURL(file).href)) as { changes?: unknown; default?: unknown };
  const mapping = loaded.changes ?? loaded.default;
  if (typeof mapping !== 'object' || mapping === null)
    throw new UsageError(`${file} exports no mapping as \`changes\` or default`);
  return mapping as MigrationTables;
}
