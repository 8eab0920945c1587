import { statfs } from 'node:fs/promises';
import { availableParallelism, loadavg, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type CgroupReading, readCgroup, readText } from './cgroup.js';

/** The limits of the container, as control groups give them. */
export interface ContainerFigures {
  /** Version of the control groups. */
  readonly version: 1 | 2;
  /** `null`: no limit. */
  readonly memoryLimitBytes: number | null;
  readonly memoryUsedBytes: number | null;
  /** The CPU quota in cores; `null`: none. */
  readonly cpuQuotaCores: number | null;
  /** Share of the quota's periods over the last window in which the quota was used up, from 0 to 1. */
  readonly throttledRatio: number;
  /** Time over the last window that threads have waited for the next period. */
  readonly throttledSeconds: number;
}

/** A file system, as `df` shows it. */
export interface DiskFigures {
  readonly path: string;
  readonly usedBytes: number;
  /** Free space for users other than root. */
  readonly availableBytes: number;
  /** `used / (used + available)`, from 0 to 1. */
  readonly usedRatio: number;
}

/** The machine, as this process sees it. `null`: see `unavailable`. */
export interface HostFigures {
  /** CPU cores that this process may use. */
  readonly cores: number;
  /** Share of the time over the last window in which the CPUs of the machine were busy, from 0 to 1. */
  readonly cpuRatio: number | null;
  /** Processes that run or wait to, on average over 1, 5 and 15 minutes. */
  readonly load: readonly [number, number, number] | null;
  readonly memoryTotalBytes: number;
  /** Memory that can be taken without swapping. */
  readonly memoryAvailableBytes: number | null;
  /** The most memory for this process and its container: the tightest limit, or the memory of the machine. */
  readonly memoryLimitBytes: number;
  readonly container: ContainerFigures | null;
  readonly disk: DiskFigures | null;
  /** Traffic of all interfaces but the loopback. */
  readonly network: { readonly receivedBytesPerSecond: number; readonly sentBytesPerSecond: number } | null;
  /** Why a figure is `null`, by its name. */
  readonly unavailable: Readonly<Record<string, string>>;
}

/** Counts that only grow; `undefined` where they cannot be read. */
export interface HostTotals {
  /** Bytes of all interfaces but the loopback, since the start of the machine. */
  readonly network: { readonly received: number; readonly sent: number } | undefined;
  readonly cgroup: CgroupReading | undefined;
}

/** Where the figures are read. */
export interface HostSources {
  readonly procRoot: string;
  readonly cgroupRoot: string;
  /** A path on the file system that is watched. */
  readonly diskPath: string;
}

/** Numbers that only grow, of which two readings make a rate. */
interface Counters extends HostTotals {
  readonly at: number;
  readonly cpu: { readonly busy: number; readonly all: number } | undefined;
}

/**
 * The memory that a process may take. `process.constrainedMemory()` says 1.8e19, or 0, where there is no limit.
 */
export function clampMemoryLimit(constrained: number | null | undefined, totalBytes: number): number {
  return constrained && constrained > 0 ? Math.min(constrained, totalBytes) : totalBytes;
}

/** Beside the figures, which are plain data for operators. */
const totalsByFigures = new WeakMap<HostFigures, HostTotals>();

/** The counts that were read with figures of a window. */
export function totalsOf(figures: HostFigures): HostTotals | undefined {
  return totalsByFigures.get(figures);
}

/** Reads the figures of the machine, window by window; it never rejects. */
export class HostSampler {
  readonly #sources: HostSources;
  #last: Counters | undefined;

  constructor(sources: HostSources) {
    this.#sources = sources;
  }

  async rotate(): Promise<HostFigures> {
    const { procRoot, cgroupRoot, diskPath } = this.#sources;
    const [stat, meminfo, devices, cgroup, disk] = await Promise.all([
      readText(join(procRoot, 'stat')),
      readText(join(procRoot, 'meminfo')),
      readText(join(procRoot, 'net/dev')),
      readCgroup(procRoot, cgroupRoot),
      readDisk(diskPath),
    ]);
    const now: Counters = {
      at: performance.now(),
      cpu: parseCpu(stat),
      network: parseNetwork(devices),
      cgroup,
    };
    const before = this.#last;
    this.#last = now;
    const figures = describeHost(now, before, parseAvailable(meminfo), disk);
    totalsByFigures.set(figures, now);
    return figures;
  }
}

