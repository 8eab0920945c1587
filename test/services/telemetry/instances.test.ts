import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { deflateRawSync } from 'node:zlib';
import { type BreakerEvent, hotpath } from 'hotpath';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, majors, waitFor } from '../../helpers/http.js';
import { RedisServer, startCluster } from '../../helpers/redis.js';

const later = closeAfterEach();
// On a shared machine, Redis itself may need longer than the default.
const patient = { readTimeout: 5, writeTimeout: 5 };

let server: RedisServer;
beforeAll(async () => {
  server = await RedisServer.start();
});
afterAll(() => server.stop());
afterEach(() => void vi.restoreAllMocks());

let prefixes = 0;
const newPrefix = () => `t${prefixes++}:`;

async function instance(
  express: (typeof majors)[number][1],
  redis: object,
  prefix: string,
  version?: string,
) {
  const perf = hotpath({
    cache: { redis: { prefix, ...patient, ...redis } },
    routes: { '/items/:id': { cache: { ttl: '1h' } } },
    metrics: { defaultMetrics: false },
    telemetry: { version },
    alerts: {
      eventLoop: false,
      breaker: { for: '5s' },
      errorRate: { share: 0.3, minRequests: 5, for: '5s' },
    },
  });
  const app = express();
  app.use(perf);
  app.get('/items/:id', (_req, res) => void res.send('x'.repeat(100)));
  app.get('/fails', (_req, res) => void res.status(503).end());
  for (let at = 0; at < 60; at++) app.get(`/route-${at}/:id`, (_req, res) => void res.send('ok'));
  const listening = await listen(app);
  later(listening);
  later(perf);
  const telemetry = perf.telemetry!;
  telemetry.snapshot();
  await waitFor(() => perf.cache.stats().redis!.ready);
  const ask = async (path: string) => (await fetch(listening.url + path)).text();
  const settled = (count: number) =>
    waitFor(() => telemetry.snapshot().requests.sinceStart.requests === count);
  return { perf, telemetry, ask, settled };
}

const EMPTY = [
  [0, 0, 0, 0, 0, 0],
  [0, 0, []],
  [0, 0, []],
];

/** A snapshot as an instance writes it, with changes. */
function written(
  state: object,
  { all = EMPTY, routes = [], reasons = {} }: { all?: unknown; routes?: unknown[]; reasons?: object } = {},
  id = 'stranger',
): Buffer {
  const zeros = (...names: string[]) => Object.fromEntries(names.map((name) => [name, 0]));
  const level = zeros(
    'uptimeSeconds',
    'activeRequests',
    'openConnections',
    'requestRate',
    'cpuCores',
    'rssBytes',
  );
  const further = zeros('heapUsedBytes', 'heapLimitBytes', 'eventLoopUtilization', 'eventLoopDelayP99');
  const counts = zeros(
    'hits',
    'stale',
    'revalidated',
    'misses',
    'passes',
    'bypasses',
    'servedBytes',
    'savedSeconds',
  );
  const snapshot = {
    format: 1,
    labels: { id, host: 'h', pid: 1, startedAt: 1 },
    state: { ...level, ...further, ...state },
    all,
    cache: { ...counts, bypassReasons: reasons, refusalReasons: {} },
    routes,
  };
  return deflateRawSync(JSON.stringify(snapshot).replace(/null(?=[,}])/, '1e999'));
}

