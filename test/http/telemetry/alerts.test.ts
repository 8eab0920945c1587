import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type Alert, type AlertsOptions, type HotpathConfig, hotpath } from 'hotpath';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, waitFor } from '../../helpers/http.js';

const later = closeAfterEach();
// Each test ends the windows itself; the timer would end some between.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval'] }));
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Far longer than other requests take, on a busy machine too. */
const SLOW_MS = 1100;

async function serve(alerts: AlertsOptions, config: HotpathConfig = {}) {
  const told: Alert[] = [];
  const perf = hotpath({
    metrics: { defaultMetrics: false },
    // Windows that end at once are too short to judge the event loop.
    alerts: { eventLoop: false, onAlert: (alert) => void told.push(alert), ...alerts },
    ...config,
  });
  later(perf);
  const telemetry = perf.telemetry!;
  const app = express5();
  app.use(perf);
  app.get('/ok/:id', (_req, res) => void res.send('ok'));
  app.get('/broken/:id', (_req, res) => void res.status(500).end());
  app.get('/late', (_req, res) => void setTimeout(() => res.send('late'), SLOW_MS));
  app.get('/stream', (_req, res) => {
    res.flushHeaders();
    setTimeout(() => res.end(), SLOW_MS);
  });
  const server = later(await listen(app));
  let sent = 0;
  const ask = async (path: string, times: number) => {
    for (let at = 0; at < times; at++) await (await fetch(server.url + path)).text();
    sent += times;
    await waitFor(() => telemetry.snapshot().requests.sinceStart.requests === sent);
  };
  const steps = async (count: number) => {
    for (let at = 0; at < count; at++) await telemetry.step();
    return telemetry.alerts();
  };
  const named = (name: string) => telemetry.alerts().find((alert) => alert.name === name)!;
  return { perf, telemetry, told, ask, steps, named };
}

/** Reports of faults until the end of the test. */
function faults() {
  const found: string[] = [];
  vi.spyOn(process, 'emitWarning').mockImplementation((message) => void found.push(String(message)));
  return found;
}

describe('an alert about errors', () => {
  it('fires after three evaluations, reports its state, and clears below a lower limit', async () => {
    const { perf, told, ask, steps, named } = await serve({ errorRate: { share: 0.1, minRequests: 20 } });
    const heard: unknown[] = [];
    const listener = (message: unknown) => void heard.push(message);
    subscribe('hotpath:alert', listener);
    try {
      const gauge = async () =>
        /^hotpath_alert_firing\{alert="errorRate"\} (\d)$/m.exec(await perf.metrics.registry!.metrics())?.[1];
      await ask('/ok/1', 18);
      await ask('/broken/1', 6);
      await steps(2);
      expect([named('errorRate').state, told, await gauge()]).toEqual(['ok', [], '0']);
      const before = Date.now();
      await steps(1);
      const firing = named('errorRate');
      expect(firing).toEqual({
        name: 'errorRate',
        state: 'firing',
        since: firing.since,
        value: 0.25,
        threshold: 0.1,
        unit: 'ratio',
        route: 'GET /broken/:id',
        message:
          '25 % of 24 requests in the last minute failed with a status from 500 on, most of them GET /broken/:id (limit 10 %).',
      });
      expect(firing.since).toBeGreaterThanOrEqual(before);
      expect([told, heard, await gauge()]).toEqual([[firing], [firing], '1']);

      await ask('/ok/1', 41); // 9 %: below the limit, and above the one to clear
      await steps(4);
      expect(named('errorRate')).toMatchObject({ state: 'firing', since: firing.since });
      await ask('/ok/1', 40); // 6 %
      await steps(2);
      expect(named('errorRate').state).toBe('firing');
      await steps(1);
      expect(named('errorRate').state).toBe('ok');
      expect(told.map(({ state }) => state)).toEqual(['firing', 'ok']);
      expect(heard).toEqual(told);
      expect(await gauge()).toBe('0');
    } finally {
      unsubscribe('hotpath:alert', listener);
    }
  });

  it('does not fire on three failed requests, and says that they are too few', async () => {
    const { told, ask, steps, named } = await serve({});
    await ask('/broken/1', 3);
    await steps(13);
    expect(told).toEqual([]);
    await ask('/broken/1', 3);
    await steps(1);
    expect(named('errorRate')).toMatchObject({
      value: null,
      message: '3 requests in the last minute are too few to tell; 50 are enough.',
    });
  });

  it('clears once there are too few requests', async () => {
    const { told, ask, steps } = await serve({ errorRate: { minRequests: 20, for: '5s' } });
    await ask('/broken/1', 20);
    await steps(1);
    expect(told).toMatchObject([{ state: 'firing', value: 1 }]);
    await steps(12);
    expect(told).toMatchObject([{ state: 'firing' }, { state: 'ok', value: null }]);
  });
});

