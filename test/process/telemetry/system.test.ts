import { fork } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { createHistogram, performance } from 'node:perf_hooks';
import { hotpath } from 'hotpath';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type AdviceInput, adviseFrom } from '../../../src/telemetry/advice.js';
import { EventLoopWatch, readDelay } from '../../../src/telemetry/system/event-loop.js';
import { GarbageWatch } from '../../../src/telemetry/system/garbage-collector.js';
import { clampMemoryLimit, diskFigures, HostSampler } from '../../../src/telemetry/system/host-sampler.js';
import { OtherProcesses } from '../../../src/telemetry/system/other-processes.js';
import { ProcessSampler } from '../../../src/telemetry/system/process-sampler.js';
import { SharedSampler } from '../../../src/telemetry/system/shared-sampler.js';
import { waitFor } from '../../helpers/http.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hotpath-host-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true, force: true });
});

/** Writes files below a root of their own. */
function write(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}

const sampler = () =>
  new HostSampler({ procRoot: join(root, 'proc'), cgroupRoot: join(root, 'cgroup'), diskPath: root });

const PROC = {
  'proc/stat': 'cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 100 0 100 700 100 0 0 0 0 0\n',
  'proc/meminfo': 'MemTotal:       8000000 kB\nMemFree:  100 kB\nMemAvailable:   4000000 kB\n',
  'proc/net/dev':
    'Inter-|   Receive  |  Transmit\n face |bytes packets|bytes\n' +
    '    lo: 999999 1 0 0 0 0 0 0 999999 1 0 0 0 0 0 0\n  eth0: 1000 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n',
};

const V2 = {
  'proc/self/cgroup': '0::/app.slice/pod/box\n',
  'cgroup/cgroup.controllers': 'cpu memory\n',
  'cgroup/app.slice/cgroup.controllers': 'cpu memory\n',
  'cgroup/app.slice/pod/cgroup.controllers': 'cpu memory\n',
  'cgroup/app.slice/pod/memory.max': '536870912\n',
  'cgroup/app.slice/pod/cpu.max': '50000 100000\n',
  'cgroup/app.slice/pod/cpu.stat': 'usage_usec 9\nnr_periods 100\nnr_throttled 10\nthrottled_usec 2000000\n',
  'cgroup/app.slice/pod/box/cgroup.controllers': 'cpu memory\n',
  'cgroup/app.slice/pod/box/memory.max': 'max\n',
  'cgroup/app.slice/pod/box/memory.current': '104857600\n',
  'cgroup/app.slice/pod/box/cpu.max': 'max 100000\n',
  'cgroup/app.slice/pod/box/cpu.stat': 'usage_usec 9\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n',
};

const V1 = {
  'proc/self/cgroup': '5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/\n0::/\n',
  // As a container without a name space of its own sees them: the path is that of the host, and is not there.
  'cgroup/cpu,cpuacct/cpu.shares': '1024\n',
  'cgroup/cpu,cpuacct/cpu.cfs_quota_us': '150000\n',
  'cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
  'cgroup/cpu,cpuacct/cpu.stat': 'nr_periods 100\nnr_throttled 10\nthrottled_time 2000000000\n',
  'cgroup/memory/memory.limit_in_bytes': '268435456\n',
  'cgroup/memory/memory.usage_in_bytes': '104857600\n',
};

