// Measures one load: starts, verifies and warms up all its contenders, then lets them take turns.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Reference, Settings } from '../contenders/settings.mjs';
import { BUILT } from './build.mjs';
import { type Contender, contenderOf } from './contenders.mjs';
import { isBusy } from './cpu.mjs';
import type { Load } from './loads.mjs';
import { describeMachine } from './machine.mjs';
import { runOpenLoad } from './open-load.mjs';
import { type ContenderResult, isOurs, type LoadResult, type Run } from './results.mjs';
import { Absent, type Running } from './servers.mjs';
import { settle, untilReady, type Verified, verify } from './verify.mjs';
import { askScript, runWrk, scriptFile, type WrkRun } from './wrk.mjs';

export interface MeasureOptions {
  readonly rounds: number;
  /** Processes per contender, one after the other, which divide its rounds. Default: 1. */
  readonly processes?: number;
  readonly seconds: number;
  readonly warmUp: number;
  /** How often a run is repeated if its server was not busy. */
  readonly repeats: number;
  /** Ids; the load's other contenders are skipped. */
  readonly contenders: readonly string[];
  /** Rate of an open load. Requests per second. */
  readonly rate?: number;
  readonly redis?: string;
  /** Arguments of Node for a contender. */
  readonly nodeArguments?: readonly string[];
  readonly say: (line: string) => void;
}

/** A contender during a load. */
interface Entrant {
  readonly contender: Contender;
  readonly running: Running;
  readonly verified: Verified;
  readonly runs: Run[];
  /** Start of the next sequence of keys, because no key may be requested twice. */
  nextKey: number;
}

export async function measure(load: Load, options: MeasureOptions): Promise<LoadResult> {
  const { rounds, seconds, rate, processes = 1 } = options;
  const results: Record<string, ContenderResult> = {};
  const reference = await makeReference(load, options);
  for (let process = 0; process < processes; process++) {
    const roundsUpTo = (share: number) => Math.floor((share * rounds) / processes);
    await measureIn(roundsUpTo(process), roundsUpTo(process + 1), { load, options, reference, results });
  }
  const { date, commit } = describeMachine();
  return {
    load,
    measured: { date, commit },
    seconds,
    rounds,
    ...(processes === 1 ? {} : { processes }),
    ...(rate === undefined ? {} : { rate }),
    contenders: results,
  };
}

interface Measuring {
  readonly load: Load;
  readonly options: MeasureOptions;
  readonly reference: string | undefined;
  /** The results, which measurements are added to. */
  readonly results: Record<string, ContenderResult>;
}

/** Runs some of the rounds, each contender in a new process. */
async function measureIn(from: number, to: number, measuring: Measuring): Promise<void> {
  const { load, options, reference, results } = measuring;
  const entrants: Entrant[] = [];
  try {
    for (const id of load.contenders.filter((each) => options.contenders.includes(each))) {
      const entrant = await enter(contenderOf(id), load, options, reference);
      if ('absent' in entrant) {
        results[id] ??= { runs: [], absent: entrant.absent };
        options.say(`  ${id}: ${entrant.absent}`);
      } else {
        entrants.push(entrant);
      }
    }
    for (let round = from + 1; round <= to; round++) {
      for (const entrant of entrants) await take(entrant, round, load, options);
    }
  } finally {
    await Promise.all(entrants.map(({ running }) => running.stop()));
  }
  for (const { contender, verified, runs } of entrants) {
    const before = results[contender.id]?.runs ?? [];
    results[contender.id] = { runs: [...before, ...runs], bytes: verified.bytes };
  }
}

function settingsOf(load: Load, { redis }: MeasureOptions, reference?: string): Settings {
  return {
    ...(reference === undefined ? {} : { reference }),
    ...(load.maxEntries === undefined ? {} : { maxEntries: load.maxEntries }),
    ...(load.hasRedis ? { redis } : {}),
  };
}

/** Starts, verifies and warms up a contender, or returns why it cannot take part. */
async function enter(
  contender: Contender,
  load: Load,
  options: MeasureOptions,
  reference: string | undefined,
): Promise<Entrant | { absent: string }> {
  let running: Running | undefined;
  try {
    const { nodeArguments } = options;
    running = await contender.start(settingsOf(load, options, reference), { nodeArguments });
    await untilReady(running);
    const first = await verify(contender, running, load, 1);
    if (load.keys !== undefined) await fill(running, load, first);
    const entrant: Entrant = { contender, running, verified: first, runs: [], nextKey: 0 };
    await warmUp(entrant, load, options);
    if (load.stores !== undefined && contender.isCache) await fillUp(entrant, load, load.stores, options);
    if (isOurs(contender.id)) await settle(running);
    return { ...entrant, verified: await verify(contender, running, load, 2) };
  } catch (error) {
    await running?.stop();
    const why = error instanceof Error ? error.message : String(error);
    return { absent: error instanceof Absent ? why : `not measured: ${why}` };
  }
}

