// CPU time of processes, as Linux counts it: user and system time of all threads, in ticks of 1/100 s.
import { readdirSync, readFileSync } from 'node:fs';
import { SERVER_CORE } from './cores.mjs';

/** Linux reports 100 ticks per second to user space on every architecture that Node supports (USER_HZ). */
const TICKS_PER_SECOND = 100;

export interface Stat {
  readonly pid: number;
  readonly parent: number;
  /** User and system time of the whole process. Seconds. */
  readonly seconds: number;
}

/**
 * Parses a line of `/proc/PID/stat`. The program name, in parentheses, may contain spaces and parentheses.
 */
export function parseStat(line: string): Stat {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  // Field 3 of proc(5), the state, is the first here: ppid is field 4, utime 14, stime 15.
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { pid: Number.parseInt(line, 10), parent: Number(fields[1]), seconds: ticks / TICKS_PER_SECOND };
}

/** A process and all its descendants. */
export function familyOf(root: number, stats: readonly Stat[]): number[] {
  const family = new Set([root]);
  for (let size = 0; size < family.size; ) {
    size = family.size;
    for (const { pid, parent } of stats) if (family.has(parent)) family.add(pid);
  }
  return [...family];
}

/** CPU time so far of a process and its descendants. Seconds. */
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
      // The process has ended in the meantime.
    }
  }
  return stats;
}

/** Minimum share of its core for a run to count. Below it, the server was waiting for the generator. */
export const BUSY_BOUND = 0.95;

/** The values at the start or the end of a run. Seconds. */
export interface Sample {
  /** CPU time of the server so far. */
  readonly cpu: number;
  /** Idle time of its core. */
  readonly idle: number;
}

export interface Window {
  /**
   * Share of the time in which the server's core was busy, 0 to 1. It includes the kernel's work for the
   * network, which no process is charged for.
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

/** Reads from `/proc/stat` how long a core was idle or waited for a disk. */
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
