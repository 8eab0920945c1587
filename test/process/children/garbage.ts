// An app with a front door that reports the growth of the old generation per request.
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { hotpath } from 'hotpath';
import { express5 } from '../../helpers/http.js';

// A full collection would hide the growth.
setFlagsFromString('--no-incremental-marking');
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options: { type: 'minor' }) => void;

const { REDIS_URL: url, ENTRIES } = process.env;
const perf = hotpath({
  cache: {
    memory: { maxEntries: Number(ENTRIES) },
    ...(url ? { redis: { url, readTimeout: '5s', writeTimeout: '5s' } } : {}),
  },
  routes: { '/:id': { cache: { ttl: '1h', shared: true } } },
});
const app = express5();
app.use(perf);
app.get('/:id', (_req, res) => void res.json({ text: 'x'.repeat(2000) }));
perf.attach(app);

// Only when there is no room left.
let wholes = 0;
new PerformanceObserver((list) => {
  for (const { detail } of list.getEntries() as unknown as { detail: { kind: number } }[]) {
    if (detail.kind !== constants.NODE_PERFORMANCE_GC_MINOR) wholes++;
  }
}).observe({ entryTypes: ['gc'] });

let requests = 0;
const server = createServer(app as RequestListener);
server.on('request', () => requests++);
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));

let before = { used: 0, requests: 0, wholes: 0 };
process.on('message', async (message) => {
  // Twice, because young objects survive the first collection.
  collect({ type: 'minor' });
  collect({ type: 'minor' });
  const used = oldSpace();
  await setImmediate(); // the collections are reported after this turn
  const now = { used, requests, wholes };
  if (message === 'begin') before = now;
  process.send?.({
    each: (now.used - before.used) / (now.requests - before.requests),
    wholes: now.wholes - before.wholes,
    stats: perf.cache.stats(),
  });
});

function oldSpace(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space')!.space_used_size;
}
