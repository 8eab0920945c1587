import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import type { Database } from '../../../examples/products-api/database.js';
import { jobSettingsFromEnv } from '../../../examples/products-api/jobs/settings.js';
import { openThreadEngine } from '../../../examples/products-api/jobs/thread-engine.js';
import { type JobEngine, JobsUnavailable } from '../../../examples/products-api/jobs/types.js';
import { type ServedShop, serveShop } from '../../examples/shop.js';
import { waitFor } from '../../helpers/http.js';

const SIMULATION = new URL('../../examples/simulation.mjs', import.meta.url);

/** A database that knows the products 1 to 9. */
const db: Database = {
  query: async (_text, values = []) => (Number(values[0]) < 10 ? [{ stock: 5, sales: [1, 2] }] : []) as never,
};

let shop: ServedShop;

afterEach(async () => {
  await shop.stop();
});

async function serve(jobs: JobEngine = openThreadEngine(jobSettingsFromEnv({}), SIMULATION)): Promise<void> {
  shop = await serveShop({ db, jobs, report: () => {} });
}

const post = (body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${shop.url}/api/forecasts`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

interface Status {
  id: string;
  state: string;
  progress: number;
  links: Record<string, string>;
}

async function submit(productId: number): Promise<string> {
  const response = await post({ productId });
  expect(response.status).toBe(202);
  return response.headers.get('location')!;
}

const read = async (path: string) => (await (await fetch(shop.url + path)).json()) as Status;

async function expectProblem(response: Response, status: number, detail: string): Promise<void> {
  expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(await response.json()).toMatchObject({ type: 'about:blank', status, detail });
  expect(response.status).toBe(status);
}

/** An open stream of events. */
async function watch(path: string, headers: Record<string, string> = {}) {
  const request = get(`${shop.url}${path}/events`, { agent: false, headers });
  request.on('error', () => {});
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.setEncoding('utf8');
  let text = '';
  response.on('data', (part: string) => {
    text += part;
  });
  // Not `once`, which rejects when the client itself has left.
  response.on('error', () => {});
  const ended = new Promise<void>((resolve) => response.on('close', resolve));
  return { request, response, ended, text: () => text };
}

describe('POST /api/forecasts', () => {
  test('responds with 202, the address of the forecast and the time to wait', async () => {
    await serve();
    const response = await post({ productId: 1, days: 7, priority: 'high' });
    expect(response.status).toBe(202);
    expect(response.headers.get('retry-after')).toBe('1');
    const status = (await response.json()) as Status;
    expect(status).toMatchObject({ priority: 'high', input: { productId: 1, days: 7, runs: 1_000_000 } });
    const path = response.headers.get('location')!;
    expect(path).toBe(`/api/forecasts/${status.id}`);
    await waitFor(async () => (await read(path)).state === 'done');
    const { links, progress } = await read(path);
    expect(progress).toBe(100);
    const result = await fetch(shop.url + links.result);
    expect(await result.json()).toMatchObject({ forecast: status.id, mean: [1], stock: 5 });
  });

  test('rejects input that it does not know, and says what it accepts', async () => {
    await serve();
    const whole = (name: string, most: number, least = 1) =>
      `"${name}" must be a whole number from ${least} to ${most}.`;
    const cases: readonly (readonly [unknown, string])[] = [
      [{}, whole('productId', 2_147_483_647)],
      [{ productId: '1' }, whole('productId', 2_147_483_647)],
      [{ productId: 1, days: 0 }, whole('days', 365)],
      [{ productId: 1, days: 1.5 }, whole('days', 365)],
      [{ productId: 1, runs: 1e9 }, whole('runs', 50_000_000, 1_000)],
      [{ productId: 1, priority: 'now' }, '"priority" must be one of: high, normal, low.'],
      [{ productId: 1, seed: 1 }, 'Unknown field "seed". Known: productId, days, runs, priority.'],
      [[1], 'The body must be a JSON object, sent as application/json.'],
    ];
    for (const [body, detail] of cases) await expectProblem(await post(body), 400, detail);
    await expectProblem(await post({ productId: 77 }), 404, 'There is no such product.');
  });

  test('responds with the result at once for an input that is cached, until the product changes', async () => {
    await serve();
    const path = await submit(1);
    await waitFor(async () => (await read(path)).state === 'done');
    const result = await (await fetch(`${shop.url}${path}/result`)).json();
    const cached = await post({ productId: 1, priority: 'low' });
    expect([cached.status, cached.headers.get('content-location')]).toEqual([200, `${path}/result`]);
    expect(await cached.json()).toEqual(result);
    expect(shop.app.perf.cache.stats().functions.forecast).toMatchObject({ runs: 1 });
    expect((await post({ productId: 1, days: 31 })).status).toBe(202);
    const fresh = await post({ productId: 1 }, { 'Cache-Control': 'no-cache' });
    expect(fresh.status).toBe(202);
    const own = fresh.headers.get('location')!;
    await waitFor(async () => (await read(own)).state === 'done');
    expect(await (await fetch(`${shop.url}${own}/result`)).json()).toMatchObject({
      forecast: own.split('/').at(-1),
    });
    // As a change of the table does; this database has no tables.
    await shop.app.perf.cache.purge({ tag: 'product:1' });
    expect((await post({ productId: 1 })).status).toBe(202);
  });

  test('responds with 503 and the time to wait while the queue is full or away', async () => {
    const jobs = openThreadEngine(jobSettingsFromEnv({}), SIMULATION);
    const full = async () => {
      throw new JobsUnavailable('The queue is full.');
    };
    await serve(Object.assign(jobs, { submit: full }));
    const response = await post({ productId: 1 });
    expect(response.headers.get('retry-after')).toBe('5');
    await expectProblem(response, 503, 'The queue is full.');
  });
});

describe('a forecast', () => {
  test('is cancelled by DELETE, again without effect, and has no result then', async () => {
    await serve();
    const path = await submit(4);
    await expectProblem(
      await fetch(`${shop.url}${path}/result`),
      409,
      'There is no result: the forecast is running.',
    );
    for (let turn = 0; turn < 2; turn++) {
      const response = await fetch(shop.url + path, { method: 'DELETE' });
      expect([response.status, ((await response.json()) as Status).state]).toEqual([200, 'cancelled']);
    }
    await expectProblem(
      await fetch(`${shop.url}${path}/result`),
      409,
      'There is no result: the forecast is cancelled.',
    );
    const done = await submit(1);
    await waitFor(async () => (await read(done)).state === 'done');
    const late = await fetch(shop.url + done, { method: 'DELETE' });
    await expectProblem(late, 409, 'The forecast cannot be cancelled: it is done.');
  });

  test('that does not exist is a 404 at each address', async () => {
    await serve();
    for (const id of ['x', '00000000-0000-0000-0000-000000000000', '..%2f']) {
      for (const [method, rest] of [
        ['GET', ''],
        ['DELETE', ''],
        ['GET', '/events'],
        ['GET', '/result'],
      ] as const) {
        const response = await fetch(`${shop.url}/api/forecasts/${id}${rest}`, { method });
        await expectProblem(response, 404, 'There is no such forecast.');
      }
    }
  });

  test('sends its progress as events, to its end', async () => {
    await serve();
    const path = await submit(1);
    const { response, ended, text } = await watch(path);
    expect(response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
    });
    await ended;
    const states = [...text().matchAll(/^event: status\nid: (\S+)\ndata: (.+)$/gm)];
    expect(JSON.parse(states.at(-1)![2]!)).toMatchObject({ state: 'done', progress: 100 });
    // A browser reconnects after the end of a stream. This status stops it.
    const again = await watch(path, { 'Last-Event-ID': states.at(-1)![1]! });
    expect(again.response.statusCode).toBe(204);
    await waitFor(() => shop.app.streams.size === 0 && !shop.app.streams.isActive);
  });

  test('keeps nothing for a client that has left, and ends its streams when the server closes', async () => {
    await serve();
    const path = await submit(4);
    const clients = await Promise.all([1, 2, 3].map(() => watch(path)));
    expect([shop.app.streams.size, shop.app.streams.isActive]).toEqual([3, true]);
    clients[0]!.request.destroy();
    clients[1]!.request.destroy();
    await waitFor(() => shop.app.streams.size === 1);
    shop.app.endStreams();
    await clients[2]!.ended;
    expect(clients[2]!.text()).toContain('"state":"running"');
    expect([shop.app.streams.size, shop.app.streams.isActive]).toEqual([0, false]);
    await expectProblem(
      await fetch(`${shop.url}${path}/events`),
      503,
      'There are too many event streams, or the server shuts down.',
    );
  });
});

describe('the settings of jobs', () => {
  test('have the defaults of the documentation, and prefer a Redis of their own', () => {
    expect(jobSettingsFromEnv({})).toMatchObject({
      redisUrl: undefined,
      databaseUrl: undefined,
      maxConcurrentJobs: 10,
      timeoutSeconds: 3_600,
      heartbeatSeconds: 30,
    });
    const both = { REDIS_URL: 'redis://a', JOBS_REDIS_URL: 'redis://b' };
    expect(jobSettingsFromEnv(both).redisUrl).toBe('redis://b');
    expect(jobSettingsFromEnv({ REDIS_URL: 'redis://a' }).redisUrl).toBe('redis://a');
  });

  test.each([
    ['MAX_CONCURRENT_JOBS', '0'],
    ['JOB_TIMEOUT', '1h'],
    ['WORKER_HEARTBEAT_INTERVAL', '0.01'],
    ['JOBS_REDIS_URL', 'http://host'],
  ])('name the variable %s when its value %s is invalid', (name, value) => {
    expect(() => jobSettingsFromEnv({ [name]: value })).toThrow(name);
  });
});
