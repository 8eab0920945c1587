import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Agent, request } from 'node:http';
import { type Hotpath, hotpath, type RequestEvent, type RequestFigures } from 'hotpath';
import { basicAuth, performanceApi } from 'hotpath/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bucketOf } from '../../../src/telemetry/requests/histogram.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { type express5, listen, majors, waitFor } from '../../helpers/http.js';
import { RedisServer } from '../../helpers/redis.js';

const later = closeAfterEach();
const API = '/api/v1/performance';
const LOGIN = `Basic ${Buffer.from('admin:secret').toString('base64')}`;

let redis: RedisServer;
beforeAll(async () => {
  redis = await RedisServer.start();
});
afterAll(() => redis.stop());

type App = ReturnType<typeof express5>;

/** Routes in every form that Express has, and of every outcome. */
function addRoutes(express: typeof express5, app: App, hanging: Set<string>): void {
  const posts = express.Router({ mergeParams: true });
  posts.get('/', (_req, res) => void res.send('list'));
  posts.get('/:post', (req, res) => void res.json(req.params));
  posts.get('/:post/boom', () => {
    throw new Error('boom');
  });
  posts.get('/:post/refused', (_req, _res, next) => next(Object.assign(new Error('no'), { status: 403 })));
  const users = express.Router();
  users.use('/:user/posts', posts);
  app.use('/users', users);
  const versioned = express.Router();
  versioned.get(['/status', /^\/state$/], (_req, res) => void res.send('up'));
  versioned.get('/left/:id', (_req, _res, next) => next());
  app.use(['/v1', '/v2'], versioned);
  app.use(
    /^\/(?:eu|us)/,
    express.Router().get('/shop/:id', (_req, res) => void res.send('shop')),
  );
  app.use(
    '/shops/:shop',
    express().get('/items/:item', (_req, res) => void res.send('of a sub-app')),
  );
  app.get(['/a/:id', '/b'], (_req, res) => void res.send('array'));
  app.get(/^\/re(gex)?$/, (_req, res) => void res.send('regexp'));
  app.route('/orders').post((_req, res) => void res.status(201).send('made'));
  app.get('/old/:id', (_req, res) => res.redirect('/a'));
  app.get('/missing/:id', (_req, res) => void res.status(404).send('none'));
  app.get('/cached/:id', (_req, res) => void res.send('x'.repeat(3000)));
  app.get('/slow/:ms', (req, res) => void setTimeout(() => res.send('slow'), Number(req.params.ms)));
  app.get('/streams/:ms', (req, res) => {
    res.write('head');
    setTimeout(() => res.end('tail'), Number(req.params.ms));
  });
  app.get('/hang/:id', (req) => void hanging.add(req.originalUrl));
  app.post('/hang/:id/upload', (req) => void req.once('data', () => hanging.add(req.originalUrl)));
  app.get('/drip/:id', (_req, res) => void res.write('drop'));
  app.use('/errors', (_req, _res, next) => next(new Error('of a middleware')));
  app.use('/hooks/:id', (_req, res) => void res.status(202).send('of a middleware'));
}

