// Starts and stops contenders, each in its own process on the server's core.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Question, Settings, State } from '../contenders/settings.mjs';
import { builtFile } from './build.mjs';
import { spawnOn } from './children.mjs';
import { GENERATOR_CORE, SERVER_CORE } from './cores.mjs';

/** A running contender. */
export interface Running {
  readonly port: number;
  /** Its process; descendants count too. */
  readonly pid: number;
  /** State of the app: of the contender, or of the origin behind it. */
  state(): Promise<State>;
  storm(perSecond: number): Promise<void>;
  stop(): Promise<void>;
}

/** A contender that cannot run here, with the reason for the report. */
export class Absent extends Error {}

const READY_WITHIN_MS = 60_000;

export interface NodeOptions {
  readonly core?: string;
  readonly nodeArguments?: readonly string[] | undefined;
}

/** Starts a Node server: a file of `bench/contenders`. */
export async function startNode(
  file: string,
  settings: Settings,
  options: NodeOptions = {},
): Promise<Running> {
  const { core = SERVER_CORE, nodeArguments = [] } = options;
  const child = spawnOn(core, [process.execPath, ...nodeArguments, builtFile(file)], {
    env: { ...process.env, NODE_ENV: 'production', BENCH_SETTINGS: JSON.stringify(settings) },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const errors = errorsOf(child);
  const ready = await firstMessage(child, errors);
  if (ready.absent !== undefined) throw new Absent(ready.absent);
  const ask = async (question: Question): Promise<State> => {
    const answer = once(child, 'message', { signal: AbortSignal.timeout(READY_WITHIN_MS) });
    child.send(question);
    return ((await answer) as [State])[0];
  };
  return {
    port: ready.port as number,
    pid: child.pid as number,
    state: () => ask({ ask: 'state' }),
    storm: async (perSecond) => void (await ask({ ask: 'storm', perSecond })),
    stop: () => stopNode(child),
  };
}

/** Keeps the last lines of a process's standard error. */
export function errorsOf(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (more: string) => {
    text = (text + more).slice(-2000);
  });
  return () => text.trim();
}

async function firstMessage(
  child: ChildProcess,
  errors: () => string,
): Promise<{ port?: number; absent?: string }> {
  const signal = AbortSignal.timeout(READY_WITHIN_MS);
  const gone = once(child, 'exit', { signal }).then(() => {
    throw new Error(`it ended before it listened: ${errors()}`);
  });
  gone.catch(() => undefined);
  const [message] = await Promise.race([once(child, 'message', { signal }), gone]);
  return message;
}

async function stopNode(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.send({ ask: 'stop' } satisfies Question, () => undefined);
  const impatience = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await gone;
  clearTimeout(impatience);
}

/** The app behind a proxy, on the generator's core. It is idle once the proxy has cached the responses. */
export function startOrigin(): Promise<Running> {
  return startNode('contenders/express-compression.mts', { isOrigin: true }, { core: GENERATOR_CORE });
}
