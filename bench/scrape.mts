// How long a scrape blocks the event loop, and what a flood of random requests leaves behind: `npm run build`, then
// `npm run bench:scrape`. The first part exposes 10,000 lines and looks for the longest time between two turns of the
// event loop while a scrape runs. The second records a million requests with random URLs, methods and ids. Ends with 1
// when a scrape blocks for 50 ms or more, or when series, history or heap grow.
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Gauge } from 'prom-client';
import { hotpath } from '../dist/index.js';

/** Milliseconds. */
const BOUND = 50;
const ROUNDS = 20;
const FLOOD = 1_000_000;

interface Recorder {
  answered(method: string, path: string | undefined, status: number, seconds: number, request: object): void;
}
const perf = hotpath({ metrics: { exemplars: true, maxSeries: 2000 } });
const registry = perf.metrics.registry!;
const recorder = (registry as unknown as Record<symbol, Recorder>)[
  Object.getOwnPropertySymbols(registry).find(({ description }) => description === 'hotpath.http-metrics')!
]!;
const request = {
  req: {
    headers: { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' },
  } as unknown as IncomingMessage,
  res: {} as ServerResponse,
};

/** Calls the handler as Express does. */
function scrape(accept: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = new IncomingMessage(new Socket());
    req.method = 'GET';
    req.url = '/metrics';
    req.headers = { accept };
    const res = new ServerResponse(req);
    Object.assign(res, { end: resolve });
    perf.metrics.handler(req, res, reject);
  });
}

/** CPU time of this process, so that other work of the machine does not count. Milliseconds. */
function cpuTime(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => NodeJS.CpuUsage };
  const { user, system } = threadCpuUsage?.() ?? process.cpuUsage();
  return (user + system) / 1000;
}

/** The longest CPU time between two turns of the event loop until a promise settles. Milliseconds. */
async function longestBlock(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = cpuTime();
  let isDone = false;
  const turn = () => {
    const now = cpuTime();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isDone) setImmediate(turn);
  };
  await new Promise<void>((resolve) => {
    setImmediate(() => resolve(turn()));
  });
  await work();
  isDone = true;
  turn();
  return longest;
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;

/** Enough routes for 10,000 lines: a duration has 14 lines, a count one. */
for (let at = 0; at < 667; at++)
  for (let times = 0; times < 200; times++)
    recorder.answered('GET', `/route-${at}/:id`, 200, (times % 50) / 25, request);

let failed = false;
for (const [format, accept] of [
  ['text', 'text/plain'],
  ['OpenMetrics', 'application/openmetrics-text'],
] as const) {
  const blocks: number[] = [];
  const times: number[] = [];
  let lines = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    let text = '';
    blocks.push(
      await longestBlock(async () => {
        text = await scrape(accept);
      }),
    );
    times.push(performance.now() - startedAt);
    lines = text.split('\n').length;
  }
  const block = median(blocks);
  failed ||= block >= BOUND;
  console.log(
    `${format}: ${lines} lines, blocks the event loop for ${block.toFixed(1)} ms (median of ${ROUNDS}; longest ${Math.max(...blocks).toFixed(1)} ms), takes ${median(times).toFixed(0)} ms`,
  );
}
const whole = await longestBlock(() => registry.metrics());
console.log(`prom-client, all at once: blocks for ${whole.toFixed(1)} ms`);

/** The heap after a collection. MB. */
function heap(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed / 1024 ** 2;
}

const telemetry = perf.telemetry as unknown as {
  recorder: { record(request: object): void; size: number; topKeys: { size: number } };
  snapshot(): { self: { historyBytes: number } };
};
function flood(): void {
  for (let at = 0; at < FLOOD; at++) {
    const id = Math.random().toString(36).slice(2);
    const method = at % 3 === 0 ? `M${id}` : 'GET';
    const route = at % 2 === 0 ? `/${id}/:id` : undefined;
    recorder.answered(at % 3 === 0 ? 'other' : 'GET', route, 100 + (at % 600), Math.random(), request);
    telemetry.recorder.record({
      method,
      route,
      status: 100 + (at % 600),
      aborted: at % 7 === 0,
      total: Math.random() * 1000,
      toHeaders: Math.random() * 100,
      requestBytes: 0,
      responseBytes: 10,
      savedBytes: 0,
      cache: 'HIT',
      cacheReason: id,
      savedMs: 1,
      servedBytes: 10,
      servedUrl: `/${id}?token=${at}`,
      blockedMs: 0,
    });
  }
}
flood();
const afterOne = heap();
flood();
const afterTwo = heap();
const { size, topKeys } = telemetry.recorder;
const series = await (registry.getSingleMetric('hotpath_metrics_series') as Gauge).get();
const { historyBytes } = telemetry.snapshot().self;
console.log(
  `two floods of ${FLOOD} random requests: ${series.values[0]!.value} label sets, ${size} routes and ${topKeys.size} URLs in telemetry, ` +
    `history ${(historyBytes / 1024 ** 2).toFixed(2)} MB, heap ${afterOne.toFixed(1)} MB and then ${afterTwo.toFixed(1)} MB`,
);
failed ||= afterTwo > afterOne + 5 || size > 500 || topKeys.size > 200;
console.log(failed ? 'over the bounds' : 'within the bounds');
await perf.close();
process.exit(failed ? 1 : 0);
