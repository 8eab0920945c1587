import { type CliCommand, UsageError } from '../command.js';

/** `hotpath precompress`. */
export const precompressCommand: CliCommand = {
  usage: '<folder>... [options]',
  description: 'Compresses the files of a folder ahead of time.',
  options: {},
  async run({ positionals, terminal }) {
    if (positionals.length === 0) throw new UsageError('name the folder to compress');
    terminal.error('hotpath precompress: not available yet\n');
    return 1;
  },
};