/** More keys than a round can request. */
const KEYS_OF_A_RUN = 10_000_000;

function wrkRunOf(entrant: Entrant, load: Load, seconds: number): WrkRun {
  const { running, verified } = entrant;
  const run = {
    port: running.port,
    path: load.path,
    seconds,
    connections: load.connections,
    headers: verified.headers,
  };
  if (load.script === undefined) return run;
  const script = scriptFile(load.script);
  const from = entrant.nextKey;
  entrant.nextKey += KEYS_OF_A_RUN;
  const last = load.script === 'sequence' ? [from] : [load.keys as number, 1 + from / KEYS_OF_A_RUN];
  return { ...run, script, args: [load.path, ...last] };
}

/** Requests every key once. */
async function fill(running: Running, load: Load, { headers }: Verified): Promise<void> {
  const args = [load.path, load.keys as number];
  await askScript('fill', { port: running.port, path: load.path, headers, args });
}

async function warmUp(entrant: Entrant, load: Load, options: MeasureOptions): Promise<void> {
  if (load.model === 'open') await openRun(entrant, load, { ...options, seconds: options.warmUp });
  else await runWrk(wrkRunOf(entrant, load, options.warmUp), entrant.running.pid);
}

/** Time limit. Milliseconds. */
const FULL_WITHIN = 60_000;

async function fillUp(entrant: Entrant, load: Load, stores: number, options: MeasureOptions): Promise<void> {
  const until = performance.now() + FULL_WITHIN;
  while ((await entrant.running.state()).runs < stores && performance.now() < until)
    await warmUp(entrant, load, options);
}

/**
 * Uncounted load before each run. While a contender is idle, V8 frees code and memory that a server in use
 * would keep. Seconds.
 */
const LEAD_IN = 1;

/** One turn of a contender; repeated if its server was not busy enough for a comparison. */
async function take(entrant: Entrant, round: number, load: Load, options: MeasureOptions): Promise<void> {
  const { contender, runs } = entrant;
  for (let attempt = 0; attempt <= options.repeats; attempt++) {
    await warmUp(entrant, load, { ...options, warmUp: LEAD_IN });
    const before = (await entrant.running.state()).runs;
    const made = await storming(entrant, load, () => runOnce(entrant, load, options));
    const handled = (await entrant.running.state()).runs - before;
    const run = { round, ...asIntended(made, handled, entrant, load, options) };
    runs.push(run);
    options.say(`  ${String(round).padStart(2)} ${contender.id.padEnd(20)}${describe(run)}`);
    if (run.isCounted) return;
    // A server that was never busy is faster than the generator, so repeating does not help.
    if (attempt === 0 && round > 1 && !runs.some(({ isCounted }) => isCounted)) return;
  }
}

/**
 * Tolerated share of misses in a load of hits, for entries that are renewed. With more, the run measured
 * something else.
 */
const FORGIVEN_MISSES = 0.001;

/** Of a load of stale hits, some requests may find that another has just started the refresh. */
const LEAST_REFRESHED = 0.9;

/** Leaves out a run whose requests were not what the load is about. */
function asIntended(
  made: Omit<Run, 'round'>,
  handled: number,
  { contender }: Entrant,
  load: Load,
  { seconds }: MeasureOptions,
): Omit<Run, 'round'> {
  const all = made.rate * seconds;
  const isOfHits = load.handler === 'rests' && contender.isCache && handled > FORGIVEN_MISSES * all;
  const isOfFresh = load.handler === 'behind' && handled < LEAST_REFRESHED * all;
  if (!isOfHits && !isOfFresh) return made;
  const reason = isOfHits ? `${handled} requests were no hits` : `only ${handled} requests ran a handler`;
  return { ...made, isCounted: false, reason: made.reason ? `${made.reason}; ${reason}` : reason };
}