/** Requests of one instance: method, path, route and status, as the client knows them, and how many. */
const LOAD: readonly [method: string, path: string, route: string, status: number, times: number][] = [
  ['GET', '/users/{}/posts/{}', '/users/:user/posts/:post', 200, 9],
  ['HEAD', '/users/{}/posts/{}', '/users/:user/posts/:post', 200, 3],
  ['GET', '/USERS/posts/Posts/posts', '/users/:user/posts/:post', 200, 2],
  ['GET', '/users/{}/posts', '/users/:user/posts', 200, 4],
  ['GET', '/users/{}/posts/{}/boom', '/users/:user/posts/:post/boom', 500, 5],
  ['GET', '/users/{}/posts/{}/refused?x={}', '/users/:user/posts/:post/refused', 403, 4],
  ['GET', '/v1/status', '/v1/status /^\\/state$/', 200, 2],
  ['GET', '/v2/state', '/v2/status /^\\/state$/', 200, 3],
  ['GET', '/v2/left/{}', 'unmatched', 404, 3],
  ['GET', '/eu/shop/{}', '/^\\/(?:eu|us)//shop/:id', 200, 4],
  ['GET', '/shops/{}/items/{}', '/shops/:shop/items/:item', 200, 6],
  ['GET', '/a/{}', '/a/:id /b', 200, 4],
  ['GET', '/b?{}', '/a/:id /b', 200, 3],
  ['GET', '/regex', '/^\\/re(gex)?$/', 200, 5],
  ['POST', '/orders', '/orders', 201, 6],
  ['DELETE', '/orders', 'unmatched', 404, 2],
  ['OPTIONS', '/orders', 'unmatched', 200, 2],
  ['POST', '/hang/{}/upload', '/hang/:id/upload', 499, 3],
  ['GET', '/old/{}', '/old/:id', 302, 2],
  ['GET', '/missing/{}', '/missing/:id', 404, 7],
  ['GET', '/cached/{}', '/cached/:id', 200, 4],
  ['GET', '/cached/0', '/cached/:id', 200, 12],
  ['HEAD', '/cached/0', '/cached/:id', 200, 5],
  ['GET', '/slow/{}', '/slow/:ms', 200, 40],
  ['GET', '/streams/{}', '/streams/:ms', 200, 25],
  ['GET', '/hang/{}', '/hang/:id', 499, 4],
  ['GET', '/drip/{}', '/drip/:id', 499, 3],
  ['GET', '/errors/{}', 'unmatched', 500, 3],
  ['PUT', '/hooks/{}', '/hooks/:id', 202, 2],
  ['GET', '/nowhere/{}', 'unmatched', 404, 8],
  ['GET', '/users/%zz/posts/{}', 'unmatched', 400, 3],
  ['PROPFIND', '/{}', 'unmatched', 404, 2],
];

/** Requests by method, route and outcome. */
type Counts = Record<string, number>;

function count(counts: Counts, method: string, route: string, outcome: string | number, times = 1): void {
  if (times === 0) return;
  const key = `${method === 'PROPFIND' ? 'other' : method} ${route} ${outcome}`;
  counts[key] = (counts[key] ?? 0) + times;
}

const outcomeOf = (status: number) =>
  status === 499 ? 'aborted' : status >= 500 ? '5xx' : status >= 400 ? '4xx' : 'ok';

/** The counts that telemetry has of these: it groups statuses. */
function byOutcome(counts: Counts): Counts {
  const told: Counts = {};
  for (const [key, times] of Object.entries(counts)) {
    const [, method, route, status] = /^(\S+) (.*) (\d+)$/.exec(key)!;
    count(told, method!, route!, outcomeOf(Number(status)), times);
  }
  return told;
}

function sum(...all: Counts[]): Counts {
  const total: Counts = {};
  for (const [key, times] of all.flatMap((counts) => Object.entries(counts)))
    total[key] = (total[key] ?? 0) + times;
  return total;
}

/** Sends one request, and returns the status that came; 499 when it left, as the server will call it. */
function send(agent: Agent, port: number, method: string, path: string, leavesWhen?: () => boolean) {
  return new Promise<{ status: number; bytes: number }>((resolve, reject) => {
    let bytes = 0;
    const sent = request({ agent, host: '127.0.0.1', port, method, path }, (res) => {
      res.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (leavesWhen) sent.destroy();
      });
      res.on('error', () => resolve({ status: 499, bytes }));
      res.on('end', () => resolve({ status: res.statusCode!, bytes }));
    });
    sent.on('error', (error) => (leavesWhen ? resolve({ status: 499, bytes }) : reject(error)));
    if (leavesWhen && method === 'POST') sent.write('half of a body');
    else sent.end();
    if (leavesWhen && path.startsWith('/hang')) waitFor(leavesWhen).then(() => void sent.destroy(), reject);
  });
}

