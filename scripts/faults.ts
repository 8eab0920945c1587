// Makes Redis fail in every known way, under load, and shows the effect on clients.
//
//   npm run faults                       500 requests a second, each fault for 10 s
//   npm run faults -- --seconds 2 --rate 100
//   npm run faults -- --only paused      one of them, by the beginning of its name
//
// An instance with Redis and one without get the same requests at the same time, so that other load on the
// machine affects both. The exit code is 1 if a response is an error, wrong or missing, or if the instance does not use
// Redis again afterwards. It is also 1 if the 99th percentile exceeds that without Redis by more than the read deadline
// and 20 ms.
//
// Until a breaker opens, about 20 requests wait for their deadlines, and those with `collapse: 'cluster'` for
// two. With fewer than 2,000 requests in total, the 99th percentile shows these. On a busy machine, lack of
// CPU affects both columns.
import { parseArgs } from 'node:util';
import { resolveCacheStandalone } from '../src/cache/options.js';
import type { Outcome } from '../test/faults/load.js';
import { quantile } from '../test/faults/quantile.js';
import { PASSWORD, type Result, runScenario, scenarios } from '../test/faults/scenarios.js';
import { startChild } from '../test/process/child.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    rate: { type: 'string', default: '500' },
    only: { type: 'string', default: '' },
  },
});
const seconds = positive('seconds');
const rate = positive('rate');
const { settings } = resolveCacheStandalone({ redis: { url: 'redis://127.0.0.1' } });
/** Maximum difference of the 99th percentile with Redis. Milliseconds. */
const bound = settings.redis!.readTimeout * 1000 + 20;

const chosen = scenarios.filter(({ name }) => name.startsWith(values.only));
if (chosen.length === 0) usage(`--only: one of ${scenarios.map(({ name }) => name).join(', ')}`);

const heads = [
  'Redis is',
  'requests',
  'errors',
  'wrong',
  'hung',
  'p50',
  'p99',
  'max',
  'p99 alone',
  'p99 added',
];
const widths = [14, 8, 6, 5, 4, 8, 8, 8, 9, 9, 9];
console.log(
  `${rate} requests a second, ${seconds} s of each fault; milliseconds; bound of what p99 may add: ${bound}`,
);
line([...heads, 'used again after', ''], [...widths, 16, 0]);

const control = await startChild('instance', { NAME: 'control' });
const broken: string[] = [];
try {
  for (const scenario of chosen) print(await runScenario(scenario, { rate, seconds, lead: 1, control }));
} finally {
  control.process.kill('SIGKILL');
}
for (const promise of broken) console.log(promise);
process.exitCode = broken.length > 0 ? 1 : 0;

function print({ name, all, during, control, recovery, output }: Result): void {
  const faulty = (kind: Outcome['fault']) => all.filter(({ fault }) => fault === kind);
  const own = during.map(({ latency }) => latency);
  const alone = control.map(({ latency }) => latency);
  const added = quantile(own, 0.99) - quantile(alone, 0.99);
  const counts = (['error', 'wrong', 'hung'] as const).map((kind) => faulty(kind).length);
  const times = [
    quantile(own, 0.5),
    quantile(own, 0.99),
    quantile(own, 1),
    quantile(alone, 0.5),
    quantile(alone, 0.99),
    added,
  ];
  const promises: [kept: boolean, promise: string][] = [
    [counts.every((count) => count === 0), 'an answer was an error, wrong or missing'],
    [added <= bound, `p99 was more than ${bound} ms above that without Redis`],
    [recovery !== undefined, 'Redis was not used again'],
    [!output.includes(PASSWORD), 'the password was written to the console'],
  ];
  const said = recovery === undefined ? 'never' : `${(recovery / 1000).toFixed(1)} s`;
  const failed = promises.filter(([kept]) => !kept);
  const cells = [name, all.length, ...counts, ...times.map((time) => time.toFixed(1)), said];
  line([...cells.map(String), failed.length > 0 ? 'BROKEN' : 'ok'], [...widths, 16, 7]);
  broken.push(...failed.map(([, promise]) => `${name}: ${promise}`));
  for (const { detail } of all.filter(({ fault }) => fault).slice(0, 3)) broken.push(`  ${detail}`);
}

function line(cells: readonly string[], columns: readonly number[]): void {
  const padded = cells.map((cell, i) => (i === 0 ? cell.padEnd(columns[i]!) : cell.padStart(columns[i]!)));
  console.log(padded.join('  ').trimEnd());
}

function positive(option: 'seconds' | 'rate'): number {
  const value = Number(values[option]);
  return value > 0 ? value : usage(`--${option} must be a number above 0, not ${values[option]}`);
}

function usage(problem: string): never {
  console.error(problem);
  process.exit(2);
}
