// Writes RESULTS.md and its chart from the results.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { verdictsOf } from './bounds.mjs';
import { drawChart, type Panel } from './chart.mjs';
import { CONTENDERS, contenderOf } from './contenders.mjs';
import type { Machine } from './machine.mjs';
import { scaleSections } from './report-scale.mjs';
import { isOurs, type LoadResult, type Results, ratioOf, readResults, valuesOf } from './results.mjs';
import { spreadOf } from './statistics.mjs';
import { cell, number, table } from './tables.mjs';

/** The contenders that the tables compare with: the first of these that took part. */
const YARDSTICKS = ['bare', 'assembled', 'express-compression', 'bare-redis'];

export function writeReport(results: Results): string {
  const loads = Object.values(results.loads);
  return [
    '# Results of the benchmark',
    'Written by `npm run bench` (and `npm run bench:scale`); the raw numbers are in [results.json](results.json).',
    ...describe(results.machine),
    '## Done when',
    'Ratios of medians within one run; above 1 is better for hotpath. In parentheses: the smallest and the largest ratio of a single round.',
    verdictTable(results),
    ...ahead(loads),
    '## How it was measured',
    METHOD,
    '![Requests a second](results.svg)',
    '## Contenders',
    contenderTable(loads),
    ...loads.flatMap(loadSection),
    ...(results.scale ? scaleSections(results.scale) : []),
  ]
    .join('\n\n')
    .concat('\n');
}

/** Writes RESULTS.md and results.svg next to the results.json of a folder. */
export function saveReport(folder: string): void {
  const results = readResults(folder);
  if (!results) throw new Error('there is no results.json to report on; run `npm run bench` first');
  writeFileSync(join(folder, 'RESULTS.md'), writeReport(results));
  writeFileSync(join(folder, 'results.svg'), chartOf(results));
}

const METHOD = `Each contender runs in a process of its own, on core 0; the generator on core 1, where Redis and the app behind
a proxy run too. All contenders of a load are started, checked (status, body, coding, whether a handler ran), warmed
up, and then measured by turns, A B C A B C…, each run after a second of load that does not count: while others have
their turn, V8 lets go of compiled code (loads of commits before 62bad63 are without that second). A run counts only if
the server used at least 95 % of its core, otherwise the generator was what was measured; it is made again a few times,
and left out of every median and ratio if that does not help.

- **Closed-model throughput** (all loads but those marked *open*): wrk sends the next request on a connection when the
  last one is answered. These are figures of capacity, and say nothing about latency.
- **Open-model latency and CPU time** (marked *open*): requests go out at a fixed rate whether or not earlier ones were
  answered, and latency counts from the moment when a request was due.
- Where it says so, each contender ran in several processes, one after the other. Of two processes with the same
  program and load, one may need a tenth more CPU time for a request: how V8 compiles it, and how many young objects it
  lets come together before it collects them, is settled anew in each.
- On the uncacheable route the assembled stack and the others have no cache mounted, as nobody would put one there.
  Handlers that use a cache library keep finished JSON, which costs them the least.
- Loads are measured on different days, and machines differ: their figures are to be compared within a load alone.
- Before misses are measured, each cache has stored 10,000 of them: one that still grows takes memory from the system
  that one in use has.
- CPU time for a request is user and system time of the server's processes, as Linux counts it.`;

function describe({ date, processor, cores, memory, kernel, node, commit, versions }: Machine): string[] {
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `Last measured ${date}, commit ${commit} (each load says its own), on ${processor}, ${cores} cores, ${memory} GiB, ${kernel}, Node ${node}.`,
    `Versions: ${list.join(', ')}.`,
  ];
}

function verdictTable(results: Results): string {
  const rows = verdictsOf(results).map(({ title, load, bound, ratio, holds }) => [
    title,
    load,
    bound,
    ratio ? `${number(ratio.ratio, 2)} (${number(ratio.min, 2)}–${number(ratio.max, 2)})` : 'not measured',
    holds === undefined ? '–' : holds ? 'yes' : '**no**',
  ]);
  return table(['What', 'Load', 'Bound', 'Ratio', 'Holds'], rows);
}

/** Contenders that were faster than hotpath's best under some load, without those that no cache can beat. */
function ahead(loads: readonly LoadResult[]): string[] {
  const lines = loads.flatMap((result) => {
    const best = ['hotpath-front', 'hotpath'].find((id) => valuesOf(result, id, 'rate').size > 0);
    if (best === undefined || result.load.model === 'open') return [];
    const faster = Object.keys(result.contenders)
      .filter((id) => !isOurs(id) && !contenderOf(id).isReplay)
      .map((id) => ({ id, ratio: ratioOf(result, best, id)?.ratio }))
      .filter(({ ratio }) => ratio !== undefined && ratio < 1)
      .map(({ id, ratio }) => `${contenderOf(id).label} (${number(1 / (ratio as number), 2)} times)`);
    return faster.length > 0 ? [`- ${result.load.title}: ${faster.join(', ')}`] : [];
  });
  const said = lines.length > 0 ? lines.join('\n') : 'Nobody, in the loads that were measured.';
  return ['## Where a peer is ahead of hotpath', said];
}

