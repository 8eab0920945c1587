// The cost of timing, metrics, telemetry and unheard events per request: `npm run build`, then
// `npm run bench:telemetry`. Requests go through an app without sockets, since a socket's noise is larger than what is
// measured.
//
// Each app runs in a process of its own, as apps do. In one process, the handlers of seven apps share Express's call
// sites. V8 then inlines none of them, and each middleware costs up to twice as much as it does alone.
//
// A round starts one process for each app, one after the other. It takes a low percentile of many short batches, which
// leaves out interrupted ones. Costs are differences to the bare app of the same round; the median of the rounds
// counts. `express-prom-bundle` runs beside them. Ends with 1 when the three cost more than 3 µs. Use Node 24.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import express from 'express';
import prometheusBundle from 'express-prom-bundle';
import { Registry } from 'prom-client';
// The built package, as users run it.
import { hotpath } from '../dist/index.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    batches: { type: 'string', default: '300' },
    contender: { type: 'string' },
  },
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

const BARE = 'bare';
const BUNDLE = 'express-prom-bundle with path';
const THREE = 'timing, metrics and telemetry';

const contenders: Record<string, () => Handler> = {
  [BARE]: () => appWith(undefined),
  'a middleware that does nothing': () => appWith((_req, _res, next) => next()),
  [BUNDLE]: () =>
    appWith(
      prometheusBundle({
        includeMethod: true,
        includePath: true,
        promRegistry: new Registry(),
      }) as unknown as Middleware,
    ),
  'the exchange that all share': () => appWith(hotpath(off)),
  'timing and metrics': () => appWith(hotpath({ ...off, timing, metrics })),
  [THREE]: () => appWith(hotpath({ ...off, timing, metrics, telemetry: true })),
  'front-door hit': () => hitsWith(false),
  'front-door hit with telemetry': () => hitsWith(true),
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

/** Runs in a process of its own. @returns microseconds a request. */
async function measure(name: string): Promise<number> {
  const handler = contenders[name]!();
  for (let at = 0; at < WARM_UP; at++) await batch(handler);
  const taken: number[] = [];
  for (let at = 0; at < BATCHES; at++) taken.push(await batch(handler));
  return quantile(taken, 0.1);
}

async function measureApart(name: string): Promise<number> {
  const options = ['--contender', name, '--batches', String(BATCHES)];
  // Without tsx, which would name each closure when it is made; Node 24 reads the file as it is.
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), options, { execArgv: [] });
  const [message] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`the process of "${name}" ended with ${code} before it had a result`);
    }),
  ]);
  return message as number;
}

async function main(): Promise<void> {
  const rounds = new Map<string, number[]>(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, taken] of rounds) taken.push(await measureApart(name));

  console.log(`Node ${process.version}, ${ROUNDS} rounds, ${BATCHES} batches of ${REQUESTS} requests each\n`);
  const bare = rounds.get(BARE)!;
  const costs = new Map<string, number>();
  for (const [name, taken] of rounds) {
    const cost = median(taken.map((each, round) => each - bare[round]!));
    costs.set(name, cost);
    const each = `${median(taken).toFixed(2)} µs a request`;
    console.log(`${name.padEnd(32)} ${each}, ${cost.toFixed(2)} µs more than bare`);
  }
  const cost = costs.get(THREE)!;
  console.log(`\n${THREE} cost ${(cost / costs.get(BUNDLE)!).toFixed(2)} of express-prom-bundle`);
  const isWithin = cost < BOUND;
  console.log(`${isWithin ? 'within' : 'over'} the bound of ${BOUND} µs`);
  process.exitCode = isWithin ? 0 : 1;
}

if (values.contender === undefined) await main();
else {
  process.send!(await measure(values.contender), () => process.exit());
}