describe('figures of the machine', () => {
  it.each([
    ['version 2, limits of an outer group', V2, 2, 536_870_912, 0.5, 'cgroup/app.slice/pod/cpu.stat', 'usec'],
    ['version 1, in a container', V1, 1, 268_435_456, 1.5, 'cgroup/cpu,cpuacct/cpu.stat', 'time'],
  ] as const)('reads control groups: %s', async (_name, files, version, limit, cores, stat, unit) => {
    write({ ...PROC, ...files });
    const host = sampler();
    const first = await host.rotate();
    expect(first.container).toEqual({
      version,
      memoryLimitBytes: Math.min(limit, totalmem()) === limit ? limit : null,
      memoryUsedBytes: 104_857_600,
      cpuQuotaCores: cores,
      throttledRatio: 0,
      throttledSeconds: 0,
    });
    expect(first.memoryLimitBytes).toBe(Math.min(limit, totalmem()));
    const second = unit === 'usec' ? '3500000' : '3500000000';
    write({ [stat]: `nr_periods 200\nnr_throttled 28\nthrottled_${unit} ${second}\n` });
    const { container } = await host.rotate();
    expect(container!.throttledRatio).toBeCloseTo(0.18, 9);
    expect(container!.throttledSeconds).toBeCloseTo(1.5, 9);
  });

  it('takes the largest numbers of both versions for no limit', async () => {
    write({
      ...PROC,
      ...V1,
      'cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      'cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
    });
    const { container, memoryLimitBytes } = await sampler().rotate();
    expect(container).toMatchObject({ memoryLimitBytes: null, cpuQuotaCores: null });
    expect(memoryLimitBytes).toBeLessThanOrEqual(totalmem());
  });

  it('clamps the limit of a process to the memory of the machine', () => {
    expect(clampMemoryLimit(18_446_744_073_709_552_000, 8e9)).toBe(8e9);
    expect(clampMemoryLimit(0, 8e9)).toBe(8e9);
    expect(clampMemoryLimit(undefined, 8e9)).toBe(8e9);
    expect(clampMemoryLimit(1e9, 8e9)).toBe(1e9);
  });

  it('tells CPU and network between two readings, without the loopback', async () => {
    write(PROC);
    const host = sampler();
    const first = await host.rotate();
    expect(first).toMatchObject({ cpuRatio: null, network: null, memoryAvailableBytes: 4_000_000 * 1024 });
    expect(first.unavailable).toMatchObject({
      cpuRatio: 'the first reading: it needs two',
      network: 'the first reading: it needs two',
    });
    write({
      'proc/stat': 'cpu  200 0 150 750 150 0 50 0 0 0\n',
      'proc/net/dev': PROC['proc/net/dev'].replace('1000 1', '9000 1').replace(' 500 1', ' 2500 1'),
    });
    const { cpuRatio, network } = await host.rotate();
    expect(cpuRatio).toBeCloseTo(200 / 300, 9);
    expect(network!.receivedBytesPerSecond / network!.sentBytesPerSecond).toBeCloseTo(4, 6);
  });

  it('says why a figure is not there, and does not fail', async () => {
    const figures = await sampler().rotate();
    expect(figures).toMatchObject({
      cpuRatio: null,
      network: null,
      container: null,
      memoryAvailableBytes: null,
    });
    for (const name of ['cpuRatio', 'network', 'container', 'memoryAvailableBytes'])
      expect(figures.unavailable[name], name).toMatch(/\/proc|\/sys/);
  });

  it('tells the use of a disk as df does', async () => {
    const { disk } = await sampler().rotate();
    const { blocks, bfree, bavail } = statfsSync(root);
    expect(disk!.usedRatio).toBeCloseTo((blocks - bfree) / (blocks - bfree + bavail), 1);
    const stats = { bsize: 4096, blocks: 100, bfree: 30, bavail: 20 };
    expect(diskFigures('/', stats)).toEqual({
      path: '/',
      usedBytes: 70 * 4096,
      availableBytes: 20 * 4096,
      usedRatio: 70 / 90,
    });
  });
});

describe('the delay of the event loop', () => {
  it('is what goes beyond the resolution, and never negative', () => {
    const histogram = createHistogram();
    for (const ms of [20, 21, 120]) histogram.record(ms * 1e6);
    const { delay, isBlocked } = readDelay(histogram, 5000, 0.1, 20);
    expect(isBlocked).toBe(false);
    expect(delay!.max).toBeCloseTo(0.1, 2);
    expect(delay!.p50).toBeCloseTo(0.001, 3);
    const early = createHistogram();
    early.record(19e6);
    expect(readDelay(early, 5000, 0.1, 20).delay!.mean).toBe(0);
  });

  it('has no data in an empty window of an idle loop, and is infinite in one of a blocked loop', () => {
    expect(readDelay(createHistogram(), 10, 0.01, 20)).toEqual({ delay: null, isBlocked: false });
    expect(readDelay(createHistogram(), 5000, 0.01, 20).delay).toBeNull();
    const { delay, isBlocked } = readDelay(createHistogram(), 5000, 1, 20);
    expect(isBlocked).toBe(true);
    expect(delay!.p99).toBe(Number.POSITIVE_INFINITY);
  });

  it('shows a real block, and only in its own window', async () => {
    const watch = new EventLoopWatch();
    try {
      await new Promise((resolve) => setTimeout(resolve, 60));
      const first = watch.rotate();
      // At once: a block at the start of a window counts too.
      const until = performance.now() + 1000;
      while (performance.now() < until);
      await new Promise((resolve) => setTimeout(resolve, 30));
      const { delay, utilization } = watch.rotate();
      expect(first.delay!.max).toBeLessThan(0.9);
      expect(delay!.max).toBeGreaterThan(0.9);
      expect(utilization).toBeGreaterThan(0.1);
    } finally {
      watch.close();
    }
  });
});

