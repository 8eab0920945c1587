import { AsyncLocalStorage } from 'node:async_hooks';
import { type WarmingContext, type WarmingTaskOptions, warming } from 'hotpath/warming';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WarmingScheduler } from '../../../src/warming/warming.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { nextTurn } from '../../helpers/event-loop.js';
import { gate } from '../../helpers/gate.js';
import { waitFor } from '../../helpers/http.js';

const later = closeAfterEach();
const held: (() => void)[] = [];
afterEach(() => {
  // Warming is closed afterwards, and waits for its tasks.
  for (const release of held.splice(0)) release();
  vi.restoreAllMocks();
});

/** Warming with one task, which is critical and does not retry unless it says so. */
function withTask(task: WarmingTaskOptions['task'], more: Partial<WarmingTaskOptions> = {}) {
  const all = later(warming());
  all.register({ name: 'one', task, critical: true, retries: 0, ...more });
  return all;
}

/** Process warnings until the end of the test. */
function warnings(): string[] {
  const heard: string[] = [];
  const spy = vi.spyOn(process, 'emitWarning');
  spy.mockImplementation((text) => void heard.push(String(text)));
  return heard;
}

function raise(error: Error): never {
  throw error;
}

/** Does not settle before the end of the test, and notes its signal. */
function hanging(signals: AbortSignal[]) {
  return ({ signal }: WarmingContext) => {
    signals.push(signal);
    return new Promise<void>((resolve) => void held.push(resolve));
  };
}

describe('a warming task', () => {
  it('is critical: start() waits for it, and the check of readiness fails until then', async () => {
    const { opened, open } = gate();
    const all = withTask(() => opened);
    let others = 0;
    all.register({ name: 'two', task: () => others++ });
    expect(all.check()).toEqual({
      status: 'fail',
      reason: 'critical tasks have not run: call warming.start(): one',
    });
    const started = all.start();
    await nextTurn();
    expect(all.check()).toEqual({ status: 'fail', reason: 'critical tasks have not run yet: one' });
    expect([all.tasks()[0]?.running, others]).toEqual([true, 0]);
    open();
    expect(await started).toMatchObject([{ name: 'one', state: 'succeeded' }]);
    expect(all.check()).toEqual({ status: 'pass' });
    await waitFor(() => others === 1);
  });

  it('passes the check when there is no critical task', () => {
    expect(warming().check()).toEqual({ status: 'pass' });
  });

  it.each([
    ['throws at once', () => raise(new Error('no\nluck')), 'no luck'],
    ['rejects', () => Promise.reject(new Error('refused')), 'refused'],
    ['names a password', () => Promise.reject('redis://:geheim@host/ \u001b[31m'), 'redis://***@host/ [31m'],
    ['rejects with nothing', () => Promise.reject(undefined), 'undefined'],
  ])('fails if it %s, with a warning, and does not reject start()', async (_what, task, error) => {
    const heard = warnings();
    const all = withTask(task);
    expect(await all.start()).toMatchObject([{ state: 'failed', error }]);
    expect(all.check()).toEqual({ status: 'warn', reason: `one: ${error}` });
    expect(heard).toEqual([`hotpath: the critical warming task "one" has failed: ${error}`]);
    await all.run();
    // The same failure again.
    expect(heard).toHaveLength(1);
    expect(all.tasks()).toMatchObject([{ execution_count: 2, failure_count: 2, last_success: null }]);
  });

  it('succeeds with whatever it returns', async () => {
    for (const value of [undefined, 7, null, false, 'x']) {
      expect(await withTask(() => value).start()).toMatchObject([{ state: 'succeeded' }]);
    }
  });

  it('is tried again as often as retries says, within one run', async () => {
    let calls = 0;
    const all = withTask(() => {
      if (++calls < 3) throw new Error('not yet');
    }, { retries: 2 }); // biome-ignore format: short
    expect(await all.start()).toMatchObject([{ state: 'succeeded' }]);
    expect(all.tasks()).toMatchObject([{ execution_count: 1, success_count: 1, failure_count: 0 }]);
  });

  it('is aborted and ended at its time-out, although it never settles', async () => {
    warnings();
    const signals: AbortSignal[] = [];
    const all = withTask(hanging(signals), { timeout: '50ms', retries: 3 });
    const [result] = await all.start();
    expect(result).toMatchObject({ state: 'failed', error: 'did not end within 0.05 s' });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    // A second call would run beside the first.
    expect((await all.run())[0]?.error).toBe('its last call has not ended; let it end when `signal` aborts');
    expect(signals).toHaveLength(1);
  });

  it('runs periodically, with jitter, and never beside itself', async () => {
    let now = 0;
    let most = 0;
    let runs = 0;
    const delays: number[] = [];
    const { setTimeout: set } = globalThis;
    vi.spyOn(globalThis, 'setTimeout').mockImplementation(((call: () => void, ms: number) => {
      delays.push(ms);
      return set(call, ms);
    }) as never);
    const random = vi.fn().mockReturnValueOnce(0).mockReturnValue(1);
    const all = later(new WarmingScheduler({ app: () => undefined, random }));
    const task = async () => {
      most = Math.max(most, ++now);
      runs++;
      await nextTurn();
      now--;
    };
    all.register({ name: 'one', task, every: '60ms', critical: true });
    await all.start();
    await Promise.all([all.run(), all.run('one'), waitFor(() => runs >= 4)]);
    expect(most).toBe(1);
    expect(delays).toEqual(expect.arrayContaining([54, 66]));
    await all.stop();
    const before = runs;
    await new Promise((resolve) => set(resolve, 150));
    expect(runs).toBe(before);
  });

  it('runs only at the start with every: false', async () => {
    const all = withTask(() => {}, { every: false });
    const spy = vi.spyOn(globalThis, 'setTimeout');
    await all.start();
    // Its time limit, and no next run.
    expect(spy.mock.calls.map(([, ms]) => ms)).toEqual([60_000]);
  });

  it('starts once, however often start() is called', async () => {
    let runs = 0;
    const all = withTask(() => runs++);
    await Promise.all([all.start(), all.start()]);
    await all.start();
    expect(runs).toBe(1);
  });

  it('runs at once if it is registered after start(), even by a task', async () => {
    const all = later(warming());
    let runs = 0;
    const second = { name: 'two', task: () => void runs++ };
    all.register({ name: 'one', task: () => all.register(second), critical: true });
    await all.start();
    await waitFor(() => runs === 1);
  });

  it('is limited with others at the start: four run at once', async () => {
    let now = 0;
    let most = 0;
    const all = later(warming());
    for (let n = 0; n < 9; n++) {
      const task = async () => {
        most = Math.max(most, ++now);
        await nextTurn();
        now--;
      };
      all.register({ name: `task ${n}`, task, critical: true });
    }
    expect(await all.start()).toHaveLength(9);
    expect(most).toBe(4);
  });

  it('never sees the AsyncLocalStorage of the request that starts or runs it', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const all = withTask(() => void seen.push(storage.getStore()), { every: '20ms' });
    await storage.run('client', () => all.start());
    await storage.run('client', () => all.run());
    await waitFor(() => seen.length >= 4);
    storage.run('client', () =>
      all.register({ name: 'two', task: () => void seen.push(storage.getStore()) }),
    );
    await waitFor(() => seen.length >= 6);
    expect(new Set(seen)).toEqual(new Set([undefined]));
  });
});

