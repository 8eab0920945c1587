import { fork } from 'node:child_process';
import { program } from '../helpers/program.js';
import type { RunOptions, RunReport } from './run.js';

const RUN_LIMIT = 3 * 60_000;

/** One run of the suite, in its own process. */
export function runInChild(options: RunOptions): Promise<RunReport> {
  return new Promise((resolve, reject) => {
    const { execArgv, file } = program('test/conformance/run.ts');
    const child = fork(file, [JSON.stringify(options)], { execArgv: [...execArgv] });
    const timer = setTimeout(() => child.kill(), RUN_LIMIT);
    child.once('message', (report) => resolve(report as RunReport));
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(
        new Error(`the run on Express ${options.express} (${options.profile}) ended with ${signal ?? code}`),
      );
    });
  });
}
