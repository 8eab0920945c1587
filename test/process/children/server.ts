// An app with all parts of hotpath. It exits by itself after a message or SIGTERM.
import type { AddressInfo } from 'node:net';
import express5 from 'express';
// @ts-expect-error: an alias of express 4, which has no types under this name
import express4 from 'express4';
import { hotpath } from 'hotpath';

const express = (process.env.EXPRESS === '4' ? express4 : express5) as typeof express5;
const perf = hotpath({
  routes: { '/cached/*path': { cache: { ttl: '1h', tags: ['all'] } } },
  metrics: { defaultMetrics: true },
  timing: { slow: '1h' },
});
const app = express();
const waiting: (() => void)[] = [];
app.use((req, _res, next) => {
  next();
  if (req.path.endsWith('/slow')) process.send?.('arrived');
});
app.use(perf);
app.get(['/slow', '/cached/slow'], (_req, res) => {
  waiting.push(() => res.type('text').send('answered. '.repeat(500)));
});
app.post('/write', perf.cache.purgeAfter({ tag: 'all' }), (_req, res) => void res.send('written'));
app.get('/cached/fast', (_req, res) => void res.send('fast'));
app.get('/metrics', perf.metrics.handler);

const { WARMING } = process.env;
if (WARMING !== undefined) {
  perf.attach(app);
  perf.warming.register({ name: 'fast', urls: ['/cached/fast'], every: '20ms' });
  perf.warming.register({ name: 'keys', topKeys: { file: WARMING }, every: '20ms' });
  if (process.env.CLOSE === 'yes')
    perf.warming.register({
      name: 'hangs',
      task: ({ signal }) => new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve())),
      critical: true,
    });
  void perf.warming.start({ origins: ['http://shop.example'] });
}

const server = app.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
server.keepAliveTimeout = 100;

async function stop(): Promise<void> {
  process.disconnect?.();
  server.close(() => setImmediate(nameWhatIsLeft));
  if (process.env.CLOSE === 'yes') {
    // Twice at once, and again: several callers may close independently.
    await Promise.all([perf.close(), perf.close()]);
    await perf.close();
  }
}

/** Prints timers and streams that keep the process alive after its server closed: there should be none. */
function nameWhatIsLeft(): void {
  const left = process.getActiveResourcesInfo().filter((name) => /Timeout|Zlib/.test(name));
  if (left.length > 0) console.log('left:', left.join(' '));
}

process.on('message', (message) => {
  if (message === 'stop') void stop();
});
process.once('SIGTERM', () => {
  // Requests are in flight, and get their responses only now.
  void stop();
  setTimeout(() => {
    for (const answer of waiting) answer();
  }, 100);
});
