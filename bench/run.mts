// Compares hotpath with other packages: `npm run bench`. Writes RESULTS.md, results.svg and results.json.
// `npm run bench -- --help` lists the options.
import { mkdirSync } from 'node:fs';
import { buildContenders } from './lib/build.mjs';
import { CONTENDERS } from './lib/contenders.mjs';
import { checkMachine } from './lib/cores.mjs';
import type { Load } from './lib/loads.mjs';
import { describeMachine } from './lib/machine.mjs';
import { type MeasureOptions, measure } from './lib/measure.mjs';
import { type Options, readOptions, USAGE } from './lib/options.mjs';
import { startRedis } from './lib/redis.mjs';
import { saveReport } from './lib/report.mjs';
import { type LoadResult, type Results, readResults, writeResults } from './lib/results.mjs';

const options = readOptions(process.argv.slice(2));
if (options === 'help') console.log(USAGE);
else if (options === 'list') list();
else if (options.isReport) saveReport(options.out);
else await run(options);

function list(): void {
  const all = readOptions([]) as Options;
  console.log(`loads: ${all.loads.map(({ id }) => id).join(', ')}`);
  console.log(`contenders: ${CONTENDERS.map(({ id }) => id).join(', ')}`);
}

async function run(given: Options): Promise<void> {
  checkMachine();
  mkdirSync(given.out, { recursive: true });
  await buildContenders();
  for (const load of given.loads) {
    console.log(`${load.id}: ${load.title}`);
    const redis = load.hasRedis ? await startRedis() : undefined;
    try {
      if (load.hasRedis && !redis) {
        console.log('  redis-server not found. On Debian and Ubuntu: apt-get install redis-server');
        continue;
      }
      const { rounds, processes, seconds, warmUp, repeats, contenders } = given;
      const options: MeasureOptions = {
        ...{ rounds, processes, seconds, warmUp, repeats, contenders },
        ...(redis === undefined ? {} : { redis: redis.url }),
        say: (line) => console.log(line),
      };
      const rate = await rateOf(load, options);
      const result = await measure(load, { ...options, ...(rate === undefined ? {} : { rate }) });
      keep(given.out, result);
    } finally {
      await redis?.stop();
    }
  }
  console.log(`written: RESULTS.md, results.svg and results.json`);
}

/** Saves after every load, so that an interrupted run keeps its results. */
function keep(folder: string, result: LoadResult): void {
  const old = readResults(folder);
  // In the order of the list of loads.
  const order = (readOptions([]) as Options).loads.map(({ id }) => id);
  const loads = { ...old?.loads, [result.load.id]: result };
  const sorted = Object.entries(loads).sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  const results: Results = { ...old, machine: describeMachine(), loads: Object.fromEntries(sorted) };
  writeResults(folder, results);
  saveReport(folder);
}

/** The rate of an open load: fixed, or a share of the slowest contender's maximum. */
async function rateOf(load: Load, options: MeasureOptions): Promise<number | undefined> {
  if (load.rate === undefined || typeof load.rate === 'number') return load.rate;
  const { ofSlowest } = load.rate;
  const probe: Load = { ...load, id: `${load.id}-probe`, model: 'closed', rate: undefined };
  const { contenders } = await measure(probe, {
    ...options,
    rounds: 1,
    processes: 1,
    seconds: 1,
    warmUp: 1,
    repeats: 0,
    say: () => undefined,
  });
  const rates = Object.values(contenders).flatMap(({ runs }) => runs.map(({ rate }) => rate));
  if (rates.length === 0) throw new Error('none of the contenders could be started');
  const rate = Math.round(Math.min(...rates) * ofSlowest);
  console.log(`  ${rate} requests a second: ${100 * ofSlowest} % of what the slowest can do`);
  return rate;
}
