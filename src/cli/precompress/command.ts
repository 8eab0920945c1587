import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { VARIANT_ENDINGS, type VariantCoding } from '../../assets/variants.js';
import { guarded } from '../../runtime/guard.js';
import { type CliCommand, type CommandCall, type Terminal, UsageError } from '../command.js';
import { FULL_ENCODERS } from './encode.js';
import { type PrecompressResult, precompress } from './precompress.js';
import { CLEAR_LINE, formatProgress, formatTable, printableName } from './report.js';

const LEAST_BYTES = 1024;
const LEAST_GAIN = 0.1;

/** `hotpath precompress`. */
export const precompressCommand: CliCommand = {
  usage: '<folder>... [options]',
  description:
    'Writes a .br, .zst and .gz file beside each file that can be compressed, at full strength,\n' +
    'where it is at least 10 % smaller. staticAssets() of hotpath/assets serves them.\n' +
    'Unchanged files are skipped, and variants of files that are gone are removed.\n' +
    'zstd needs Node 22.15.',
  options: {
    codings: {
      type: 'string',
      short: 'c',
      value: '<list>',
      description: 'Codings to make: br, zstd and gzip, separated by commas (default: all)',
    },
    'min-size': {
      type: 'string',
      value: '<bytes>',
      description: `Skips smaller files (default: ${LEAST_BYTES})`,
    },
    force: {
      type: 'boolean',
      short: 'f',
      description: 'Encodes unchanged files again, and replaces variants that another tool has made',
    },
    quiet: { type: 'boolean', short: 'q', description: 'Shows errors only' },
  },
  async run({ values, positionals, terminal }) {
    useAllCores();
    const codings = readCodings(values.codings);
    const leastBytes = readBytes(values['min-size']);
    if (positionals.length === 0) throw new UsageError('name the folder to compress');
    for (const folder of positionals) await requireFolder(folder);
    const interrupt = interruptSignal();
    let code = 0;
    for (const folder of positionals) {
      const result = await precompress({
        folder,
        codings,
        leastBytes,
        leastGain: LEAST_GAIN,
        isForced: values.force === true,
        signal: interrupt.signal,
        ...progressOf(terminal, values.quiet === true),
      });
      report(folder, result, codings, terminal, values.quiet === true);
      if (result.failures.length > 0) code = 1;
    }
    interrupt.release();
    if (!interrupt.signal.aborted) return code;
    terminal.error('hotpath precompress: interrupted; the next run continues\n');
    return 130;
  },
};

function readCodings(value: CommandCall['values'][string]): VariantCoding[] {
  const available = Object.keys(FULL_ENCODERS) as VariantCoding[];
  if (typeof value !== 'string') return available;
  const names = [...new Set(value.split(',').map((name) => name.trim()))];
  for (const name of names) {
    if (!Object.hasOwn(VARIANT_ENDINGS, name)) {
      throw new UsageError(`--codings: expected br, zstd or gzip, received '${name}'`);
    }
    if (!Object.hasOwn(FULL_ENCODERS, name)) {
      throw new UsageError(`--codings: ${name} needs Node 22.15, and this is ${process.version}`);
    }
  }
  return names as VariantCoding[];
}

function readBytes(value: CommandCall['values'][string]): number {
  if (typeof value !== 'string') return LEAST_BYTES;
  if (/^\d{1,15}$/.test(value)) return Number(value);
  throw new UsageError(`--min-size: expected a number of bytes, received '${value}'`);
}

async function requireFolder(folder: string): Promise<void> {
  const stats = await stat(folder).catch(() => undefined);
  if (!stats?.isDirectory()) throw new UsageError(`'${folder}' is no folder`);
}

/**
 * The thread pool has 4 threads by default. Node reads the variable when the pool starts, which on Node 20 has happened
 * before: there it stays at 4.
 */
function useAllCores(): void {
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism()));
}

/** Aborted by the first Ctrl-C; the second one ends the process, as without a listener. */
function interruptSignal(): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const abort = guarded('precompress', () => controller.abort());
  process.once('SIGINT', abort);
  process.once('SIGTERM', abort);
  return {
    signal: controller.signal,
    release() {
      process.off('SIGINT', abort);
      process.off('SIGTERM', abort);
    },
  };
}

function progressOf(
  terminal: Terminal,
  isQuiet: boolean,
): { onProgress?: (done: number, all: number) => void } {
  const { columns } = terminal;
  if (columns === undefined || isQuiet) return {};
  return { onProgress: (done, all) => terminal.error(formatProgress(done, all, columns)) };
}

function report(
  folder: string,
  { sources, removed, foreign, failures }: PrecompressResult,
  codings: readonly VariantCoding[],
  terminal: Terminal,
  isQuiet: boolean,
): void {
  if (terminal.columns !== undefined && !isQuiet) terminal.error(CLEAR_LINE);
  for (const { path, message } of failures) {
    terminal.error(`hotpath precompress: ${printableName(`${path}: ${message}`)}\n`);
  }
  if (isQuiet) return;
  const unchanged = sources.filter(({ isUnchanged }) => isUnchanged).length;
  const parts = [
    `${folder}: ${sources.length - unchanged} files compressed`,
    `${unchanged} unchanged`,
    ...(removed > 0 ? [`${removed} variants removed`] : []),
    ...(failures.length > 0 ? [`${failures.length} failed`] : []),
  ];
  if (sources.length > 0) terminal.out(`${formatTable(sources, codings)}\n\n`);
  terminal.out(`${parts.join(', ')}\n`);
  if (foreign.length > 0) {
    terminal.out(
      `${foreign.length} files such as ${printableName(foreign[0]!)} were made by another tool and stay as they are; --force replaces them\n`,
    );
  }
}