describe('stop()', () => {
  it('aborts running tasks, waits until they have ended, and counts no failure', async () => {
    const heard = warnings();
    let cleaned = false;
    const all = withTask(
      ({ signal }) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => {
            setTimeout(() => {
              cleaned = true;
              reject(signal.reason);
            }, 200);
          }),
        ),
    );
    const started = all.start();
    await nextTurn();
    await all.stop();
    expect(await started).toMatchObject([{ state: 'stopped', error: 'warming was stopped' }]);
    expect(cleaned).toBe(true);
    expect(all.tasks()).toMatchObject([{ execution_count: 1, failure_count: 0, last_error: null }]);
    expect(all.check().status).toBe('fail');
    expect(heard).toEqual([]);
  });

  it('starts no further critical task', async () => {
    const signals: AbortSignal[] = [];
    const all = later(warming());
    for (let n = 0; n < 6; n++) all.register({ name: `${n}`, task: hanging(signals), critical: true });
    const started = all.start();
    await nextTurn();
    await all.stop({ deadline: '10ms' });
    expect(await started).toHaveLength(4);
    expect(signals).toHaveLength(4);
  });

  it('before start() changes nothing, and start() may follow a stop', async () => {
    let runs = 0;
    const all = withTask(() => runs++);
    await all.stop();
    await all.start();
    await Promise.all([all.stop(), all.stop()]);
    await all.start();
    expect(runs).toBe(2);
  });

  it('lets no run begin while it lasts', async () => {
    const all = withTask(() => {});
    await all.start();
    const stopped = all.stop();
    await expect(all.run()).rejects.toMatchObject({ code: 'HOTPATH_WARMING_INVALID' });
    await stopped;
    expect(await all.run()).toMatchObject([{ state: 'succeeded' }]);
  });

  it('waits no longer than its deadline', async () => {
    const all = withTask(hanging([]));
    void all.start();
    await nextTurn();
    const began = Date.now();
    await all.stop({ deadline: '200ms' });
    expect(Date.now() - began).toBeLessThan(4000);
  });

  it('rejects a deadline that is none', async () => {
    await expect(warming().stop({ deadline: 'soon' as never })).rejects.toThrow(/warming\.stop\.deadline/);
  });
});

describe('the event loop', () => {
  it('is left to others while it is late', async () => {
    const all = later(warming());
    let isBusy = true;
    let steps = 0;
    const task = async ({ pause }: WarmingContext) => {
      for (; steps < 20; steps++) await pause();
    };
    all.register({ name: 'one', task, critical: true });
    const block = () => {
      if (!isBusy) return;
      for (const until = performance.now() + 60; performance.now() < until; );
      setImmediate(block);
    };
    block();
    const started = all.start();
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(steps).toBeLessThan(3);
    isBusy = false;
    expect(await started).toMatchObject([{ state: 'succeeded' }]);
    expect(steps).toBe(20);
  });
});
