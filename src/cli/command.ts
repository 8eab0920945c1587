/** An option of a command, in the form of `util.parseArgs`, with its description for `--help`. */
export interface CommandOption {
  readonly type: 'boolean' | 'string';
  /** One letter. */
  readonly short?: string;
  readonly multiple?: boolean;
  /** The placeholder of the value in the help text: `<number>`. */
  readonly value?: string;
  readonly description: string;
}

/** The arguments of a command, parsed. */
export interface CommandCall {
  readonly values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
  readonly positionals: readonly string[];
  readonly terminal: Terminal;
}

/** The output of a command. */
export interface Terminal {
  /** Writes to the standard output. */
  out(text: string): void;
  /** Writes to the standard error. */
  error(text: string): void;
  /** The width of the standard error in columns; `undefined` unless it is a terminal. */
  readonly columns: number | undefined;
}

/** A command of the executable `hotpath`. Its module is loaded only when the command runs. */
export interface CliCommand {
  /** The arguments after the name of the command: `<folder>`. */
  readonly usage: string;
  /** A paragraph for `--help`. */
  readonly description: string;
  readonly options: Readonly<Record<string, CommandOption>>;
  /**
   * @returns the exit code: 0 for success, 1 for a failure that it has reported.
   * @throws UsageError for wrong arguments.
   */
  run(call: CommandCall): Promise<number>;
}

/** Wrong arguments of a command. The message is shown, and the exit code is 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
