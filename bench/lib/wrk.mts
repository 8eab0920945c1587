// The closed-model generator: wrk, on a core of its own.
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ROOT } from './build.mjs';
import { spawnOn } from './children.mjs';
import { GENERATOR_CORE } from './cores.mjs';
import { sampleOf, type Window, windowOf } from './cpu.mjs';

export interface WrkOutput {
  readonly requests: number;
  readonly seconds: number;
  /** Requests per second. */
  readonly rate: number;
  /** Responses other than 2xx and 3xx. */
  readonly refused: number;
  /** Connect, read and write errors, and timeouts. */
  readonly failed: number;
}

const UNITS: Record<string, number> = { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Parses the output of wrk. */
export function parseWrk(output: string): WrkOutput {
  const total = /(\d+) requests in ([\d.]+)(us|ms|s|m|h),/.exec(output);
  const rate = /Requests\/sec:\s+([\d.]+)/.exec(output);
  if (!total || !rate) throw new Error(`wrk printed no result: ${output.slice(0, 500)}`);
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output);
  const refused = /Non-2xx or 3xx responses: (\d+)/.exec(output);
  return {
    requests: Number(total[1]),
    seconds: Number(total[2]) * (UNITS[total[3] as string] as number),
    rate: Number(rate[1]),
    refused: Number(refused?.[1] ?? 0),
    failed: (errors?.slice(1) ?? []).reduce((sum, count) => sum + Number(count), 0),
  };
}

export interface WrkRun {
  readonly port: number;
  readonly path: string;
  readonly seconds: number;
  readonly connections: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** File of a Lua script, with its arguments. */
  readonly script?: string;
  readonly args?: readonly (string | number)[];
}

export function wrkArguments({ port, path, seconds, connections, headers, script, args }: WrkRun): string[] {
  return [
    ...['-t', '1', '-c', String(connections), '-d', `${seconds}s`],
    ...Object.entries(headers ?? {}).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    ...(script === undefined ? [] : ['-s', script]),
    `http://127.0.0.1:${port}${path}`,
    ...(args === undefined ? [] : ['--', ...args.map(String)]),
  ];
}

/**
 * Runs wrk against a server and measures the server's CPU time, except at the very beginning and end, when
 * the generator connects and prints.
 */
export async function runWrk(run: WrkRun, server: number): Promise<WrkOutput & { window: Window }> {
  const child = spawnOn(GENERATOR_CORE, ['wrk', ...wrkArguments(run)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8');
    stream?.on('data', (text: string) => {
      output += text;
    });
  }
  const closed = once(child, 'close') as Promise<[number]>;
  const begin = Math.min(250, run.seconds * 200);
  const end = run.seconds * 1000 - Math.min(150, run.seconds * 100);
  await delay(begin);
  const [before, started] = [sampleOf(server), performance.now()];
  await delay(end - begin);
  const [after, stopped] = [sampleOf(server), performance.now()];
  const [code] = await closed;
  if (code !== 0) throw new Error(`wrk failed (${code}): ${output.trim()}`);
  return { ...parseWrk(output), window: windowOf(before, after, (stopped - started) / 1000) };
}

export type Script = 'sequence' | 'cycle' | 'uniform' | 'zipf' | 'fill';

/** The file of one of the scripts. */
export function scriptFile(script: Script): string {
  return join(ROOT, 'bench', 'wrk', `${script}.lua`);
}

const CONNECTIONS = 32;

export function runScript(script: Script, run: Omit<WrkRun, 'connections' | 'script'>, server: number) {
  return runWrk({ ...run, connections: CONNECTIONS, script: scriptFile(script) }, server);
}

/** Time limit for requesting all keys. Seconds. */
const ASKED_WITHIN = 1_200;

/** Runs a script that ends once all keys were requested. */
export async function askScript(
  script: Script,
  run: Omit<WrkRun, 'connections' | 'script' | 'seconds'>,
): Promise<void> {
  const all = { ...run, seconds: ASKED_WITHIN, connections: CONNECTIONS, script: scriptFile(script) };
  const child = spawnOn(GENERATOR_CORE, ['wrk', ...wrkArguments(all)], { stdio: 'ignore' });
  const begin = performance.now();
  const [code] = (await once(child, 'exit')) as [number];
  if (code !== 0 || performance.now() - begin >= ASKED_WITHIN * 1000) {
    throw new Error('not all keys could be asked for');
  }
}
