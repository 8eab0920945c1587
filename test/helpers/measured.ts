import { fork } from 'node:child_process';
import { once } from 'node:events';
import { program } from './program.js';

/** Counters in shared memory: reading them costs the server nothing. */
export interface Counts {
  /** Requests that reached the handler. */
  readonly calls: number;
  /** Open connections. */
  readonly connections: number;
}

/** Resources that a server has used so far. Bytes and milliseconds. */
export interface Usage extends Counts {
  /** After garbage collection. */
  rss: number;
  /** The heap and its external memory, after garbage collection. */
  used: number;
  /** The highest resident set since the last measurement, before garbage collection. */
  peak: number;
  /** CPU time since the start. */
  cpu: number;
}

/** A server in its own process. */
export interface Measured {
  port: number;
  count(): Promise<Counts>;
  measure(): Promise<Usage>;
  close(): Promise<void>;
}

/** Starts one of the apps of test/middleware/fixtures/measured.mts, with the Node that runs the tests. */
export async function startMeasured(app: string, major: string): Promise<Measured> {
  const { execArgv, file } = program('test/middleware/fixtures/measured.mts');
  const child = fork(file, [app, major], {
    execArgv: ['--expose-gc', ...execArgv],
    // glibc gives each thread of the zlib pool an arena. Arenas fill unevenly, which looks like a leak.
    env: { ...process.env, MALLOC_ARENA_MAX: '1' },
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  const ask = async <Answer>(question: 'count' | 'measure'): Promise<Answer> => {
    const answer = once(child, 'message');
    child.send(question);
    return ((await answer) as [Answer])[0];
  };
  return {
    port,
    count: () => ask<Counts>('count'),
    measure: () => ask<Usage>('measure'),
    async close() {
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}
