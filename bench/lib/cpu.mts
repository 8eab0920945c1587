// CPU time of processes, as Linux counts it: user and system time of all threads, in ticks of 1/100 s.
import { readdirSync, readFileSync } from 'node:fs';

/** Linux tells user space 100 ticks a second on every architecture that Node runs on (USER_HZ). */
const TICKS_PER_SECOND = 100;

export interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** User and system time of the whole process. Seconds. */
  readonly seconds: number;
}

/** Reads a line of `/proc/PID/stat`. The name of the program, in parentheses, may itself hold spaces and parentheses. */
export function parseStat(line: string): Stat {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  // Field 3 of proc(5), the state, is the first here: ppid is field 4, utime 14, stime 15.
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { pid: Number.parseInt(line, 10), parent: Number(fields[1]), seconds: ticks / TICKS_PER_SECOND };
}

/** The processes that `root` started, and theirs, with itself. */
export function familyOf(root: number, stats: readonly Stat[]): number[] {
  const family = new Set([root]);
  for (let size = 0; size < family.size; ) {
    size = family.size;
    for (const { pid, parent } of stats) if (family.has(parent)) family.add(pid);
  }
  return [...family];
}

/** CPU time so far of a process and of all that it started. Seconds. */
export function cpuSeconds(root: number): number {
  const stats = allStats();
  const family = new Set(familyOf(root, stats));
  return stats.filter(({ pid }) => family.has(pid)).reduce((sum, { seconds }) => sum + seconds, 0);
}

function allStats(): Stat[] {
  const stats: Stat[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      stats.push(parseStat(readFileSync(`/proc/${name}/stat`, 'utf8')));
    } catch {
      // It ended while we looked.
    }
  }
  return stats;
}

/** What a run is counted from: a smaller share of its core, and the server was waiting for the generator. */
export const BUSY_BOUND = 0.95;

export interface Window {
  /** Share of one core that the server used, 0 to 1. */
  readonly busy: number;
  /** CPU seconds. */
  readonly cpu: number;
  /** Seconds of the wall clock. */
  readonly wall: number;
}

export function windowOf(before: number, after: number, wall: number): Window {
  const cpu = after - before;
  return { busy: wall > 0 ? cpu / wall : 0, cpu, wall };
}

export function isBusy({ busy }: Window): boolean {
  return busy >= BUSY_BOUND;
}
