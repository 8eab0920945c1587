// CPU time of processes, as Linux counts it: user and system time of all threads, in ticks of 1/100 s.
import { readdirSync, readFileSync } from 'node:fs';
import { SERVER_CORE } from './cores.mjs';

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

/** What is read at both ends of a run. Seconds. */
export interface Sample {
  /** CPU time of the server so far. */
  readonly cpu: number;
  /** Time in which its core had nothing to do. */
  readonly idle: number;
}

export interface Window {
  /**
   * Share of the time in which the server's core had something to do, 0 to 1. What the kernel does there for the
   * network is the server's as well, but stands in the books of no process.
   */
  readonly busy: number;
  /** CPU seconds of the server. */
  readonly cpu: number;
  /** Seconds of the wall clock. */
  readonly wall: number;
}

export function sampleOf(server: number): Sample {
  return { cpu: cpuSeconds(server), idle: idleSeconds(readFileSync('/proc/stat', 'utf8'), SERVER_CORE) };
}

/** Reads `/proc/stat`: how long a core has been idle, or waited for a disk. */
export function idleSeconds(stat: string, core: string): number {
  const fields = new RegExp(`^cpu${core} (.*)$`, 'm').exec(stat)?.[1]?.trim().split(/ +/);
  if (!fields) throw new Error(`/proc/stat knows no core ${core}`);
  return (Number(fields[3]) + Number(fields[4])) / TICKS_PER_SECOND;
}

export function windowOf(before: Sample, after: Sample, wall: number): Window {
  const idle = after.idle - before.idle;
  return { busy: wall > 0 ? Math.max(0, 1 - idle / wall) : 0, cpu: after.cpu - before.cpu, wall };
}

export function isBusy({ busy }: Window): boolean {
  return busy >= BUSY_BOUND;
}
