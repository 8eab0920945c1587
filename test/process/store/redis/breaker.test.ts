import { CircuitState, CountBreaker, circuitBreaker, handleAll } from 'cockatiel';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CircuitBreaker, type Start } from '../../../../src/runtime/circuit-breaker.js';

const fail = () => Promise.reject(new Error('sick'));
const succeed = () => Promise.resolve('well');

describe('the breaker', () => {
  // The library reads the wall clock.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000 }));
  afterEach(() => void vi.useRealTimers());

  const open = (): CircuitBreaker => new CircuitBreaker(100, 10_000, () => Date.now());
  const run = (breaker: CircuitBreaker, start: Start<unknown>) =>
    new Promise((resolve, reject) => breaker.run(start, resolve, reject));
  const attempt = (breaker: CircuitBreaker, command: () => Promise<unknown>) =>
    run(breaker, (resolve, reject) => void command().then(resolve, reject)).catch(() => undefined);
  const trip = async (breaker: CircuitBreaker) => {
    while (breaker.state === 'closed') await attempt(breaker, fail);
  };
  /** The length of the wait, followed by one probe. */
  const waitOf = async (breaker: CircuitBreaker, command: () => Promise<unknown>): Promise<number> => {
    const begun = Date.now();
    for (let isRun = false; !isRun; vi.setSystemTime(Date.now() + 1)) {
      await attempt(breaker, () => {
        isRun = true;
        return command();
      });
    }
    return Date.now() - 1 - begun;
  };

  it('opens when more than half fail, and not before five', async () => {
    const breaker = open();
    for (let i = 0; i < 4; i++) await attempt(breaker, fail);
    expect(breaker.state).toBe('closed');
    await attempt(breaker, fail);
    expect(breaker.state).toBe('open');
  });

  it.each([0, 100])('counts a command that throws as failed, after %i successes', async (successes) => {
    const breaker = open();
    for (let i = 0; i < successes; i++) await attempt(breaker, succeed);
    const sick = () => {
      throw new Error('sick');
    };
    for (let i = 0; i < 30; i++) await expect(run(breaker, sick)).rejects.toThrow();
    expect(breaker.state).toBe('open');
  });

  it.each([0, 100])(
    'uses the first result of a command that settles more than once, after %i successes',
    async (successes) => {
      const breaker = open();
      for (let i = 0; i < successes; i++) await attempt(breaker, succeed);
      const told: unknown[] = [];
      const talks: Start<unknown> = (resolve, reject) => {
        resolve('well');
        reject(new Error('sick'));
        resolve('well again');
      };
      for (let i = 0; i < 30; i++)
        breaker.run(
          talks,
          (value) => void told.push(value),
          (error) => void told.push(error),
        );
      await vi.waitFor(() => expect(told).toEqual(Array.from({ length: 30 }, () => 'well')));
      expect(breaker.state).toBe('closed');
    },
  );

  it('stays closed while half succeed', async () => {
    const breaker = open();
    for (let i = 0; i < 100; i++) await attempt(breaker, i % 2 ? fail : succeed);
    expect(breaker.state).toBe('closed');
  });

  it('allows one probe, and rejects other commands at once [G30]', async () => {
    const breaker = open();
    await trip(breaker);
    vi.setSystemTime(Date.now() + 10_000);
    let end = (_: unknown) => {};
    const probe = attempt(breaker, () => new Promise((resolve) => (end = resolve)));
    expect(breaker.state).toBe('half-open');
    expect(breaker.lets()).toBe(false);
    end('well');
    await probe;
    expect(breaker.state).toBe('closed');
    expect(breaker.lets()).toBe(true);
  });

  it('doubles its wait after each failed probe, with jitter, up to the maximum [G31]', async () => {
    const breaker = open();
    await trip(breaker);
    for (let level = 0; level < 12; level++) {
      const full = Math.min(10_000, 100 * 2 ** level);
      const wait = await waitOf(breaker, fail);
      expect(wait).toBeGreaterThanOrEqual(Math.floor(full / 2));
      expect(wait).toBeLessThanOrEqual(full + 1);
      expect(breaker.state).toBe('open');
    }
  });

  it('continues its backoff after a short recovery, and resets it after a long one [G31]', async () => {
    const breaker = open();
    await trip(breaker);
    for (let level = 0; level < 4; level++) await waitOf(breaker, fail);
    await waitOf(breaker, succeed);
    expect(breaker.state).toBe('closed');
    vi.setSystemTime(Date.now() + 2000);
    await trip(breaker);
    expect(await waitOf(breaker, succeed)).toBeGreaterThanOrEqual(1600);
    vi.setSystemTime(Date.now() + 60_000);
    await trip(breaker);
    expect(await waitOf(breaker, succeed)).toBeLessThanOrEqual(101);
  });

  it('decides as if each command were counted, with overlaps and long pauses', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant('begin' as const) },
      { weight: 5, arbitrary: fc.record({ end: fc.nat(), isWell: fc.boolean() }) },
    );
    let opened = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: 30 }),
        fc.array(step, { minLength: 50, maxLength: 150 }),
        async (peace, steps) => {
          const breaker = open();
          const counting = circuitBreaker(handleAll, {
            halfOpenAfter: 1e9,
            breaker: new CountBreaker({ threshold: 0.5, size: 20, minimumNumberOfCalls: 5 }),
          });
          const runs: { end(isWell: boolean): void }[] = [];
          const begin = () => {
            let end!: (isWell: boolean) => void;
            const ended = new Promise((resolve, reject) => {
              end = (isWell) => (isWell ? resolve('well') : reject(new Error('sick')));
            });
            ended.catch(() => {});
            runs.push({ end });
            void attempt(breaker, () => ended);
            counting.execute(() => ended).catch(() => {});
          };
          const compare = async () => {
            for (let i = 0; i < 20; i++) await Promise.resolve();
            expect(breaker.state).toBe(counting.state === CircuitState.Closed ? 'closed' : 'open');
          };
          for (let i = 0; i < peace; i++) {
            begin();
            runs.pop()!.end(true);
            await compare();
          }
          for (const each of steps) {
            if (each === 'begin') begin();
            else if (runs.length > 0) runs.splice(each.end % runs.length, 1)[0]!.end(each.isWell);
            await compare();
          }
          if (breaker.state === 'open') opened++;
        },
      ),
    );
    expect(opened).toBeGreaterThan(5);
  });
});
