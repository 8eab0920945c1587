import { randomBytes, randomUUID } from 'node:crypto';
import type { Alert } from 'hotpath';
import { describe, expect, it } from 'vitest';
import { History } from '../../../src/telemetry/history/history.js';
import {
  encodeSnapshot,
  foldRoutes,
  MOST_SNAPSHOT_BYTES,
} from '../../../src/telemetry/instances/snapshot.js';
import { type FinishedRequest, RequestRecorder } from '../../../src/telemetry/requests/request-recorder.js';
import { SlowestRequests } from '../../../src/telemetry/requests/slowest-requests.js';
import { TopKeys } from '../../../src/telemetry/requests/top-keys.js';

const request: FinishedRequest = {
  method: 'GET',
  route: '/items/:id',
  status: 200,
  aborted: false,
  total: 2,
  toHeaders: 1,
  requestBytes: 0,
  responseBytes: 10,
  savedBytes: 0,
  cache: undefined,
  cacheReason: undefined,
  savedMs: undefined,
  servedBytes: 0,
  servedUrl: undefined,
  blockedMs: 0,
  queries: 0,
  queryMs: 0,
};

/** Texts that deflate does not shorten. */
function longAlert(): Alert {
  const text = () => randomBytes(300).toString('base64');
  const numbers = { since: Date.now(), value: Math.random(), threshold: Math.random() };
  return { name: text(), state: 'firing', ...numbers, unit: text(), message: text(), route: text() };
}

describe('the recorder of requests', () => {
  it('counts statuses, aborts and bytes apart, for each method and route', () => {
    const recorder = new RequestRecorder(10, false);
    recorder.record(request);
    recorder.record({ ...request, status: 404 });
    recorder.record({ ...request, status: 503, savedBytes: 7 });
    recorder.record({ ...request, status: 499, aborted: true });
    recorder.record({ ...request, method: 'POST', requestBytes: 5 });
    const [get, post] = recorder.routes.map((series) => series.figures(10, 10));
    expect(get).toMatchObject({
      method: 'GET',
      route: '/items/:id',
      sinceStart: { requests: 4, rate: 0.4, clientErrors: 1, serverErrors: 1, aborted: 1, savedBytes: 7 },
    });
    expect(post!.sinceStart).toMatchObject({ requests: 1, requestBytes: 5, responseBytes: 10 });
    expect(recorder.all.all().requests).toBe(5);
  });

  it('keeps counts since the start over any number of minutes, and forgets recent ones', () => {
    const recorder = new RequestRecorder(10, false);
    for (let minute = 1; minute <= 5; minute++) {
      recorder.record(request);
      recorder.rotateRoutes(50);
      recorder.all.rotate();
      const [figures] = recorder.routes.map((series) => series.figures(60, 60));
      expect(figures!.sinceStart.requests).toBe(minute);
      expect(figures!.recent.requests).toBe(1);
    }
    for (let minute = 0; minute < 3; minute++) recorder.rotateRoutes(50);
    const [figures] = recorder.routes.map((series) => series.figures(60, 60));
    expect(figures!.recent.requests).toBe(0);
    expect(figures!.sinceStart.requests).toBe(5);
    expect(recorder.all.all().requests).toBe(5);
  });

  it('tells time to headers apart from total time, so that streams leave it alone', () => {
    const recorder = new RequestRecorder(10, false);
    recorder.record({ ...request, total: 60_000, toHeaders: 3 });
    const { total, toHeaders } = recorder.all.all().figures(60);
    expect(total.p95! / 60).toBeCloseTo(1, 1);
    expect(toHeaders.p95! / 0.003).toBeCloseTo(1, 1);
  });

  it('stays bounded under a million random URLs, methods and ids', async () => {
    const recorder = new RequestRecorder(50, false);
    const history = new History();
    for (let at = 0; at < 1_000_000; at++) {
      const text = `/${at.toString(36)}-${(at * 7919) % 1000}`;
      recorder.record({
        ...request,
        method: at % 3 === 0 ? `M${at}` : 'GET',
        route: at % 2 === 0 ? `${text}/:id` : undefined,
        cache: 'HIT',
        cacheReason: undefined,
        savedMs: 1,
        servedUrl: `${text}?token=${at}`,
        total: (at % 1000) / 10,
      });
      if (at % 20_000 === 0) history.pushRoutes(at, recorder.rotateRoutes(50));
      if (at % 20_000 === 1) {
        const cacheReason = randomBytes(400).toString('hex');
        recorder.record({ ...request, cache: at % 40_000 === 1 ? 'BYPASS' : 'MISS', cacheReason });
      }
    }
    expect(recorder.size).toBe(50);
    expect(recorder.routes.length).toBeLessThanOrEqual(50 + 10);
    expect(recorder.all.all().requests).toBe(1_000_050);
    expect(recorder.routes.reduce((sum, { counts }) => sum + counts.all().requests, 0)).toBe(1_000_050);
    expect(recorder.topKeys.size).toBeLessThanOrEqual(200);
    expect(history.bytes).toBeLessThan(3 * 1024 ** 2);
    expect(history.read().routes.routes.length).toBeLessThanOrEqual(60);
    expect(countsOf(recorder)).toBeLessThan(2 * 1024 ** 2);
    const snapshot = await encodeSnapshot({
      labels: { id: randomUUID(), host: 'h', pid: 1, startedAt: 0 },
      state: {
        uptimeSeconds: 1,
        activeRequests: 0,
        openConnections: 0,
        requestRate: 1,
        cpuCores: null,
        rssBytes: null,
        heapUsedBytes: null,
        heapLimitBytes: null,
        eventLoopUtilization: null,
        eventLoopDelayP99: null,
        firing: Array.from({ length: 56 }, () => longAlert()),
      },
      all: recorder.all.all(),
      cache: recorder.cacheUse(),
      routes: foldRoutes(
        recorder.routes.map(({ method, route, counts }) => ({ method, route, counts: counts.all() })),
        50,
      ),
    });
    expect(snapshot.length).toBeLessThanOrEqual(MOST_SNAPSHOT_BYTES);
  });

  it('names the routes of a minute that are the busiest, and adds up the others', () => {
    const recorder = new RequestRecorder(100, false);
    for (let route = 0; route < 60; route++)
      for (let times = 0; times <= route; times++) recorder.record({ ...request, route: `/${route}` });
    const { busiest, other } = recorder.rotateRoutes(50);
    expect(busiest.map(({ series }) => series.route).slice(0, 2)).toEqual(['/59', '/58']);
    expect(busiest).toHaveLength(50);
    expect(other.requests).toBe(55); // 1 + 2 + … + 10
  });
});

