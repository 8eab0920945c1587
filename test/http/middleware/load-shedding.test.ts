import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, expect, it } from 'vitest';
import { health, performanceApi } from '../../../src/admin/index.js';
import { type HotpathConfig, hotpath, type ShedEvent } from '../../../src/index.js';
import { nextShare } from '../../../src/middleware/load-shedding/overload.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { majors, waitFor } from '../../helpers/http.js';
import { serveUntilAfterEach } from '../../helpers/serve.js';

const serve = serveUntilAfterEach();
const later = closeAfterEach();
let listener: ((message: unknown) => void) | undefined;
afterEach(() => {
  if (listener) unsubscribe('hotpath:shed', listener);
  listener = undefined;
});

describe.each(majors)('load shedding on %s', (_major, express) => {
  /** A pool with so many waiting queries that nearly every request is shed. */
  async function shop(config: HotpathConfig = {}, waitingCount = 1_000_000) {
    const pool = { waitingCount };
    const perf = later(
      hotpath({
        metrics: { defaultMetrics: false },
        loadShedding: { pool, poolWaiting: 10, eventLoopDelay: false, retryAfter: '20s' },
        ...config,
        routes: { '/hit': { cache: { ttl: '1h', shared: true } }, ...config.routes },
      }),
    );
    const app = express();
    app.use(perf);
    perf.attach(app);
    app.use('/ops', health());
    app.use(health());
    app.get('/metrics', perf.metrics.handler);
    app.get('/internal/prom', perf.metrics.handler);
    app.get('/hit', (_req, res) => void res.send('hit'));
    app.all('/page/:id', (_req, res) => void res.send('page'));
    app.get('/pay', (_req, res) => void res.send('pay'));
    const { url } = await serve(app);
    const many = async (path: string, count = 40, init?: RequestInit) => {
      const responses = await Promise.all(Array.from({ length: count }, () => fetch(url + path, init)));
      await Promise.all(responses.map((response) => response.text()));
      return responses;
    };
    const shedOf = async (path: string, count?: number) =>
      (await many(path, count)).filter(({ status }) => status === 503).length;
    return { perf, pool, url, many, shedOf, app };
  }

  it('refuses with a problem, a jittered Retry-After, a count and an event', async () => {
    const events: ShedEvent[] = [];
    listener = (message) => void events.push(message as ShedEvent);
    subscribe('hotpath:shed', listener);
    const { many, perf, url } = await shop();
    const shed = (await many('/page/1')).filter(({ status }) => status === 503);
    expect(shed.length).toBeGreaterThan(20);
    const seconds = shed.map(({ headers }) => Number(headers.get('retry-after')));
    expect(Math.min(...seconds)).toBeGreaterThanOrEqual(10);
    expect(Math.max(...seconds)).toBeLessThanOrEqual(30);
    expect(new Set(seconds).size).toBeGreaterThan(1);
    expect(shed[0]!.headers.get('cache-control')).toBe('no-store');
    expect(shed[0]!.headers.get('content-type')).toBe('application/problem+json');
    expect(events).toHaveLength(shed.length);
    expect(events[0]).toMatchObject({ reason: 'pool', route: '/page/:id' });
    const text = await perf.metrics.registry!.metrics();
    expect(text).toContain(`hotpath_shed_requests_total{reason="pool"} ${shed.length}`);
    expect(text).toMatch(
      new RegExp(`http_requests_total\\{.*path="/page/:id".*status="503".*\\} ${shed.length}`),
    );
    const upload = await fetch(`${url}/page/1`, { method: 'POST', body: 'x'.repeat(100_000) });
    expect([200, 503]).toContain(upload.status);
  });

  it('spares hits, health, metrics and routes that say so; stops when the load is gone', async () => {
    const { many, pool, shedOf } = await shop({ routes: { '/pay': { loadShedding: false } } }, 0);
    // The first responses show where health and metrics are.
    for (const path of ['/hit', '/ops/readyz', '/internal/prom', '/page/1']) await many(path, 1);
    pool.waitingCount = 1_000_000;
    for (const path of ['/hit', '/healthz', '/readyz', '/ops/readyz', '/metrics', '/internal/prom', '/pay'])
      expect([path, await shedOf(path, 15)]).toEqual([path, 0]);
    expect(await shedOf('/page/1')).toBeGreaterThan(20);
    pool.waitingCount = 10;
    expect(await shedOf('/page/1')).toBe(0);
  });

  it('learns no paths to spare from refusals, which clients could make any number of', async () => {
    const { many, pool, shedOf, perf, app } = await shop({}, 0);
    app.use('/figures', performanceApi({ perf, authorize: () => false }));
    for (let at = 0; at < 120; at++) await many(`/figures/${at}`, 1);
    await many('/ops/readyz', 1);
    pool.waitingCount = 1_000_000;
    expect(await shedOf('/ops/readyz', 15)).toBe(0);
    expect(await shedOf('/figures/1', 15)).toBeGreaterThan(0);
  });

  it('sheds a share of the requests while the event loop is late, and none afterwards', async () => {
    const { shedOf } = await shop({ loadShedding: { eventLoopDelay: '40ms' } });
    expect(await shedOf('/page/1', 5)).toBe(0);
    const block = setInterval(() => {
      const until = Date.now() + 150;
      while (Date.now() < until);
    }, 1);
    try {
      await waitFor(async () => (await shedOf('/page/1', 10)) > 0);
    } finally {
      clearInterval(block);
    }
    // Not by a crowd, which could be late itself on a busy machine.
    await waitFor(async () => (await shedOf('/page/1', 1)) + (await shedOf('/page/1', 1)) === 0);
  });

  it('is off by default, and a pool that throws breaks nothing', async () => {
    const off = await shop({ loadShedding: false });
    expect(await off.shedOf('/page/1')).toBe(0);
    let isBroken = false;
    const pool = {
      get waitingCount(): number {
        if (isBroken) throw new Error('broken');
        return 0;
      },
    };
    const broken = await shop({ loadShedding: { pool, poolWaiting: 1 } });
    isBroken = true;
    expect(await broken.shedOf('/page/1', 5)).toBe(0);
  });
});

describe('load shedding', () => {
  it('settles where the load fits the limit', () => {
    // Each accepted request costs delay: at a share of 0.6, the delay is the limit.
    let share = 0;
    const shares: number[] = [];
    for (let step = 0; step < 60; step++) {
      share = nextShare(share, (1 - share) * 2.5);
      shares.push(share);
    }
    for (const late of shares.slice(20)) expect(late).toBeGreaterThan(0.5);
    for (const late of shares.slice(20)) expect(late).toBeLessThan(0.8);
    for (let step = 0; step < 20; step++) share = nextShare(share, 0.1);
    expect(share).toBe(0);
    expect(nextShare(0, Number.POSITIVE_INFINITY)).toBeLessThanOrEqual(0.95);
  });

  it.each([
    [{ poolWaiting: 5 }, 'poolWaiting'],
    [{ eventLoopDelay: false }, 'eventLoopDelay'],
    [{ eventLoopDelay: 0 }, 'eventLoopDelay'],
    [{ pool: {} }, 'pool'],
    [{ retryAfter: 'soon' }, 'retryAfter'],
  ])('refuses the options %j, naming %s', (loadShedding, name) => {
    expect(() => hotpath({ loadShedding: loadShedding as never })).toThrow(`loadShedding.${name}`);
  });
});