describe('an alert about slow requests', () => {
  it('names the slow route, and does not count a stream that lasts long', async () => {
    const options = { over: '1s', share: 0.15, minRequests: 4, for: '5s' } as const;
    const { told, ask, steps } = await serve({ slowRequests: options, errorRate: false });
    await ask('/ok/1', 3);
    await ask('/stream', 1);
    await steps(1);
    expect(told).toEqual([]);
    await ask('/late', 1);
    await steps(1);
    expect(told).toMatchObject([{ name: 'slowRequests', state: 'firing', route: 'GET /late' }]);
    expect(told[0]!.value).toBeCloseTo(1 / 5, 5);
    expect(told[0]!.message).toContain('took 1 s or longer');
  });
});

describe('an alert about the hit ratio', () => {
  it('looks at the last minute, and fires below its limit', async () => {
    const rule = { '/ok/:id': { cache: { ttl: '1h' } } } as const;
    const hitRatio = { under: 0.5, minRequests: 10, for: '5s' } as const;
    const { told, ask, steps, named } = await serve({ hitRatio }, { routes: rule });
    await ask('/ok/1', 10);
    await steps(1);
    expect(named('hitRatio')).toMatchObject({ state: 'ok', value: 0.9 });
    await steps(12);
    for (let id = 2; id < 12; id++) await ask(`/ok/${id}`, 1);
    await steps(1);
    expect(told).toMatchObject([{ name: 'hitRatio', state: 'firing', value: 0, threshold: 0.5 }]);
    await ask('/ok/1', 20); // 20 of 30
    await steps(1);
    expect(told).toMatchObject([{ state: 'firing' }, { state: 'ok' }]);
  });
});

describe('an alert about the event loop', () => {
  it('fires when the loop was really blocked', async () => {
    vi.useRealTimers(); // the delay is measured by an interval
    const { told, steps } = await serve({ eventLoop: { over: '100ms', for: '5s' } });
    await waitFor(async () => {
      const until = performance.now() + 250;
      while (performance.now() < until);
      await new Promise((resolve) => setTimeout(resolve, 30));
      await steps(1);
      return told.length > 0;
    });
    expect(told[0]).toMatchObject({ name: 'eventLoop', state: 'firing', unit: 'seconds', threshold: 0.1 });
    expect(told[0]!.value).toBeGreaterThan(0.1);
  });
});

describe('an alert about a pool', () => {
  it('reads the queue of any pool, and reports a pool that throws', async () => {
    const found = faults();
    let waiting = 11;
    const pool = {
      get waitingCount() {
        if (waiting < 0) throw new Error('the pool has ended');
        return waiting;
      },
    };
    const { told, steps, named } = await serve({ poolWaiting: { pool } });
    await steps(3);
    expect(told).toMatchObject([{ name: 'poolWaiting', state: 'firing', value: 11, unit: 'queries' }]);
    waiting = -1;
    await steps(5);
    expect(named('poolWaiting')).toMatchObject({ state: 'firing', value: null });
    expect(found.join()).toContain('alerts: poolWaiting failed');
    waiting = 8;
    await steps(3);
    expect(named('poolWaiting').state).toBe('ok');
  });
});

describe('an alert about slow queries', () => {
  it('counts those of the last minute, of a pool that is monitored', async () => {
    const pool = { waitingCount: 0 };
    const { told, steps, named } = await serve({ slowQueries: { pool, over: 2 } });
    await steps(4);
    expect(named('slowQueries')).toMatchObject({
      value: null,
      message: 'The pool is not monitored: call monitorPool(pool, { perf }).',
    });
    let slow = 100;
    Object.assign(pool, { [Symbol.for('hotpath.pool-monitor')]: { slowQueries: () => slow } });
    await steps(3);
    slow += 3;
    await steps(3);
    expect(told).toMatchObject([{ name: 'slowQueries', state: 'firing', value: 3, unit: 'queries' }]);
    // A minute later they are no longer recent.
    await steps(16);
    expect(named('slowQueries')).toMatchObject({ state: 'ok', value: 0 });
  });
});

