// For scripts that run programs, each in its own process group, so that children of a hung run end with it.
import { spawn } from 'node:child_process';

const running = new Set();

/** Starts a program in its own process group. */
export function spawnGroup(program, args, options) {
  const child = spawn(program, args, { ...options, detached: true });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Ends a program with its children. */
export function killGroup(child) {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Already ended.
  }
}

/** Ends the running programs with this process on a signal. */
export function endWithSignals() {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => {
      for (const child of running) killGroup(child);
      process.exit(1);
    });
  }
}

/** The names that `--only a,b` gives, or all. Ends with 2 if one is unknown. */
export function readOnly(only, known) {
  const names = only?.split(',').map((name) => name.trim()) ?? known;
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return names;
  console.error(`--only ${unknown}: expected some of ${known.join(', ')}, parted by commas`);
  process.exit(2);
}