function contenderTable(loads: readonly LoadResult[]): string {
  const present = CONTENDERS.filter(({ id }) => loads.some(({ contenders }) => id in contenders));
  return table(
    ['Contender', 'What it is'],
    present.map(({ label, note }) => [label, note]),
  );
}

function loadSection(result: LoadResult): string[] {
  const { load, measured, rounds, processes = 1, seconds, rate, contenders } = result;
  const yardstick = YARDSTICKS.find((id) => valuesOf(result, id, 'rate').size > 0);
  const isOpen = load.model === 'open';
  const how = [
    isOpen ? `*open*, ${number(rate ?? 0)} requests a second` : 'closed',
    `${load.connections} connection${load.connections === 1 ? '' : 's'}`,
    processes === 1
      ? `${rounds} rounds of ${seconds} s`
      : `${rounds} rounds of ${seconds} s in ${processes} processes of each`,
    `${measured.date}, commit ${measured.commit}`,
    ...(load.isNeverBusy ? ['one connection cannot keep a server busy: all runs count'] : []),
  ];
  const rows = Object.keys(contenders)
    .sort((a, b) => order(result, b) - order(result, a))
    .map((id) => rowOf(result, id, yardstick));
  const to = yardstick === undefined ? 'Ratio' : `To ${contenderOf(yardstick).label}`;
  const head = isOpen
    ? ['Contender', 'CPU µs/request', to, 'p50 ms', 'p95 ms', 'p99 ms', 'Body bytes']
    : ['Contender', 'Requests/s', 'Min–max', to, 'CPU µs/request', 'Body bytes'];
  return [`## ${load.title}`, `${how.join('; ')}.`, table(head, rows)];
}

/** Sorts by speed, fastest first, unmeasured last. */
function order(result: LoadResult, id: string): number {
  const isOpen = result.load.model === 'open';
  const median = spreadOf([...valuesOf(result, id, isOpen ? 'cpu' : 'rate').values()])?.median;
  if (median === undefined) return -1;
  return isOpen ? 1 / median : median;
}

function rowOf(result: LoadResult, id: string, yardstick: string | undefined): string[] {
  const { label } = contenderOf(id);
  const name = isOurs(id) ? `**${label}**` : label;
  const { runs, absent, bytes } = result.contenders[id] as LoadResult['contenders'][string];
  const isOpen = result.load.model === 'open';
  const columns = isOpen ? 5 : 4;
  if (absent !== undefined) return [name, absent, ...Array(columns).fill('')];
  const counted = runs.filter(({ isCounted }) => isCounted);
  const body = bytes === undefined ? '' : number(bytes);
  if (counted.length === 0) return uncounted(name, result, id, body);
  const ratio = yardstick === undefined ? undefined : ratioOf(result, id, yardstick, isOpen ? 'cpu' : 'rate');
  const times = ratio === undefined ? '' : number(ratio.ratio, 2);
  const cpu = cell(spreadOf(counted.map((run) => run.cpu)), 1);
  if (isOpen) {
    const late = (['p50', 'p95', 'p99'] as const).map((key) =>
      cell(spreadOf(counted.flatMap(({ latency }) => (latency ? [latency[key]] : []))), 2),
    );
    return [name, cpu, times, ...late, body];
  }
  const rates = spreadOf(counted.map(({ rate }) => rate));
  const spread = rates ? `${number(rates.min)}–${number(rates.max)}` : '';
  return [name, cell(rates), spread, times, cpu, body];
}

/** A row for a server that the generator could not keep busy, so its maximum is unknown. */
function uncounted(name: string, result: LoadResult, id: string, body: string): string[] {
  const { runs } = result.contenders[id] as LoadResult['contenders'][string];
  const reasons = [...new Set(runs.map(({ reason }) => reason ?? ''))].join('; ');
  const busy = spreadOf(runs.map((run) => 100 * run.busy));
  const share = busy === undefined ? '' : ` (${number(busy.median)} % busy)`;
  const cpu = cell(spreadOf(runs.map((run) => run.cpu)), 1);
  const why = `not counted: ${reasons}${share}`;
  if (result.load.model === 'open') return [name, cpu, why, '', '', '', body];
  const rate = spreadOf(runs.map((run) => run.rate));
  return [name, `(${cell(rate)})`, why, '', cpu, body];
}

const CHARTED = ['hit-10kb-identity', 'hit-10kb-gzip', 'miss', 'uncacheable'];

/** Bars for the most important loads. */
export function chartOf(results: Results): string {
  const panels = CHARTED.flatMap((id): Panel[] => {
    const result = results.loads[id];
    if (!result) return [];
    const bars = Object.keys(result.contenders)
      .flatMap((contender) => {
        const rates = spreadOf([...valuesOf(result, contender, 'rate').values()]);
        if (!rates) return [];
        const { median, min, max } = rates;
        return [{ label: contenderOf(contender).label, value: median, min, max, isOurs: isOurs(contender) }];
      })
      .sort((a, b) => b.value - a.value);
    return bars.length > 0 ? [{ title: result.load.title, unit: 'requests a second', bars }] : [];
  });
  return drawChart(panels);
}