describe('a custom alert', () => {
  it('does not fire on a figure that is beyond its limit by turns', async () => {
    let at = 0;
    const jobs = { value: () => (at++ % 3 === 2 ? 99 : 101), over: 100, unit: 'jobs' };
    const { told, steps, named } = await serve({ custom: { jobs } });
    await steps(30);
    expect(told).toEqual([]);
    expect(named('jobs').message).toBe('jobs: 99 jobs (limit 100 jobs).');
  });

  it('keeps its state while its figure is not known', async () => {
    let value: number | undefined = 2;
    const { told, steps } = await serve({ custom: { free: { value: () => value, under: 3, for: '10s' } } });
    await steps(2);
    expect(told).toMatchObject([{ name: 'free', state: 'firing', value: 2 }]);
    value = undefined;
    await steps(9);
    value = 3.5; // a quarter above the limit is 3.75
    await steps(9);
    expect(told).toHaveLength(1);
    value = 4;
    await steps(2);
    expect(told).toMatchObject([{ state: 'firing' }, { state: 'ok', value: 4 }]);
  });

  it.each([
    ['throws', () => { throw new Error('no queue'); }], // biome-ignore format: one line each
    ['returns a promise', () => Promise.reject(new Error('none')) as never],
    ['returns no number', () => Number.NaN],
  ])('whose function %s is reported, and the others are evaluated', async (_what, value) => {
    const found = faults();
    const custom = {
      wrong: { value, over: 1, for: '5s' },
      right: { value: () => 2, over: 1, for: '5s' },
    } as const;
    const { told, steps, named } = await serve({ custom });
    await steps(1);
    expect(told).toMatchObject([{ name: 'right', state: 'firing' }]);
    expect(named('wrong')).toMatchObject({
      state: 'ok',
      value: null,
      message: 'The figure could not be read.',
    });
    expect(found.join()).toContain('alerts: wrong failed');
  });

  it('is evaluated by the timer before the first request', async () => {
    const { told } = await serve({ custom: { jobs: { value: () => 7, over: 5 } } });
    vi.advanceTimersByTime(10_000);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(5_000);
    expect(told).toMatchObject([{ name: 'jobs', value: 7 }]);
  });
});

describe('onAlert', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error('no mail server');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no mail'))],
    ['never settles', () => new Promise(() => {})],
  ])('harms nothing when it %s', async (what, fail) => {
    const found = faults();
    let value = 0;
    let called = 0;
    const { ask, steps, named } = await serve({
      custom: { jobs: { value: () => value, over: 5, for: '5s' } },
      onAlert: () => {
        called++;
        return fail();
      },
    });
    for (const next of [9, 0, 9]) {
      value = next;
      await steps(1);
    }
    await ask('/ok/1', 1);
    expect([called, named('jobs').state]).toEqual([3, 'firing']);
    expect(found.some((text) => text.includes('alerts.onAlert failed'))).toBe(what !== 'never settles');
  });
});

describe('the options of alerts', () => {
  it('are off by default, and `true` turns on those that need no figure of the app', () => {
    const off = later(hotpath());
    const on = later(hotpath({ alerts: true }));
    expect(off.telemetry!.alerts()).toEqual([]);
    expect(on.telemetry!.alerts().map(({ name, state, value }) => [name, state, value])).toEqual([
      ['slowRequests', 'ok', null],
      ['errorRate', 'ok', null],
      ['eventLoop', 'ok', null],
    ]);
  });

  const jobs = { value: (): number => 1, over: 1 };
  it.each([
    ['without telemetry', { telemetry: false, alerts: true }, 'alerts: needs telemetry'],
    [
      'a pool that is missing',
      { alerts: { poolWaiting: {} } },
      'alerts.poolWaiting.pool: expected a pool of pg',
    ],
    [
      'no limit',
      { alerts: { custom: { jobs: { value: jobs.value } } } },
      'alerts.custom.jobs.over: set either',
    ],
    ['two limits', { alerts: { custom: { jobs: { ...jobs, under: 0 } } } }, 'set either over or under'],
    [
      'no function',
      { alerts: { custom: { jobs: { over: 1 } } } },
      'alerts.custom.jobs.value: expected a function',
    ],
    ['a name of hotpath', { alerts: { custom: { breaker: jobs } } }, 'that no alert of hotpath has'],
    ['a share of everything', { alerts: { errorRate: { share: 1 } } }, 'a number between 0 and 1'],
    [
      'too many',
      { alerts: { custom: Object.fromEntries(Array.from({ length: 51 }, (_, at) => [`a${at}`, jobs])) } },
      'more than 50 alerts',
    ],
  ])('refuse %s', (_what, config, message) => {
    expect(() => hotpath(config as HotpathConfig)).toThrow(message);
  });
});