async function instance(express: typeof express5, prefix: string) {
  const perf = hotpath({
    cache: { redis: { prefix, url: redis.url, readTimeout: 5, writeTimeout: 5 } },
    routes: { '/cached/:id': { cache: { ttl: '1h', shared: true } } },
    metrics: { defaultMetrics: false },
  });
  const app = express();
  app.use(perf);
  const api = performanceApi({ perf, authorize: basicAuth({ users: { admin: 'secret' } }) });
  app.use(API, api);
  const hanging = new Set<string>();
  addRoutes(express, app, hanging);
  perf.attach(app);
  const { port, url, close } = await listen(app);
  for (const resource of [{ close }, perf, api]) later(resource);
  await waitFor(() => perf.cache.stats().redis!.ready);
  return { perf, port, url, hanging, telemetry: perf.telemetry! };
}

/** Sends the load in a mixed order, eight at a time. @returns what the client itself has counted. */
async function drive({ port, hanging }: Awaited<ReturnType<typeof instance>>, factor: number) {
  const agent = later(new Agent({ keepAlive: true, maxSockets: 8 }) as Agent & { close?(): void });
  agent.close = () => agent.destroy();
  const requests = LOAD.flatMap(([method, path, route, status, times]) =>
    Array.from({ length: times * factor }, (_, at) => {
      return { method, path: path.replaceAll('{}', String(at)), route, status };
    }),
  );
  // Steps of a prime length reach every request, in an order that mixes them.
  const step = 101;
  expect(requests.length % step).not.toBe(0);
  const got: Counts = {};
  let bytes = 0;
  let next = 0;
  const client = async () => {
    while (next < requests.length) {
      const { method, path, route, status } = requests[(next++ * step) % requests.length]!;
      const leavesWhen = status === 499 ? () => hanging.has(path) : undefined;
      const answer = await send(agent, port, method, path, leavesWhen);
      expect(answer.status, path).toBe(status);
      if (status !== 499) bytes += answer.bytes;
      count(got, method, route, answer.status);
    }
  };
  await Promise.all(Array.from({ length: 8 }, client));
  return { got, bytes, requests: requests.length };
}

/** Counts of `http_requests_total`. */
async function measured({ metrics }: Hotpath): Promise<Counts> {
  const counts: Counts = {};
  const text = await metrics.registry!.getSingleMetricAsString('http_requests_total');
  for (const [, method, path, status, value] of text.matchAll(
    /^http_requests_total\{method="(.*?)",path="(.*?)",status="(\d+)"\} (\d+)$/gm,
  ))
    count(counts, method!, path!.replaceAll('\\\\', '\\'), status!, Number(value));
  return counts;
}

interface Reported {
  readonly method: string;
  readonly route: string;
  readonly figures: RequestFigures;
}

function reported(routes: readonly Reported[]): Counts {
  const counts: Counts = {};
  for (const { method, route, figures } of routes) {
    const { requests, clientErrors, serverErrors, aborted } = figures;
    count(counts, method, route, 'ok', requests - clientErrors - serverErrors - aborted);
    count(counts, method, route, '4xx', clientErrors);
    count(counts, method, route, '5xx', serverErrors);
    count(counts, method, route, 'aborted', aborted);
  }
  return counts;
}

/** Compares percentiles with those of durations that events gave. */
function expectPercentiles(figures: RequestFigures, events: readonly RequestEvent[], of: string): void {
  for (const [durations, read] of [
    [figures.total, (event: RequestEvent) => event.seconds],
    [figures.toHeaders, (event: RequestEvent) => event.secondsToHeaders],
  ] as const) {
    const sorted = events.map(read).sort((a, b) => a - b);
    for (const [name, share] of [
      ['p50', 0.5],
      ['p95', 0.95],
      ['p99', 0.99],
    ] as const) {
      const exact = sorted[Math.ceil(share * sorted.length) - 1]!;
      const apart = bucketOf(durations[name]! * 1000) - bucketOf(exact * 1000);
      expect(Math.abs(apart), `${of} ${name}: ${durations[name]}, not ${exact}`).toBeLessThanOrEqual(1);
    }
    expect(durations.max).toBeCloseTo(sorted.at(-1)!, 5);
  }
}

