// The parts of `npm run bench:scale` that put load on hotpath.
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { State } from '../contenders/settings.mjs';
import { contenderOf } from './contenders.mjs';
import { get } from './exchange.mjs';
import { runOpenLoad } from './open-load.mjs';
import type { ScaleResult } from './results.mjs';
import { Absent, type Running } from './servers.mjs';
import { askScript, runScript } from './wrk.mjs';

export interface ScaleOptions {
  readonly counts: readonly number[];
  readonly connections: number;
  readonly contenders: readonly string[];
  readonly rounds: number;
  readonly seconds: number;
  readonly say: (line: string) => void;
}

const ITEMS = '/item/';
const HEADERS = { 'Accept-Encoding': 'identity' };

/** A server with this many entries, each filled and hit once. */
interface Filled {
  readonly contender: string;
  readonly count: number;
  readonly running: Running;
  readonly heap: number;
  readonly resident: number;
  readonly body: number;
  readonly cpu: number[];
}

/** CPU time of a hit, and memory per entry, by number of entries. */
export async function measureEntries(options: ScaleOptions): Promise<ScaleResult['entries']> {
  const { contenders, counts, rounds, seconds, say } = options;
  const results: ScaleResult['entries'][number][] = [];
  for (const contender of contenders) {
    const filled: Filled[] = [];
    try {
      for (const count of counts) {
        say(`${contender}: filling ${count} entries`);
        filled.push(await fill(contender, count));
      }
      for (let round = 1; round <= rounds; round++) {
        for (const { running, count, cpu } of filled) {
          const args = [ITEMS, count, round];
          const run = await runScript(
            'uniform',
            { port: running.port, path: ITEMS, seconds, headers: HEADERS, args },
            running.pid,
          );
          const each = ((run.window.cpu / run.window.wall) * 1e6) / run.rate;
          cpu.push(each);
          say(
            `  ${round} ${String(count).padStart(8)} entries: ${each.toFixed(2)} µs, ${run.rate.toFixed(0)}/s`,
          );
        }
      }
    } catch (error) {
      if (!(error instanceof Absent)) throw error;
      say(`${contender}: ${error.message}`);
    } finally {
      await Promise.all(filled.map(({ running }) => running.stop()));
    }
    results.push(...filled.map(({ running: _, ...result }) => result));
  }
  return results;
}

async function fill(contender: string, count: number): Promise<Filled> {
  const nodeArguments = ['--expose-gc', '--max-old-space-size=8192'];
  // Room for all entries and those of the verification.
  const running = await contenderOf(contender).start({ maxEntries: count + 1_000 }, { nodeArguments });
  try {
    // Warms up code and buffers before the first measurement of memory.
    await askScript('fill', { port: running.port, path: '/miss/', headers: HEADERS, args: ['/miss/', 500] });
    const empty = await settled(running);
    for (let i = 0; i < 2; i++) {
      await askScript('fill', { port: running.port, path: ITEMS, headers: HEADERS, args: [ITEMS, count] });
    }
    const before = (await running.state()).runs;
    const last = await get(running.port, `${ITEMS}${count - 1}`, HEADERS);
    const full = await settled(running);
    if (full.runs !== before) throw new Error(`not all of the ${count} entries are kept`);
    const heap = full.memory.heap + full.memory.external - empty.memory.heap - empty.memory.external;
    const resident = full.memory.resident - empty.memory.resident;
    const body = last.body.length;
    return { contender, count, running, heap: heap / count, resident: resident / count, body, cpu: [] };
  } catch (error) {
    await running.stop();
    throw error;
  }
}

/** The state once garbage collection frees nothing more. */
async function settled(running: Running): Promise<State> {
  for (let last = Number.POSITIVE_INFINITY; ; ) {
    const state = await running.state();
    const taken = state.memory.heap + state.memory.external;
    if (taken > last - 10_000) return state;
    last = taken;
    await delay(200);
  }
}

const PURGING_RATE = 2_000;
const PURGES = 100;

/** Latency of hits at a fixed rate, with and without purges. */
export async function measurePurging(options: ScaleOptions): Promise<ScaleResult['purging']> {
  const { contenders, seconds, say } = options;
  return withEach(contenders, {}, say, async (contender, running) => {
    const rows: ScaleResult['purging'][number][] = [];
    const load = { ...open(running, ITEMS, PURGING_RATE, seconds * 3), connections: 64, keys: PURGES };
    await runOpenLoad({ ...load, seconds: 2 }, running.pid);
    for (const purges of [0, PURGES]) {
      await running.storm(purges);
      const { latency, done } = await runOpenLoad(load, running.pid);
      await running.storm(0);
      rows.push({ contender, purges, rate: done / load.seconds, latency });
      say(`  ${contender}, ${purges} purges/s: p99 ${latency.p99.toFixed(2)} ms`);
    }
    return rows;
  });
}

const CONNECTIONS_RATE = 2_000;

/** Latency of hits at a fixed rate over many connections. */
export async function measureConnections(options: ScaleOptions): Promise<ScaleResult['connections']> {
  const { contenders, connections, seconds, say } = options;
  const limit =
    Number(execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' })) || Number.POSITIVE_INFINITY;
  // Node raises its own limit to the hard one. A process needs a few files besides its sockets.
  if (connections + 100 > limit) {
    throw new Error(`${connections} connections need ulimit -Hn ${connections + 100}; it is ${limit}`);
  }
  return withEach(contenders, {}, say, async (contender, running) => {
    const path = '/hit/10kb';
    for (let i = 0; i < 3; i++) await get(running.port, path, HEADERS);
    // Long enough to use every connection several times.
    const load = { ...open(running, path, CONNECTIONS_RATE, Math.max(15, seconds)), connections };
    await runOpenLoad({ ...load, connections: 64, seconds: 3 }, running.pid);
    const { latency, done, failed } = await runOpenLoad(load, running.pid);
    say(`  ${contender}, ${connections} connections: p95 ${latency.p95.toFixed(2)} ms, ${failed} failed`);
    return [{ contender, open: connections, rate: done / load.seconds, failed, latency }];
  });
}

function open(running: Running, path: string, rate: number, seconds: number) {
  return { port: running.port, path, headers: HEADERS, status: 200, rate, seconds, isSpinning: true };
}

async function withEach<T>(
  contenders: readonly string[],
  settings: { readonly maxEntries?: number },
  say: (line: string) => void,
  look: (contender: string, running: Running) => Promise<readonly T[]>,
): Promise<T[]> {
  const rows: T[] = [];
  for (const contender of contenders) {
    let running: Running | undefined;
    try {
      running = await contenderOf(contender).start(settings);
      rows.push(...(await look(contender, running)));
    } catch (error) {
      if (!(error instanceof Absent)) throw error;
      say(`${contender}: ${error.message}`);
    } finally {
      await running?.stop();
    }
  }
  return rows;
}
