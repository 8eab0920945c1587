import { type HotpathError, hotpath } from 'hotpath';
import { type JobFigures, performanceApi, type ReadJobFigures } from 'hotpath/admin';
import { describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { expectDocumented } from '../../helpers/openapi.js';

const later = closeAfterEach();

const WORKER = {
  id: 'a',
  host: 'h',
  pid: 1,
  runningCount: 1,
  maxCount: 2,
  cpuCores: 0.5,
  memoryBytes: null,
  beatAt: 1_700_000_000_000,
};
const FIGURES: JobFigures = {
  queue: 'reports',
  waitingCount: 3,
  delayedCount: 0,
  runningCount: 1,
  completedCount: 4,
  failedCount: 1,
  durationSeconds: [4, 1, 2, 3],
  workers: [WORKER],
};

/** @returns a function that reads `/jobs`. */
async function serve(jobs?: ReadJobFigures) {
  const perf = later(hotpath());
  const app = express5();
  app.use(perf);
  app.use('/figures', later(performanceApi({ perf, jobs, authorize: () => true })));
  const { url } = later(await listen(app));
  return async () => {
    const response = await fetch(`${url}/figures/jobs`);
    return (await expectDocumented(response, 'GET', '/jobs')) as {
      stable: object;
      volatile: { isAvailable: boolean; queue: Record<string, unknown> | null };
    };
  };
}

describe('the figures of jobs in the performance API', () => {
  it('are those of the app, with a summary of the durations', async () => {
    const { durationSeconds: _, ...counts } = FIGURES;
    const read = await serve(async () => FIGURES);
    expect((await read()).volatile).toEqual({
      isAvailable: true,
      queue: { ...counts, workerCount: 1, durations: { count: 4, mean: 2.5, p50: 2, p95: 4, max: 4 } },
    });
    const none = await serve();
    expect(await none()).toMatchObject({ stable: { isOn: false }, volatile: { queue: null } });
  });

  it('have bounds, and nothing beside the known members', async () => {
    const workers = Array.from({ length: 5_000 }, (_, at) => ({ ...WORKER, id: `${at}`, password: 'x' }));
    const durationSeconds = Array.from({ length: 50_000 }, () => 1);
    const read = await serve(() => ({ ...FIGURES, queue: 'q'.repeat(5_000), workers, durationSeconds }));
    const { queue } = (await read()).volatile;
    expect(queue?.workers).toHaveLength(100);
    expect(queue).toMatchObject({ workerCount: 5_000, durations: { count: 1_000 }, queue: 'q'.repeat(200) });
  });

  it('are read without a look at the items beyond the bounds, which would take seconds', async () => {
    const looks: string[] = [];
    const beyond = <T>(name: string, items: T[]) =>
      Object.defineProperty(items, items.length, { get: () => looks.push(name) }) as T[];
    const workers = beyond('workers', new Array(100).fill(WORKER));
    const durationSeconds = beyond('durations', new Array(1_000).fill(1));
    const read = await serve(() => ({ ...FIGURES, workers, durationSeconds }));
    expect((await read()).volatile.queue).toMatchObject({ workerCount: 101, durations: { count: 1_000 } });
    expect(looks).toEqual([]);
  });

  it('are reported as unavailable when the function fails or returns something else', async () => {
    const warnings: string[] = [];
    const listener = (warning: Error & { detail?: string }) => warnings.push(`${warning.detail}`);
    process.on('warning', listener);
    later({ close: () => process.off('warning', listener) });
    const wrong: readonly ReadJobFigures[] = [
      () => {
        throw new Error('no queue');
      },
      () => Promise.reject(new Error('no server')),
      () => undefined as never,
      () => ({ ...FIGURES, waitingCount: -1 }),
      () => ({ ...FIGURES, workers: [{ ...WORKER, pid: 'one' as never }] }),
    ];
    for (const jobs of wrong) {
      const read = await serve(jobs);
      expect((await read()).volatile).toEqual({ isAvailable: false, queue: null });
    }
    await waitFor(() => warnings.length >= wrong.length);
    for (const part of ['no queue', 'no server', '"waitingCount"', '"workers.0.pid"'])
      expect(warnings.join()).toContain(part);
  });

  it('do not wait for a function that hangs, which is called once', async () => {
    let calls = 0;
    let answer: (figures: JobFigures) => void = () => {};
    const read = await serve(() => {
      calls += 1;
      return new Promise((resolve) => {
        answer = resolve;
      });
    });
    expect((await Promise.all([read(), read()])).map(({ volatile }) => volatile.isAvailable)).toEqual([
      false,
      false,
    ]);
    expect(calls).toBe(1);
    answer(FIGURES);
    const next = read();
    await waitFor(() => calls === 2);
    answer(FIGURES);
    expect((await next).volatile.isAvailable).toBe(true);
  });

  it('need a function', () => {
    const perf = later(hotpath());
    expect(() => performanceApi({ perf, jobs: {} as never })).toThrow(
      expect.objectContaining<Partial<HotpathError>>({ code: 'HOTPATH_CONFIG_INVALID' }),
    );
  });
});