describe.each(majors)('counts of two instances on %s', (name, express) => {
  it('are those of the client in metrics, telemetry and API, and percentiles those of events', async () => {
    const events: RequestEvent[] = [];
    const listener = (message: unknown) => void events.push(message as RequestEvent);
    subscribe('hotpath:request', listener);
    later({ close: () => unsubscribe('hotpath:request', listener) });
    const both = [await instance(express, `${name}:`), await instance(express, `${name}:`)] as const;
    const loads = await Promise.all(both.map((each, at) => drive(each, at + 1)));
    for (const [at, { perf, telemetry }] of both.entries()) {
      const { got, bytes, requests } = loads[at]!;
      await waitFor(() => telemetry.snapshot().requests.sinceStart.requests >= requests);
      expect(await measured(perf)).toEqual(got);
      const routes = telemetry.routes().map((each) => ({ ...each, figures: each.sinceStart }));
      expect(reported(routes)).toEqual(byOutcome(got));
      const { active, sinceStart } = telemetry.snapshot().requests;
      expect({ active, requests: sinceStart.requests }).toEqual({ active: 0, requests });
      const ofAborted = routes.filter(({ figures }) => figures.aborted > 0);
      const abortedBytes = ofAborted.reduce((all, { figures }) => all + figures.responseBytes, 0);
      expect(sinceStart.responseBytes - abortedBytes).toBe(bytes);
      await telemetry.step();
    }

    const total = sum(...loads.map(({ got }) => got));
    const requests = loads[0]!.requests + loads[1]!.requests;
    for (const { telemetry, url } of both) {
      // Callers within a second share a reading.
      await waitFor(async () => (await telemetry.instances()).total.requests.requests === requests);
      const report = await telemetry.instances();
      expect(report.instances.map((each) => each.requests.requests).sort()).toEqual(
        loads.map((load) => load.requests).sort(),
      );
      expect(reported(report.routes.map((each) => ({ ...each, figures: each.requests })))).toEqual(
        byOutcome(total),
      );
      const response = await fetch(`${url}${API}/api?instance=all`, { headers: { authorization: LOGIN } });
      const { volatile } = (await response.json()) as {
        volatile: {
          isComplete: boolean;
          instanceCount: number;
          requests: { active: number; sinceStart: RequestFigures };
          routes: { method: string; route: string; sinceStart: RequestFigures }[];
        };
      };
      expect(volatile).toMatchObject({ isComplete: true, instanceCount: 2, requests: { active: 0 } });
      expect(volatile.requests.sinceStart).toMatchObject({
        requests,
        responseBytes: both.reduce(
          (all, each) => all + each.telemetry.snapshot().requests.sinceStart.responseBytes,
          0,
        ),
      });
      const ofApi = volatile.routes.map((each) => ({ ...each, figures: each.sinceStart }));
      expect(reported(ofApi)).toEqual(byOutcome(total));
      // The API leaves its own requests out of the counts, but not out of the events.
      const counted = events.filter(({ route }) => !route?.startsWith(API));
      expect(counted).toHaveLength(requests);
      expectPercentiles(volatile.requests.sinceStart, counted, 'all');
      for (const { method, route, figures } of ofApi) {
        const own = counted.filter(
          (each) =>
            (each.method === 'PROPFIND' ? 'other' : each.method) === method &&
            (each.route ?? 'unmatched') === route,
        );
        expect(own).toHaveLength(figures.requests);
        expectPercentiles(figures, own, `${method} ${route}`);
      }
    }
    // The front door took part.
    expect(both[0].perf.cache.stats().frontDoor.hits).toBeGreaterThan(0);
  });
});