describe('figures of processes', () => {
  it('tell memory, CPU and heap limit of this one', async () => {
    const own = new ProcessSampler();
    try {
      const until = performance.now() + 50;
      while (performance.now() < until);
      const { cpuCores, rssBytes, heapUsedBytes, heapLimitBytes, eventLoop } = own.rotate();
      expect(cpuCores).toBeGreaterThan(0);
      expect(rssBytes).toBeGreaterThan(heapUsedBytes / 2);
      expect(heapLimitBytes).toBeGreaterThan(heapUsedBytes);
      expect(eventLoop.windowSeconds).toBeGreaterThan(0.04);
    } finally {
      own.close();
    }
  });

  it('count every pause of the garbage collector', async () => {
    const watch = new GarbageWatch();
    try {
      let pauses = 0;
      await waitFor(() => {
        Array.from({ length: 100_000 }, (_, at) => ({ at }));
        pauses += watch.rotate().pauses;
        return pauses > 3;
      });
    } finally {
      watch.close();
    }
  });

  it('tell those of another process by name, until it is gone', async () => {
    const file = join(root, 'child.mjs');
    writeFileSync(file, 'setInterval(() => {}, 1000); process.send("ready");');
    const child = fork(file, { execArgv: [] });
    const exited = new Promise((resolve) => child.on('exit', resolve));
    await new Promise((resolve) => child.once('message', resolve));
    const others = new OtherProcesses();
    expect(await others.read()).toEqual([]);
    const forget = others.watch(child.pid!, 'job worker');
    const [usage] = await others.read();
    expect(usage).toMatchObject({ pid: child.pid, name: 'job worker' });
    expect(usage!.rssBytes).toBeGreaterThan(1e6);
    expect(usage!.cpuCores).toBeGreaterThanOrEqual(0);
    child.kill('SIGKILL');
    await exited;
    expect(await others.read()).toMatchObject([{ cpuCores: null, rssBytes: null }]);
    forget();
    expect(await others.read()).toEqual([]);
  });

  it('come through telemetry, with the roots of the config', async () => {
    write({ ...PROC, ...V2 });
    const perf = hotpath({
      telemetry: {
        procRoot: join(root, 'proc'),
        cgroupRoot: join(root, 'cgroup'),
        diskPath: root,
        version: '1.2.3',
      },
    });
    try {
      await waitFor(() => perf.telemetry!.system().host !== null);
      await perf.telemetry!.step();
      const { host, process: own, pid } = perf.telemetry!.system();
      expect(pid).toBe(process.pid);
      expect(host!.container).toMatchObject({ version: 2, cpuQuotaCores: 0.5 });
      expect(own!.rssBytes).toBeGreaterThan(0);
      expect(perf.telemetry!.snapshot().instance).toMatchObject({ version: '1.2.3', pid: process.pid });
      const { process: history } = perf.telemetry!.history();
      expect(history.figures.rssBytes).toHaveLength(1);
    } finally {
      await perf.close();
    }
  });
});

