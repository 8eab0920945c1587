import type { CliCommand } from './command.js';

/** A command in the list of commands. */
export interface ListedCommand {
  /** One line for `hotpath --help`. */
  readonly summary: string;
  /** Loads its module. */
  readonly load: () => Promise<CliCommand>;
}

/** The commands of the executable `hotpath`, by name. */
export const COMMANDS: Readonly<Record<string, ListedCommand>> = {
  'postgres:migration': {
    summary: 'Prints the SQL of the triggers for purgeOnChange()',
    load: async () => (await import('./postgres-migration/command.js')).postgresMigrationCommand,
  },
  precompress: {
    summary: 'Compresses the files of a folder ahead of time, for staticAssets()',
    load: async () => (await import('./precompress/command.js')).precompressCommand,
  },
};
