import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Limits and use of a container, from the control groups of Linux. `null`: no limit, or not known. */
export interface CgroupReading {
  readonly version: 1 | 2;
  readonly memoryLimitBytes: number | null;
  readonly memoryUsedBytes: number | null;
  /** The CPU quota, in cores. */
  readonly cpuQuotaCores: number | null;
  /** Periods of the CPU quota since the start, and those of them in which the quota was used up. */
  readonly periods: number;
  readonly throttledPeriods: number;
  /** Time since the start that threads have waited for the next period. */
  readonly throttledSeconds: number;
}

/** Version 1 says "no limit" by the largest number of whole pages. */
const LARGEST_LIMIT = 2 ** 60;

/**
 * Reads the control groups of this process. Limits may be set at any level, so the tightest counts.
 *
 * @param procRoot where `/proc` is mounted.
 * @param cgroupRoot where `/sys/fs/cgroup` is mounted.
 * @returns `undefined` where there is none.
 */
export async function readCgroup(procRoot: string, cgroupRoot: string): Promise<CgroupReading | undefined> {
  const groups = await readText(join(procRoot, 'self/cgroup'));
  if (groups === undefined) return undefined;
  const lines = groups.split('\n').map((line) => line.split(':'));
  const pathOfController = (name: string) => {
    const line = lines.find(([, controllers]) => controllers?.split(',').includes(name));
    return line?.slice(2).join(':');
  };
  const cpu = pathOfController('cpu');
  const memory = pathOfController('memory');
  if (cpu !== undefined || memory !== undefined) return readVersion1(cgroupRoot, cpu, memory);
  const unified = lines.find(([id]) => id === '0');
  return unified && readVersion2(cgroupRoot, unified.slice(2).join(':'));
}

async function readVersion2(root: string, path: string): Promise<CgroupReading | undefined> {
  const folders = await levels(root, path, 'cgroup.controllers');
  const readings = await Promise.all(
    folders.map(async (folder) => {
      const [max, used, quota, stat] = await readAllFiles(folder, [
        'memory.max',
        'memory.current',
        'cpu.max',
        'cpu.stat',
      ]);
      const [allowed, period] = (quota ?? '').trim().split(' ');
      const words = readWords(stat);
      return {
        limit: readNumber(max),
        used: readNumber(used),
        cores: allowed === undefined || allowed === 'max' ? null : quotaOf(Number(allowed), Number(period)),
        periods: words.get('nr_periods') ?? 0,
        throttledPeriods: words.get('nr_throttled') ?? 0,
        throttledSeconds: (words.get('throttled_usec') ?? 0) / 1e6,
      };
    }),
  );
  return combine(2, readings);
}

async function readVersion1(
  root: string,
  cpuPath: string | undefined,
  memoryPath: string | undefined,
): Promise<CgroupReading | undefined> {
  const cpuFolders =
    cpuPath === undefined
      ? []
      : [
          ...(await levels(join(root, 'cpu'), cpuPath, 'cpu.shares')),
          ...(await levels(join(root, 'cpu,cpuacct'), cpuPath, 'cpu.shares')),
        ];
  const memoryFolders =
    memoryPath === undefined ? [] : await levels(join(root, 'memory'), memoryPath, 'memory.limit_in_bytes');
  const ofMemory = memoryFolders.map(async (folder) => {
    const [limit, used] = await readAllFiles(folder, ['memory.limit_in_bytes', 'memory.usage_in_bytes']);
    return { ...NOTHING, limit: readNumber(limit), used: readNumber(used) };
  });
  const ofCpu = cpuFolders.map(async (folder) => {
    const [quota, period, stat] = await readAllFiles(folder, [
      'cpu.cfs_quota_us',
      'cpu.cfs_period_us',
      'cpu.stat',
    ]);
    const words = readWords(stat);
    return {
      ...NOTHING,
      cores: quotaOf(Number(quota), Number(period)),
      periods: words.get('nr_periods') ?? 0,
      throttledPeriods: words.get('nr_throttled') ?? 0,
      throttledSeconds: (words.get('throttled_time') ?? 0) / 1e9,
    };
  });
  return combine(1, await Promise.all([...ofMemory, ...ofCpu]));
}

/** The values of one level. */
interface CgroupLevel {
  readonly limit: number | null;
  readonly used: number | null;
  readonly cores: number | null;
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttledSeconds: number;
}

const NOTHING: CgroupLevel = {
  limit: null,
  used: null,
  cores: null,
  periods: 0,
  throttledPeriods: 0,
  throttledSeconds: 0,
};

/** @param readings the innermost level first. */
function combine(version: 1 | 2, readings: readonly CgroupLevel[]): CgroupReading | undefined {
  if (readings.length === 0) return undefined;
  const least = (values: readonly (number | null)[]) => {
    const known = values.filter((value) => value !== null);
    return known.length > 0 ? Math.min(...known) : null;
  };
  const worst = readings.reduce((a, b) => (b.throttledSeconds > a.throttledSeconds ? b : a));
  return {
    version,
    memoryLimitBytes: least(readings.map(({ limit }) => limit)),
    memoryUsedBytes: readings.find(({ used }) => used !== null)?.used ?? null,
    cpuQuotaCores: least(readings.map(({ cores }) => cores)),
    periods: worst.periods,
    throttledPeriods: worst.throttledPeriods,
    throttledSeconds: worst.throttledSeconds,
  };
}

/**
 * The folders of a group and of those around it, the innermost first. Within a container the path may be that of the
 * host, which is not there: then the root alone.
 *
 * @param mark a file that each of them has.
 */
async function levels(root: string, path: string, mark: string): Promise<string[]> {
  const names = path.split('/').filter((name) => name !== '' && name !== '..');
  const folders: string[] = [];
  for (let length = names.length; length >= 0; length--) {
    const folder = join(root, ...names.slice(0, length));
    // The root of the machine has no limits, and few files.
    if (length === 0 || (await readText(join(folder, mark))) !== undefined) folders.push(folder);
  }
  const [innermost] = folders;
  const isThere = innermost !== undefined && (folders.length > 1 || (await isGroup(innermost, mark)));
  return isThere ? folders : [];
}

async function isGroup(folder: string, mark: string): Promise<boolean> {
  return (await readText(join(folder, mark))) !== undefined;
}

function quotaOf(quota: number, period: number): number | null {
  return quota > 0 && period > 0 ? quota / period : null;
}

function readNumber(text: string | undefined): number | null {
  const value = Number.parseInt(text ?? '', 10);
  return Number.isFinite(value) && value >= 0 && value < LARGEST_LIMIT ? value : null;
}

/** `name value`, a pair a line. */
function readWords(text: string | undefined): ReadonlyMap<string, number> {
  const pairs = (text ?? '').split('\n').map((line): [string, number] => {
    const [name = '', value] = line.split(' ');
    return [name, Number(value)];
  });
  return new Map(pairs.filter(([, value]) => Number.isFinite(value)));
}

function readAllFiles(folder: string, names: readonly string[]): Promise<(string | undefined)[]> {
  return Promise.all(names.map((name) => readText(join(folder, name))));
}

/** The text of a file; `undefined` where it cannot be read. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}