describe('advice', () => {
  const quiet: AdviceInput = {
    routes: [],
    blocking: [],
    process: undefined,
    host: undefined,
    cache: undefined,
    cacheMaxBytes: undefined,
  };

  it('is silent without figures', () => {
    expect(adviseFrom(quiet)).toEqual([]);
  });

  it('names the share of time in which the CPU is throttled, and the quota', async () => {
    write({ ...PROC, ...V2 });
    const sampled = sampler();
    await sampled.rotate();
    write({
      'cgroup/app.slice/pod/cpu.stat': 'nr_periods 200\nnr_throttled 28\nthrottled_usec 3500000\n',
    });
    const [item] = adviseFrom({ ...quiet, host: await sampled.rotate() });
    expect(item).toMatchObject({
      id: 'cpu-throttled',
      text: 'The CPU is throttled 18 % of the time: raise the limit of 0.5 CPUs.',
    });
  });

  it('names the route that blocks the event loop', () => {
    const delay = { mean: 0.1, p50: 0.001, p99: 0.4, max: 1 };
    const own = {
      cpuCores: 1,
      rssBytes: 1,
      heapUsedBytes: 1,
      heapTotalBytes: 1,
      heapLimitBytes: 10,
      externalBytes: 0,
      eventLoop: { windowSeconds: 5, utilization: 1, delay, isBlocked: false },
      gc: { pauses: 0, seconds: 0, longestSeconds: 0, majorPauses: 0 },
    };
    const blocking = [{ method: 'GET', route: '/report', blockedSeconds: 3 }];
    expect(adviseFrom({ ...quiet, process: own, blocking })[0]!.text).toContain(
      'The event loop is blocked 400 ms at p99, mostly in GET /report',
    );
    const text = adviseFrom({ ...quiet, process: own })[0]!.text;
    expect(text).toContain('400 ms at p99');
    expect(text).not.toContain('mostly');
  });

  it('names a slow route with most of the time, and what a cache with misses needs', () => {
    const durations = (p95: number) => ({ mean: p95, p50: p95, p95, p99: p95, max: p95 });
    const routeOf = (route: string, requests: number, p95: number, cache?: object, database?: object) => {
      const figures = { requests, serverErrorRatio: 0, toHeaders: durations(p95) };
      return { method: 'GET', route, recent: figures, sinceStart: figures, cache, database } as never;
    };
    const others = [routeOf('/fast', 1000, 0.001), routeOf('/rare', 19, 0.9), routeOf('/minor', 40, 0.1)];
    const slow = (...routes: AdviceInput['routes']) =>
      adviseFrom({ ...quiet, routes }).filter(({ id }) => id === 'slow-route');
    expect(slow(...others)).toEqual([]);
    expect(slow(...others, routeOf('/report', 40, 0.5))).toEqual([
      {
        id: 'slow-route',
        severity: 'info',
        route: 'GET /report',
        text: expect.stringMatching(
          /^GET \/report: takes 48 % of the request time \(p95 500 ms\): look for slow queries/,
        ),
      },
    ]);
    expect(slow(routeOf('/sales', 20, 0.5, undefined, { seconds: 9.5 }))[0]!.text).toContain(
      '95 % of that is the database: look at its statements',
    );
    const cache = { requests: 200, hitRatio: 0.6, bypassReasons: {}, refusalReasons: {} };
    expect(slow(routeOf('/report', 200, 0.5, cache))).toMatchObject([
      {
        text: expect.stringContaining('because 40 % of its requests miss the cache'),
        config: `routes: { "/report": { cache: { ttl: '5m', staleWhileRevalidate: '10m' } } }`,
      },
    ]);
  });

  it('are read once for all instances that are open', async () => {
    let windows = 0;
    let closed = 0;
    const shared = new SharedSampler(() => ({ rotate: () => ++windows, close: () => void closed++ }), 60_000);
    const first = shared.open();
    expect([first.rotate(), first.rotate()]).toEqual([1, 2]);
    const second = shared.open();
    expect([first.rotate(), second.rotate()]).toEqual([2, 2]);
    second.close?.();
    second.close?.();
    expect([first.rotate(), closed]).toEqual([3, 0]);
    first.close?.();
    expect([shared.isIdle, closed]).toEqual([true, 1]);
  });

  it('are read once for instances that are open one after the other, in one window', () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(1000);
    let samplers = 0;
    let windows = 0;
    const shared = new SharedSampler(() => {
      samplers++;
      return { rotate: () => ++windows };
    }, 2000);
    const next = () => {
      const sampler = shared.open();
      const figures = sampler.rotate();
      sampler.close?.();
      return [figures, samplers];
    };
    expect([next(), next()]).toEqual([
      [1, 1],
      [1, 1],
    ]);
    now.mockReturnValue(2999);
    expect(next()).toEqual([1, 1]);
    // The time without any instance is no window.
    now.mockReturnValue(3000);
    expect(next()).toEqual([2, 2]);
  });
});
