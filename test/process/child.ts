import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { program } from '../helpers/program.js';

/** A program of `children/` that runs. */
export interface Child {
  readonly process: ChildProcess;
  readonly port: number;
  /** Resolves with the exit code and the signal. */
  readonly exited: Promise<unknown[]>;
  /** What it has written so far, to both outputs. */
  output(): string;
  /** Sends it a message and resolves with its next one. */
  tell(message: string): Promise<unknown>;
}

/**
 * Starts a program that sends its port as its first message. It is TypeScript, and sees the sources.
 *
 * @param flags for Node.
 */
export async function startChild(
  name: string,
  env: Record<string, string> = {},
  flags: readonly string[] = [],
): Promise<Child> {
  const { execArgv, file } = program(`test/process/children/${name}.ts`);
  const child = spawn(process.execPath, [...flags, ...execArgv, file], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text) => (output += text));
  child.stderr?.setEncoding('utf8').on('data', (text) => (output += text));
  const exited = once(child, 'exit');
  const first = await Promise.race([once(child, 'message'), exited.then(() => undefined)]);
  if (!first) throw new Error(`${name} ended before it listened:\n${output}`);
  return {
    process: child,
    port: first[0] as number,
    exited,
    output: () => output,
    async tell(message) {
      const answer = once(child, 'message');
      child.send(message);
      return (await answer)[0];
    },
  };
}
