// The command line of `npm run bench`.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BUILT, ROOT } from './build.mjs';
import { CONTENDERS } from './contenders.mjs';
import { type Load, makeLoads } from './loads.mjs';

export interface Options {
  readonly rounds: number;
  /** Processes per contender, one after the other, which divide its rounds. */
  readonly processes: number;
  readonly seconds: number;
  readonly warmUp: number;
  readonly repeats: number;
  readonly loads: readonly Load[];
  readonly contenders: readonly string[];
  /** Folder of RESULTS.md, results.json and results.svg. */
  readonly out: string;
  readonly isReport: boolean;
}

export const USAGE = `npm run bench -- [options]
  --rounds N       rounds (default 5)
  --processes N    processes of each contender that share the rounds, one after the other (default 1)
  --seconds N      seconds of each run (default 3)
  --warm-up N      seconds of warm-up of each contender and load (default 2)
  --repeats N      how often a run is made again whose server was not busy (default 2)
  --loads a,b      only these loads; a name that ends with - or * stands for all that begin so
  --only a,b       only these contenders
  --quick          two contenders, three loads, one second: to see that it works; results go to .tmp/bench
  --out DIR        folder of the results (default bench)
  --report         write the report again, from results.json
  --list           the names of loads and contenders
Loads that are not measured again keep their figures in results.json.`;

const QUICK = { contenders: 'hotpath,assembled', loads: 'hit-10kb-identity,miss,latency' };

export function readOptions(args: readonly string[]): Options | 'help' | 'list' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string' },
      processes: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      repeats: { type: 'string' },
      loads: { type: 'string' },
      only: { type: 'string' },
      out: { type: 'string' },
      quick: { type: 'boolean', default: false },
      report: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  if (values.list) return 'list';
  const isQuick = values.quick;
  const loads = makeLoads({ isQuick });
  const chosen = values.loads ?? (isQuick ? QUICK.loads : undefined);
  const only = values.only ?? (isQuick ? QUICK.contenders : undefined);
  const rounds = count('rounds', values.rounds, isQuick ? 1 : 5);
  return {
    rounds,
    processes: count('processes', values.processes, 1, 1, rounds),
    seconds: count('seconds', values.seconds, isQuick ? 1 : 3),
    warmUp: count('warm-up', values['warm-up'], isQuick ? 1 : 2),
    repeats: count('repeats', values.repeats, isQuick ? 0 : 2, 0),
    loads: choose('load', chosen, loads, ({ id }) => id),
    contenders: choose('contender', only, CONTENDERS, ({ id }) => id).map(({ id }) => id),
    out: values.out ?? (isQuick ? BUILT : join(ROOT, 'bench')),
    isReport: values.report,
  };
}

function count(
  name: string,
  given: string | undefined,
  otherwise: number,
  least = 1,
  most = Number.POSITIVE_INFINITY,
): number {
  const value = given === undefined ? otherwise : Number(given);
  if (!Number.isInteger(value) || value < least) {
    throw new Error(`--${name} takes a whole number of at least ${least}, not ${given}`);
  }
  if (value > most) throw new Error(`--${name} takes at most ${most} here, not ${value}`);
  return value;
}

/** The items with a listed name, or with a listed prefix that ends with `-` or `*`. */
export function choose<T>(
  kind: string,
  list: string | undefined,
  all: readonly T[],
  name: (one: T) => string,
): T[] {
  if (list === undefined) return [...all];
  const wanted = list.split(',').map((each) => each.trim());
  const matches = (pattern: string, id: string) =>
    /[-*]$/.test(pattern) ? id.startsWith(pattern.replace('*', '')) : id === pattern;
  for (const pattern of wanted) {
    if (!all.some((one) => matches(pattern, name(one)))) {
      throw new Error(`there is no ${kind} ${pattern}; there are ${all.map(name).join(', ')}`);
    }
  }
  return all.filter((one) => wanted.some((pattern) => matches(pattern, name(one))));
}
