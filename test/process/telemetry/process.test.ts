import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { metrics } from '../../../src/middleware/metrics/middleware.js';
import { program } from '../../helpers/program.js';

const run = async (...args: string[]) => {
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 150_000 });
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
};

describe('process metrics', () => {
  it('leak neither memory nor timers when instances are made and closed repeatedly [I07]', async () => {
    const { execArgv, file: hotpath } = program('src/hotpath.ts');
    const code = `
      import { createRequire, syncBuiltinESMExports } from 'node:module';
      const hooks = createRequire(${JSON.stringify(hotpath)})('node:perf_hooks');
      const { monitorEventLoopDelay } = hooks;
      let timers = 0;
      hooks.monitorEventLoopDelay = (...args) => { timers++; return monitorEventLoopDelay(...args); };
      syncBuiltinESMExports();
      const { hotpath } = await import(${JSON.stringify(hotpath)});
      const make = async (count) => {
        for (let i = 0; i < count; i++) await hotpath().close();
        for (let i = 0; i < 3; i++) { globalThis.gc(); await new Promise((resolve) => setTimeout(resolve, 20)); }
        return process.memoryUsage().heapUsed;
      };
      const before = await make(50);
      const after = await make(200);
      console.log(JSON.stringify({ grown: after - before, timers }));
    `;
    const { grown, timers } = await run(...execArgv, '--expose-gc', '--input-type=module', '--eval', code);
    // A set of prom-client metrics per instance took 800 kB, and a timer that fires every 10 ms.
    expect(grown).toBeLessThan(5_000_000);
    expect(timers).toBe(1);
  });

  it('are the same in every registry, and independent of changes to another registry [I07]', async () => {
    const plain = metrics().registry;
    const labelled = new Registry();
    labelled.setDefaultLabels({ service: 'shop' });
    const open = new Registry();
    open.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
    for (const registry of [labelled, open]) metrics({ registry });
    await labelled.getMetricsAsJSON();
    labelled.resetMetrics();
    expect(await labelled.metrics()).toMatch(/^process_cpu_user_seconds_total\{service="shop"\} [\d.]+$/m);
    expect(await open.metrics()).toMatch(
      /^# TYPE process_cpu_user_seconds counter\nprocess_cpu_user_seconds_total [\d.]+$/m,
    );
    const text = await plain.metrics();
    expect(text).not.toContain('shop');
    expect(text).toMatch(
      /^# TYPE process_cpu_user_seconds_total counter\nprocess_cpu_user_seconds_total [\d.]+$/m,
    );
    expect(text).toContain('# TYPE nodejs_gc_duration_seconds histogram');
    expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds \S+$/m);
    const names = (registry: Registry) =>
      registry.getMetricsAsArray().map(({ name }) => name.replace(/_total$/, ''));
    expect(names(plain)).toEqual(names(open));
  });

  it('are added up over cluster workers and threads, also while one is stopped, and when one is gone [I12]', async () => {
    const { execArgv, file } = program('test/telemetry/fixtures/cluster.mts');
    const found = await run(...execArgv, file);
    // Requests, workers that answered, workers that were expected, and whether there are gauges of the process.
    expect(found).toEqual({
      together: [8, 2, 2, 1],
      withThread: [108, 3, 3, 1],
      answeredBefore: [108, expect.any(Number), 3, 1],
      // The last numbers of the stopped worker count on, and the scrape does not wait for it.
      stopped: [109, expect.any(Number), 3, 1],
      again: [109, expect.any(Number), 3, 1],
      resumed: [109, 3, 3, 1],
      // A counter that falls is a restart to Prometheus.
      killed: [109, 1, 1, 1],
      replaced: [111, 2, 2, 1],
    });
    expect(found.stopped[1]).toBeLessThan(3);
    expect(found.again[1]).toBeLessThan(3);
  });
});
