// The cost of timing, metrics, telemetry and unheard events per request: `npm run build`, then
// `npm run bench:telemetry`. Requests go
// through an app in this process, without sockets, since a socket's noise is larger than what is measured. Apps are
// measured by turns: a bare one; one with the exchange alone; one with timing, metrics and telemetry; one without
// telemetry. Then hits of the front door, without and with telemetry. Each round takes a low percentile of many short
// batches, which leaves out interrupted ones.
//
// The bound of 3 µs was set on a machine where `express-prom-bundle` cost 2.3 to 3.0 µs. It runs here too, so that the
// ratio tells what the bound means on a machine of another speed. Ends with 1 when the three cost more than 3 µs. Use
// Node 24.
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import express from 'express';
import prometheusBundle from 'express-prom-bundle';
import { Registry } from 'prom-client';
// The built package: what tsx makes of the source names each closure when it is made, which costs as much as telemetry.
import { hotpath } from '../dist/index.js';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, batches: { type: 'string', default: '60' } },
});
const ROUNDS = Number(values.rounds);
const BATCHES = Number(values.batches);
/** So few that most batches run without a pause for another program. */
const REQUESTS = 200;
const WARM_UP = 100;
/** Microseconds. */
const BOUND = 3;

const off = {
  timing: false,
  metrics: false,
  telemetry: false,
  cache: false,
  compression: false,
  cacheControl: false,
  sizeLimit: false,
} as const;
/** Without request ids: what `randomUUID` costs is the price of an id, not of timing. */
const timing = { requestId: false } as const;
const metrics = { defaultMetrics: false } as const;

type Handler = (req: IncomingMessage, res: ServerResponse) => void;
type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;

/** Hits of the front door. */
function hitsWith(telemetry: boolean): Handler {
  const perf = hotpath({
    ...off,
    cache: true,
    telemetry,
    routes: { '/*path': { cache: { ttl: '1h', shared: true } } },
  });
  const app = express();
  app.use(perf);
  app.get('/api/products/:id', (_req, res) => {
    res.end('ok');
  });
  perf.attach(app);
  return app as unknown as Handler;
}

const contenders: Record<string, Handler> = {
  bare: appWith(undefined),
  'express-prom-bundle with path': appWith(
    prometheusBundle({
      includeMethod: true,
      includePath: true,
      promRegistry: new Registry(),
    }) as unknown as Middleware,
  ),
  'the exchange that all share': appWith(hotpath(off)),
  'timing and metrics': appWith(hotpath({ ...off, timing, metrics })),
  'timing, metrics and telemetry': appWith(hotpath({ ...off, timing, metrics, telemetry: true })),
  'front-door hit': hitsWith(false),
  'front-door hit with telemetry': hitsWith(true),
};

function appWith(middleware: Middleware | undefined): Handler {
  const app = express();
  app.set('etag', false);
  if (middleware) app.use(middleware);
  app.get('/api/products/:id', (_req, res) => {
    res.end('ok');
  });
  return app as unknown as Handler;
}

/** A socket that takes everything at once. */
class Sink extends Socket {
  override _write(_chunk: unknown, _encoding: unknown, done: () => void): void {
    done();
  }
  override _writev(_chunks: unknown, done: () => void): void {
    done();
  }
}

const sink = new Sink();

function request(handler: Handler): Promise<void> {
  const req = new IncomingMessage(sink);
  req.method = 'GET';
  req.url = '/api/products/42';
  req.httpVersion = '1.1';
  req.httpVersionMajor = 1;
  req.httpVersionMinor = 1;
  req.headers = { host: 'shop.example' };
  const res = new ServerResponse(req);
  res.assignSocket(sink);
  return new Promise((resolve) => {
    // As Node's server does at the end of a response.
    res.on('finish', () => {
      res.detachSocket(sink);
      res.destroyed = true;
      res.emit('close');
      resolve();
    });
    handler(req, res);
  });
}

/** Microseconds a request. */
async function batch(handler: Handler): Promise<number> {
  // CPU time has steps of 4 ms on some kernels, as long as a batch.
  const startedAt = performance.now();
  for (let at = 0; at < REQUESTS; at++) await request(handler);
  return ((performance.now() - startedAt) * 1000) / REQUESTS;
}

const quantile = (numbers: readonly number[], share: number) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length * share)]!;
const median = (numbers: readonly number[]) => quantile(numbers, 0.5);

const rounds = new Map<string, number[]>(Object.keys(contenders).map((name) => [name, []]));
for (const handler of Object.values(contenders)) for (let at = 0; at < WARM_UP; at++) await batch(handler);
for (let round = 0; round < ROUNDS; round++) {
  const taken = new Map<string, number[]>(Object.keys(contenders).map((name) => [name, []]));
  // By turns within a round, so that whatever else the machine does concerns all of them.
  for (let at = 0; at < BATCHES; at++)
    for (const [name, handler] of Object.entries(contenders)) taken.get(name)!.push(await batch(handler));
  for (const [name, each] of taken) rounds.get(name)!.push(quantile(each, 0.1));
}

console.log(`Node ${process.version}, ${ROUNDS} rounds of ${BATCHES} batches of ${REQUESTS} requests\n`);
const bare = median(rounds.get('bare')!);
for (const [name, each] of rounds) {
  const cost = median(each);
  console.log(
    `${name.padEnd(32)} ${cost.toFixed(2)} µs a request, ${(cost - bare).toFixed(2)} µs more than bare`,
  );
}
const costOf = (name: string) => median(rounds.get(name)!) - bare;
const cost = costOf('timing, metrics and telemetry');
const ratio = cost / costOf('express-prom-bundle with path');
console.log(`\ntiming, metrics and telemetry cost ${ratio.toFixed(2)} of express-prom-bundle`);
const isWithin = cost < BOUND;
console.log(`${isWithin ? 'within' : 'over'} the bound of ${BOUND} µs`);
process.exit(isWithin ? 0 : 1);