function describe({ rate, busy, cpu, reason, latency, purges }: Run): string {
  const percent = `${(100 * busy).toFixed(1)} %`;
  const parts = [
    `${rate.toFixed(0).padStart(8)}/s  ${percent.padStart(7)} busy  ${cpu.toFixed(1).padStart(7)} µs`,
  ];
  if (latency) parts.push(`p50 ${latency.p50.toFixed(2)} p99 ${latency.p99.toFixed(2)} ms`);
  if (purges !== undefined) parts.push(`${purges.toFixed(0)} purges/s`);
  if (reason !== undefined) parts.push(`not counted: ${reason}`);
  return parts.join('  ');
}

async function storming(entrant: Entrant, load: Load, run: () => Promise<Omit<Run, 'round'>>) {
  if (load.purges === undefined) return run();
  const { running } = entrant;
  await running.storm(load.purges);
  const [before, begin] = [(await running.state()).purges, performance.now()];
  const made = await run();
  const purges = (((await running.state()).purges - before) / (performance.now() - begin)) * 1000;
  await running.storm(0);
  return { ...made, purges };
}

async function runOnce(entrant: Entrant, load: Load, options: MeasureOptions): Promise<Omit<Run, 'round'>> {
  if (load.model === 'open') return openRun(entrant, load, options);
  const { rate, refused, failed, window } = await runWrk(
    wrkRunOf(entrant, load, options.seconds),
    entrant.running.pid,
  );
  const reasons: string[] = [];
  if (refused > 0) reasons.push(`${refused} answers were no success`);
  if (failed > 0) reasons.push(`${failed} socket errors`);
  if (!load.isNeverBusy && !isBusy(window)) reasons.push('the server was not busy');
  if (rate === 0) reasons.push('no answers');
  // 0 without responses, because results.json cannot represent NaN.
  const cpu = rate === 0 ? 0 : ((window.cpu / window.wall) * 1e6) / rate;
  return countedOr(reasons, { rate, busy: window.busy, cpu });
}

/** Tolerated delay of the last response after its due time. */
const FORGIVEN_SECONDS = 0.5;

async function openRun(entrant: Entrant, load: Load, options: MeasureOptions): Promise<Omit<Run, 'round'>> {
  const rate = options.rate as number;
  const { running, verified } = entrant;
  const { done, failed, late, seconds, window, latency } = await runOpenLoad(
    {
      port: running.port,
      path: load.path,
      headers: verified.headers,
      status: load.isConditional ? 304 : 200,
      connections: load.connections,
      rate,
      seconds: options.seconds,
      // If Redis runs on the same core, the generator must sleep between requests.
      isSpinning: !load.hasRedis,
      ...(load.keys === undefined ? {} : { keys: load.keys }),
    },
    running.pid,
  );
  const reasons: string[] = [];
  if (failed > 0) reasons.push(`${failed} requests failed`);
  if (late) reasons.push('the generator could not hold the rate');
  if (seconds > options.seconds + FORGIVEN_SECONDS) reasons.push('the server fell behind the rate');
  const made = done / seconds;
  return countedOr(reasons, {
    rate: made,
    busy: window.busy,
    cpu: done === 0 ? 0 : (window.cpu * 1e6) / done,
    latency,
  });
}

function countedOr<T extends object>(reasons: readonly string[], run: T) {
  if (reasons.length === 0) return { ...run, isCounted: true };
  return { ...run, isCounted: false, reason: reasons.join('; ') };
}

/** Headers that Node adds by itself, also for a replay. */
const OF_NODE = new Set(['date', 'connection', 'keep-alive']);

/** Records hotpath's response under this load, for contenders that replay it. Returns the file. */
async function makeReference(load: Load, options: MeasureOptions): Promise<string | undefined> {
  if (!load.contenders.some((id) => options.contenders.includes(id) && contenderOf(id).isReplay))
    return undefined;
  for (const id of ['hotpath-front', 'hotpath']) {
    const entrant = await enter(contenderOf(id), load, { ...options, nodeArguments: [] }, undefined);
    if ('absent' in entrant) continue;
    const { answer } = entrant.verified;
    await entrant.running.stop();
    const pairs: [string, string][] = [];
    for (let i = 0; i < answer.rawHeaders.length; i += 2) {
      const [name, value] = answer.rawHeaders.slice(i, i + 2) as [string, string];
      if (!OF_NODE.has(name.toLowerCase())) pairs.push([name, value]);
    }
    const reference: Reference = {
      status: answer.status,
      headers: pairs,
      body: answer.body.toString('base64'),
    };
    const file = join(BUILT, `reference-${load.id}.json`);
    writeFileSync(file, JSON.stringify(reference));
    return file;
  }
  throw new Error('hotpath gave no answer that others could replay');
}
