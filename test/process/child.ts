import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { program } from '../helpers/program.js';

/** A running program of `children/`. */
export interface Child {
  readonly process: ChildProcess;
  readonly port: number;
  /** Resolves with the exit code and the signal. */
  readonly exited: Promise<unknown[]>;
  /** The output so far, of both streams. */
  output(): string;
  /** Sends a message and resolves with the next message from the program. */
  tell(message: string): Promise<unknown>;
}

/**
 * Starts a TypeScript program that sends its port as its first message.
 *
 * @param flags of Node.
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
