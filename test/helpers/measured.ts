import { fork } from 'node:child_process';
import { once } from 'node:events';
import { program } from './program.js';

/** What a server has used so far. Bytes and milliseconds. */
export interface Usage {
  /** After garbage collection. */
  rss: number;
  /** Of the heap, and outside of it for its objects, after garbage collection. */
  used: number;
  /** The highest resident set since the last measurement, before garbage collection. */
  peak: number;
  /** How long the event loop was held up since the last measurement: the 99th percentile. */
  lag: number;
  /** Of the CPU, since the start. */
  cpu: number;
  /** Requests that reached the handler. */
  calls: number;
  /** Open connections. */
  connections: number;
}

/** A server in a process of its own. */
export interface Measured {
  port: number;
  measure(): Promise<Usage>;
  close(): Promise<void>;
}

/** Starts one of the apps of test/middleware/fixtures/measured.mts, with the Node that runs the tests. */
export async function startMeasured(app: string, major: string): Promise<Measured> {
  const { execArgv, file } = program('test/middleware/fixtures/measured.mts');
  const child = fork(file, [app, major], {
    execArgv: ['--expose-gc', ...execArgv],
    // glibc gives each thread of zlib's pool an arena, and these fill up unevenly: that is no leak.
    env: { ...process.env, MALLOC_ARENA_MAX: '1' },
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    port,
    async measure() {
      const answer = once(child, 'message');
      child.send('measure');
      return ((await answer) as [Usage])[0];
    },
    async close() {
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}