describe.each(majors)('two instances on %s', (_name, express) => {
  it('see each other, and the sums of their counts and buckets', async () => {
    const prefix = newPrefix();
    const first = await instance(express, { url: server.url }, prefix, '1.0.0');
    const second = await instance(express, { url: server.url }, prefix, '2.0.0');
    for (let at = 0; at < 7; at++) await first.ask(`/items/${at}`);
    for (let at = 0; at < 5; at++) await second.ask(`/items/${at + 100}`);
    for (let at = 0; at < 3; at++) await second.ask('/fails');
    await first.settled(7);
    await second.settled(8);
    await first.telemetry.step();
    await second.telemetry.step();
    expect(await first.perf.metrics.registry!.getSingleMetricAsString('hotpath_instances')).toMatch(/ 1$/);
    expect(await second.perf.metrics.registry!.getSingleMetricAsString('hotpath_instances')).toMatch(/ 2$/);
    const report = await first.telemetry.instances();
    expect(report.isComplete).toBe(true);
    expect(report.instances.map(({ firing }) => firing)).toEqual([
      [],
      second.telemetry.alerts().filter(({ state }) => state === 'firing'),
    ]);
    expect(report.instances[1]!.firing).toMatchObject([
      { name: 'errorRate', value: 3 / 8, route: 'GET /fails' },
    ]);
    expect(
      report.instances.map(({ isSelf, version, requests }) => [isSelf, version, requests.requests]),
    ).toEqual([
      [true, '1.0.0', 7],
      [false, '2.0.0', 8],
    ]);
    const ids = report.instances.map(({ id }) => id);
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(report.instances[1]!.pid).toBe(process.pid);
    expect(report.instances[1]!.rssBytes).toBeGreaterThan(1e6);
    expect(report.total.requests).toMatchObject({ requests: 15, serverErrors: 3 });
    expect(report.total.cache).toMatchObject({ misses: 12, passes: 3 });
    const items = report.routes.find(({ route }) => route === '/items/:id')!;
    expect(items.requests.requests).toBe(12);
    // The sums are those of the metrics of both.
    const measured = await Promise.all([first, second].map(({ perf }) => perf.metrics.registry!.metrics()));
    const counts = measured.flatMap((text) => [...text.matchAll(/^http_requests_total\{.*\} (\d+)$/gm)]);
    expect(counts.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(report.total.requests.requests);
    const longest = [first, second].map(
      ({ telemetry }) =>
        telemetry.routes().find(({ route }) => route === '/items/:id')!.sinceStart.total.max!,
    );
    expect(items.requests.total.max).toBeCloseTo(Math.max(...longest), 5);
    expect(items.requests.total.p99! / Math.max(...longest)).toBeGreaterThan(0.87);
  });
});

describe('snapshots of instances', () => {
  it('lie under one hash tag, below 8 kB, for 15 seconds, and are read one by one', async () => {
    const prefix = newPrefix();
    const { telemetry, ask, settled } = await instance(express5, { url: server.url }, prefix);
    for (let at = 0; at < 60; at++) for (let n = 0; n < 3; n++) await ask(`/route-${at}/${n}`);
    await settled(180);
    const before = await server.info('commandstats');
    await telemetry.step();
    const { id } = telemetry.snapshot().instance;
    const key = `${prefix}{instances}:${id}`;
    const size = Number(await server.command('STRLEN', key));
    expect(size).toBeGreaterThan(500);
    expect(size).toBeLessThanOrEqual(8 * 1024);
    const left = Number(await server.command('PTTL', key));
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(15_000);
    const index = (await server.command(
      'ZRANGE',
      `${prefix}{instances}:index`,
      0,
      -1,
      'WITHSCORES',
    )) as string[];
    const [seconds] = (await server.command('TIME')) as string[];
    expect(index[0]).toBe(id);
    expect(Math.abs(Number(index[1]) - Number(seconds) * 1000)).toBeLessThan(60_000);
    const report = await telemetry.instances();
    expect(report.routes.length).toBeLessThanOrEqual(50);
    expect(report.total.requests.requests).toBe(180);
    const after = await server.info('commandstats');
    for (const name of ['cmdstat_mget', 'cmdstat_scan', 'cmdstat_keys'])
      expect(after.get(name)).toBe(before.get(name));
  });

  it('are gone when the instance is closed', async () => {
    const prefix = newPrefix();
    const { telemetry, perf } = await instance(express5, { url: server.url }, prefix);
    await telemetry.step();
    const { id } = telemetry.snapshot().instance;
    expect(await server.command('EXISTS', `${prefix}{instances}:${id}`)).toBe(1);
    await perf.close();
    expect(await server.command('EXISTS', `${prefix}{instances}:${id}`)).toBe(0);
    expect(await server.command('ZCARD', `${prefix}{instances}:index`)).toBe(0);
  });

  it.each([
    ['noise', Buffer.from('noise')],
    ['another form', deflateRawSync(JSON.stringify({ format: 1, labels: { id: 'stranger' } }))],
    ['another version', deflateRawSync(JSON.stringify({ format: 99 }))],
    ['a bomb', deflateRawSync(Buffer.alloc(5 * 1024 ** 2))],
    ['too much', Buffer.alloc(20_000)],
    ['numbers without end', written({ uptimeSeconds: Number.POSITIVE_INFINITY })],
    ['counts of another form', written({}, { all: [[], [0, 0, []], [0, 0, []]] })],
    ['very many routes', written({}, { routes: Array(10_000).fill(['GET', '/', EMPTY]) })],
    [
      'very many reasons',
      written(
        {},
        {
          reasons: Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [at, 1])),
        },
      ),
    ],
  ])('are left out where they make no sense: %s', async (_what, bytes) => {
    const prefix = newPrefix();
    const { telemetry } = await instance(express5, { url: server.url }, prefix);
    const before = await telemetry.instances();
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 2000);
    await server.command('SET', `${prefix}{instances}:stranger`, bytes);
    await server.command('ZADD', `${prefix}{instances}:index`, Date.now(), 'stranger');
    const report = await telemetry.instances();
    expect(report).toMatchObject({ isComplete: false, reason: '1 snapshot could not be read' });
    expect(report.instances).toMatchObject([{ isSelf: true }]);
    expect(JSON.stringify(report.total)).toEqual(JSON.stringify(before.total));
  });

  it('are few in a report of very many, which says that it is not complete', async () => {
    const prefix = newPrefix();
    const { telemetry } = await instance(express5, { url: server.url }, prefix);
    for (let at = 0; at < 110; at++) {
      const id = `other-${at}`;
      await server.command('SET', `${prefix}{instances}:${id}`, written({}, {}, id));
      await server.command('ZADD', `${prefix}{instances}:index`, Date.now(), id);
    }
    // As a clock that was ahead would have dated it.
    await server.command('ZADD', `${prefix}{instances}:index`, Date.now() + 1e9, 'ahead');
    const report = await telemetry.instances();
    expect(report).toMatchObject({ isComplete: false, reason: '11 snapshots could not be read' });
    expect(report.instances.length).toBe(100);
    await telemetry.step();
    expect(await server.command('ZSCORE', `${prefix}{instances}:index`, 'ahead')).toBeNull();
  });

  it('are not waited for where Redis is gone: the report says so, and the breaker tells its state', async () => {
    const own = await RedisServer.start();
    const heard: BreakerEvent[] = [];
    const listener = (message: unknown) => void heard.push(message as BreakerEvent);
    subscribe('hotpath:breaker', listener);
    try {
      const { perf, telemetry, ask } = await instance(
        express5,
        { url: own.url, readTimeout: 0.05, writeTimeout: 0.05 },
        newPrefix(),
      );
      await ask('/items/1');
      own.pause();
      // Nothing of a request waits for a snapshot.
      for (let at = 0; at < 8; at++) await telemetry.step();
      await waitFor(() => heard.some(({ lane, state }) => lane === 'writes' && state === 'open'));
      const shown = await perf.metrics.registry!.getSingleMetricAsString('hotpath_instances');
      expect(shown).not.toMatch(/^hotpath_instances /m);
      const report = await telemetry.instances();
      expect(report).toMatchObject({ isComplete: false, reason: 'Redis cannot be reached' });
      expect(report.instances).toMatchObject([{ isSelf: true }]);
      expect(telemetry.advice().map(({ id }) => id)).toContain('redis-breaker');
      await telemetry.step();
      const breaker = telemetry.alerts().find(({ name }) => name === 'breaker');
      expect(breaker).toMatchObject({ state: 'firing', threshold: 0, unit: 'breakers' });
      expect(breaker!.value).toBeGreaterThan(0);
    } finally {
      unsubscribe('hotpath:breaker', listener);
      own.resume();
      await own.stop();
    }
  });

  it('work in a cluster', async () => {
    const servers = await startCluster();
    try {
      const prefix = newPrefix();
      const { Cluster } = Redis;
      const clients = [0, 1].map(() => new Cluster(servers.map(({ port }) => ({ host: '127.0.0.1', port }))));
      for (const client of clients) later({ close: () => client.disconnect() });
      const first = await instance(express5, { client: clients[0] }, prefix);
      const second = await instance(express5, { client: clients[1] }, prefix);
      await waitFor(async () => {
        await first.telemetry.step();
        await second.telemetry.step();
        const report = await first.telemetry.instances();
        return report.isComplete && report.instances.length === 2;
      });
    } finally {
      await Promise.all(servers.map((each) => each.stop()));
    }
  });
});