describe('the history', () => {
  it('keeps an hour of the process and of the busiest routes in less than 3 MB', () => {
    const history = new History();
    const recorder = new RequestRecorder(500, false);
    const names = Object.keys(history.read().process.figures);
    for (let minute = 0; minute < 200; minute++) {
      for (let route = 0; route < 500; route++) recorder.record({ ...request, route: `/${route}` });
      history.pushRoutes(minute * 60_000, recorder.rotateRoutes(50));
      const figures = Object.fromEntries(names.map((name) => [name, minute]));
      for (let step = 0; step < 12; step++)
        history.pushProcess(minute * 60_000 + step * 5000, { ...figures, p95: null } as never);
    }
    const { process: own, routes, bytes } = history.read();
    expect(bytes).toBeLessThan(3 * 1024 ** 2);
    expect(own.at).toHaveLength(720);
    expect(own.at[0]).toBe(140 * 60_000);
    expect(own.figures.requestRate.at(-1)).toBe(199);
    expect(own.figures.p95.at(-1)).toBeNull();
    expect(routes.routes.find(({ route }) => route === 'other')!.minutes).toHaveLength(60);
    const [busiest] = routes.routes;
    expect(busiest!.minutes[0]).toMatchObject({ requests: 1, clientErrors: 0 });
  });
});

describe('the top keys', () => {
  it('find the URLs that are hit most among many that are hit once', () => {
    const keys = new TopKeys(false);
    for (let at = 0; at < 50_000; at++) {
      keys.record(`/rare/${at}`);
      if (at % 10 === 0) keys.record('/often');
      if (at % 20 === 0) keys.record('/second');
    }
    const [first, second] = keys.list(2);
    expect(first).toEqual({ url: '/often', hits: 5000 });
    expect(second).toEqual({ url: '/second', hits: 2500 });
    expect(keys.size).toBeLessThanOrEqual(200);
  });

  it('shows queries, which may hold secrets, only with the option for it', () => {
    for (const [showsQueries, url] of [
      [false, '/items?…'],
      [true, '/items?token=secret'],
    ] as const) {
      const keys = new TopKeys(showsQueries);
      keys.record('/items?token=secret');
      expect(keys.list(1)).toEqual([{ url, hits: 1 }]);
    }
  });
});

/** Memory of the counts of all routes. Bytes. */
function countsOf(recorder: RequestRecorder): number {
  return recorder.routes.reduce((sum, { counts }) => {
    const all = counts.all();
    // Since the start, of the last minute, and of the one that has not ended.
    return sum + 3 * (all.total.bytes + all.toHeaders.bytes);
  }, 0);
}

describe('the ring of slow requests', () => {
  it('keeps the ten slowest of each five minutes, lists 50 with the worst first, and forgets after an hour', () => {
    const slowest = new SlowestRequests();
    const take = (toHeaders: number) =>
      slowest.record('GET', '/items/:id', { ...request, toHeaders, total: toHeaders + 9 }, 'MISS');
    const start = Date.now();
    const listed = () => slowest.list().map(({ secondsToHeaders }) => Math.round(secondsToHeaders * 1000));
    for (const ms of [5, 90, 20, 70, 40, 60, 50, 30, 80, 10, 100, 15, 4]) take(ms);
    expect(listed()).toEqual([100, 90, 80, 70, 60, 50, 40, 30, 20, 15]);
    expect(slowest.list()[0]).toEqual({
      at: expect.any(Number),
      method: 'GET',
      route: '/items/:id',
      status: 200,
      seconds: 0.109,
      secondsToHeaders: 0.1,
      cache: 'MISS',
    });
    for (let slice = 1; slice <= 11; slice++) {
      slowest.rotate(start + slice * 301_000);
      for (let ms = 1; ms <= 20; ms++) take(1000 * slice + ms);
    }
    expect(listed()).toHaveLength(50);
    expect(listed().slice(0, 2)).toEqual([11_020, 11_019]);
    expect(listed()).toEqual(listed().sort((a, b) => b - a));
    slowest.rotate(start + 3_600_000 + 11 * 301_000);
    expect(listed().every((ms) => ms > 11_000)).toBe(true);
    slowest.rotate(start + 2 * 3_600_000 + 12 * 301_000);
    expect(listed()).toEqual([]);
  });
});