function describeHost(
  now: Counters,
  before: Counters | undefined,
  available: number | null,
  disk: DiskFigures | null,
): HostFigures {
  const total = totalmem();
  const unavailable: Record<string, string> = {};
  const orWhy = <T>(name: string, value: T | null, why: string): T | null => {
    if (value === null) unavailable[name] = why;
    return value;
  };
  const isLinux = platform() === 'linux';
  const needs = (file: string) => (isLinux ? `${file} cannot be read` : `needs ${file} of Linux`);
  const first = 'the first reading: it needs two';
  const seconds = before ? (now.at - before.at) / 1000 : 0;
  const load = loadavg() as [number, number, number];
  const limit = clampMemoryLimit(process.constrainedMemory?.(), total);
  return {
    cores: availableParallelism(),
    cpuRatio: orWhy('cpuRatio', cpuRatio(now, before), now.cpu ? first : needs('/proc/stat')),
    load: orWhy('load', platform() === 'win32' ? null : load, 'Windows has no load average'),
    memoryTotalBytes: total,
    memoryAvailableBytes: orWhy('memoryAvailableBytes', available, needs('/proc/meminfo')),
    memoryLimitBytes: clampMemoryLimit(now.cgroup?.memoryLimitBytes, limit),
    container: orWhy(
      'container',
      now.cgroup ? describeContainer(now.cgroup, before?.cgroup, total) : null,
      needs('/sys/fs/cgroup'),
    ),
    disk: orWhy('disk', disk, 'statfs failed'),
    network: orWhy(
      'network',
      networkRates(now, before, seconds),
      now.network ? first : needs('/proc/net/dev'),
    ),
    unavailable,
  };
}

function cpuRatio({ cpu }: Counters, before: Counters | undefined): number | null {
  if (!cpu || !before?.cpu) return null;
  const all = cpu.all - before.cpu.all;
  return all > 0 ? Math.min(1, Math.max(0, (cpu.busy - before.cpu.busy) / all)) : null;
}

function networkRates(
  { network }: Counters,
  before: Counters | undefined,
  seconds: number,
): HostFigures['network'] {
  if (!network || !before?.network || seconds <= 0) return null;
  // An interface that is gone takes its counts with it.
  const rate = (now: number, then: number) => Math.max(0, now - then) / seconds;
  return {
    receivedBytesPerSecond: rate(network.received, before.network.received),
    sentBytesPerSecond: rate(network.sent, before.network.sent),
  };
}

function describeContainer(
  now: CgroupReading,
  before: CgroupReading | undefined,
  totalBytes: number,
): ContainerFigures {
  const { memoryLimitBytes } = now;
  const periods = before ? now.periods - before.periods : 0;
  const throttled = before ? now.throttledPeriods - before.throttledPeriods : 0;
  return {
    version: now.version,
    memoryLimitBytes: memoryLimitBytes !== null && memoryLimitBytes < totalBytes ? memoryLimitBytes : null,
    memoryUsedBytes: now.memoryUsedBytes,
    cpuQuotaCores: now.cpuQuotaCores,
    throttledRatio: periods > 0 ? Math.min(1, Math.max(0, throttled / periods)) : 0,
    throttledSeconds: before ? Math.max(0, now.throttledSeconds - before.throttledSeconds) : 0,
  };
}

/** `cpu  user nice system idle iowait irq softirq steal …`, in ticks; guests are counted in the first two. */
function parseCpu(stat: string | undefined): Counters['cpu'] {
  const line = /^cpu +(.+)$/m.exec(stat ?? '')?.[1];
  if (line === undefined) return undefined;
  const ticks = line.split(' ').slice(0, 8).map(Number);
  const all = ticks.reduce((sum, each) => sum + each, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  return Number.isFinite(all) ? { busy: all - idle, all } : undefined;
}

function parseAvailable(meminfo: string | undefined): number | null {
  const kilobytes = /^MemAvailable: +(\d+) kB$/m.exec(meminfo ?? '')?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * 1024;
}

/** `name: received packets … sent packets …`: bytes are the first and the ninth number. */
function parseNetwork(devices: string | undefined): Counters['network'] {
  if (devices === undefined) return undefined;
  let received = 0;
  let sent = 0;
  for (const line of devices.split('\n')) {
    const [, name, numbers] = /^\s*([^:\s]+):\s*(.+)$/.exec(line) ?? [];
    if (name === undefined || name === 'lo') continue;
    const columns = numbers!.trim().split(/\s+/).map(Number);
    received += columns[0] || 0;
    sent += columns[8] || 0;
  }
  return { received, sent };
}

async function readDisk(path: string): Promise<DiskFigures | null> {
  try {
    return diskFigures(path, await statfs(path));
  } catch {
    return null;
  }
}

/** As `df` computes it: what only root may use is neither used nor available. */
export function diskFigures(
  path: string,
  stats: { readonly bsize: number; readonly blocks: number; readonly bfree: number; readonly bavail: number },
): DiskFigures {
  const usedBytes = (stats.blocks - stats.bfree) * stats.bsize;
  const availableBytes = stats.bavail * stats.bsize;
  const usable = usedBytes + availableBytes;
  return { path, usedBytes, availableBytes, usedRatio: usable > 0 ? usedBytes / usable : 0 };
}
