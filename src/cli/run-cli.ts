import { parseArgs } from 'node:util';
import { distance } from 'fastest-levenshtein';
import { messageOf } from '../runtime/report-fault.js';
import { type CliCommand, type CommandOption, type Terminal, UsageError } from './command.js';
import { COMMANDS, type ListedCommand } from './commands.js';

/** Exit codes: success, a failure while the command ran, wrong arguments. */
const EXIT = { success: 0, failure: 1, usage: 2 } as const;

const HELP: CommandOption = { type: 'boolean', short: 'h', description: 'Shows this text' };

/**
 * Runs a command of the executable `hotpath`. Never rejects: every error becomes a message and an exit code.
 *
 * @param args the arguments after the name of the executable.
 * @param commands for tests.
 * @returns the exit code: 0 for success, 1 for a failure, 2 for wrong arguments.
 */
export async function runCli(
  args: readonly string[],
  terminal: Terminal,
  commands: Readonly<Record<string, ListedCommand>> = COMMANDS,
): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    terminal.error(overview(commands));
    return EXIT.usage;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    terminal.out(overview(commands));
    return EXIT.success;
  }
  const listed = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!listed) {
    terminal.error(`hotpath: ${unknownCommand(name, Object.keys(commands))}\n`);
    return EXIT.usage;
  }
  try {
    return await runCommand(name, await listed.load(), rest, terminal);
  } catch (error) {
    terminal.error(`hotpath ${name}: ${messageOf(error)}\n`);
    if (!isUsageError(error)) return EXIT.failure;
    terminal.error(`See 'hotpath ${name} --help'.\n`);
    return EXIT.usage;
  }
}

async function runCommand(
  name: string,
  command: CliCommand,
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const options = { ...command.options, help: HELP };
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  if (values.help) {
    terminal.out(commandHelp(name, command));
    return EXIT.success;
  }
  return command.run({ values, positionals, terminal });
}

/** `parseArgs` has no class of errors. */
function isUsageError(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return error instanceof UsageError || (typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS_'));
}

function unknownCommand(name: string, known: readonly string[]): string {
  const nearest = known.find((each) => distance(name.toLowerCase(), each) <= Math.max(2, each.length / 3));
  const hint = nearest === undefined ? `commands are ${known.join(', ')}` : `did you mean '${nearest}'?`;
  return name.startsWith('-')
    ? `unknown option '${name}'; an option comes after a command: ${known.join(', ')}`
    : `unknown command '${name}'; ${hint}`;
}

function overview(commands: Readonly<Record<string, ListedCommand>>): string {
  const rows = Object.entries(commands).map(([name, { summary }]) => [name, summary] as const);
  return `Usage: hotpath <command> [options]

Commands:
${table(rows)}

'hotpath <command> --help' shows the options of a command.
`;
}

function commandHelp(name: string, { usage, description, options }: CliCommand): string {
  const rows = Object.entries({ ...options, help: HELP }).map(([option, { short, value, description }]) => {
    const names = `${short === undefined ? '    ' : `-${short}, `}--${option}`;
    return [value === undefined ? names : `${names} ${value}`, description] as const;
  });
  return `Usage: hotpath ${name} ${usage}

${description}

Options:
${table(rows)}
`;
}

function table(rows: readonly (readonly [left: string, right: string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n');
}
