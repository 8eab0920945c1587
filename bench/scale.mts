// Measures how cost grows with entries, purges and connections, and the cost of a start: `npm run
// bench:scale`. Adds its tables to RESULTS.md. `--entries 1000,100000` takes less time; `--parts
// start,entries` runs only some.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildContenders, ROOT } from './lib/build.mjs';
import { checkMachine } from './lib/cores.mjs';
import { describeMachine } from './lib/machine.mjs';
import { saveReport } from './lib/report.mjs';
import { readResults, type ScaleResult, writeResults } from './lib/results.mjs';
import { measureConnections, measureEntries, measurePurging } from './lib/scale-load.mjs';
import { measureStart, measureSubpaths } from './lib/scale-start.mjs';

const PARTS = ['entries', 'purging', 'connections', 'start', 'subpaths'] as const;

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '1000,100000,1000000' },
    connections: { type: 'string', default: '10000' },
    only: { type: 'string', default: 'hotpath-front,hotpath' },
    parts: { type: 'string', default: PARTS.join(',') },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    out: { type: 'string', default: join(ROOT, 'bench') },
  },
});
const parts = values.parts.split(',');
const wrong = parts.find((part) => !(PARTS as readonly string[]).includes(part));
if (wrong !== undefined) throw new Error(`there is no part ${wrong}; there are ${PARTS.join(', ')}`);
const options = {
  counts: values.entries.split(',').map(Number),
  connections: Number(values.connections),
  contenders: values.only.split(','),
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  say: (line: string) => console.log(line),
};

checkMachine();
mkdirSync(values.out, { recursive: true });
await buildContenders();
const has = (part: (typeof PARTS)[number]) => parts.includes(part);
if (has('entries')) await keep({ entries: await measureEntries(options) });
if (has('purging')) await keep({ purging: await measurePurging(options) });
if (has('connections')) await keep({ connections: await measureConnections(options) });
if (has('start')) await keep({ start: await measureStart(options) });
if (has('subpaths')) await keep({ subpaths: await measureSubpaths(options) });
console.log('written: RESULTS.md and results.json');

/** Saves after every part, so that an interrupted run keeps its results. */
async function keep(part: Partial<ScaleResult>): Promise<void> {
  const old = readResults(values.out);
  const nothing: ScaleResult = { entries: [], purging: [], connections: [], start: [], subpaths: [] };
  const scale = { ...nothing, ...old?.scale, ...part };
  writeResults(values.out, { machine: describeMachine(), loads: old?.loads ?? {}, scale });
  saveReport(values.out);
}
