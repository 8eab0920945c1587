// Child processes that end with the benchmark, however it ends.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';

const children = new Set<ChildProcess>();

/** Starts a program on one core. It ends with the benchmark at the latest. */
export function spawnOn(core: string, command: readonly string[], options: SpawnOptions): ChildProcess {
  if (children.size === 0 && process.listenerCount('SIGTERM') === 0) endThemWithUs();
  const child = spawn('taskset', ['-c', core, ...command], options);
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

function endThemWithUs(): void {
  process.on('exit', () => {
    for (const child of children) child.kill('SIGTERM');
  });
  // Without a listener, these signals end the process without an `exit` event.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
}
