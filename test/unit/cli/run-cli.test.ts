import { describe, expect, it } from 'vitest';
import { type CliCommand, UsageError } from '../../../src/cli/command.js';
import { runCli } from '../../../src/cli/run-cli.js';

const greet: CliCommand = {
  usage: '<name> [options]',
  description: 'Greets someone.',
  options: { loud: { type: 'boolean', short: 'l', description: 'In capital letters' } },
  async run({ values, positionals: [name], terminal }) {
    if (name === undefined) throw new UsageError('name someone');
    if (name === 'nobody') throw new Error('nobody is there');
    terminal.out(values.loud ? `HELLO ${name}\n` : `hello ${name}\n`);
    return 0;
  },
};

/** Runs the command line with two commands, of which the second must not be loaded. */
async function run(...args: string[]) {
  const [out, error]: string[][] = [[], []];
  const loaded: string[] = [];
  const listed = (name: string, command: CliCommand) => ({
    summary: `Summary of ${name}`,
    load: async () => {
      loaded.push(name);
      return command;
    },
  });
  const terminal = {
    out: (text: string) => void out!.push(text),
    error: (text: string) => void error!.push(text),
    columns: undefined,
  };
  const code = await runCli(args, terminal, { greet: listed('greet', greet), other: listed('other', greet) });
  return { code, out: out!.join(''), error: error!.join(''), loaded };
}

describe('the command line', () => {
  it('runs a command with its options, and loads no other', async () => {
    expect(await run('greet', 'Ada', '--loud')).toEqual({
      code: 0,
      out: 'HELLO Ada\n',
      error: '',
      loaded: ['greet'],
    });
  });

  it('lists the commands for --help, without loading them', async () => {
    for (const flag of ['--help', '-h', 'help']) {
      const { code, out, error, loaded } = await run(flag);
      expect({ code, error, loaded }).toEqual({ code: 0, error: '', loaded: [] });
      expect(out).toContain('Usage: hotpath <command> [options]');
      expect(out).toContain('  greet  Summary of greet\n  other  Summary of other\n');
    }
  });

  it('shows the options of a command for --help after it', async () => {
    const { code, out } = await run('greet', '--help');
    expect(code).toBe(0);
    expect(out).toBe(
      'Usage: hotpath greet <name> [options]\n\nGreets someone.\n\nOptions:\n' +
        '  -l, --loud  In capital letters\n  -h, --help  Shows this text\n',
    );
  });

  it.each([
    ['no command', [], /^Usage: hotpath <command>/],
    ['an unknown command', ['nothing'], /^hotpath: unknown command 'nothing'; commands are greet, other\n$/],
    ['a misspelt command', ['great'], /^hotpath: unknown command 'great'; did you mean 'greet'\?\n$/],
    ['a name of Object.prototype', ['constructor'], /unknown command 'constructor'/],
    ['an option before the command', ['--loud'], /unknown option '--loud'; an option comes after a command/],
    ['an unknown option', ['greet', 'Ada', '--quiet'], /^hotpath greet: .*--quiet[\s\S]*greet --help'\.\n$/],
    ['a missing argument', ['greet'], /^hotpath greet: name someone\nSee 'hotpath greet --help'\.\n$/],
  ])('ends with 2 and a message for %s', async (_case, args, message) => {
    const { code, out, error } = await run(...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(error).toMatch(message);
  });

  it('ends with 1 and a message, without a stack, for a command that fails', async () => {
    const { code, error } = await run('greet', 'nobody');
    expect({ code, error }).toEqual({ code: 1, error: 'hotpath greet: nobody is there\n' });
  });
});
