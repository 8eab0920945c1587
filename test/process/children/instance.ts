// One of several instances of an app on one Redis. It reports its counts after each message, and exits
// after the message `stop`.
import type { AddressInfo } from 'node:net';
import express5, { type Request, type Response } from 'express';
// @ts-expect-error: an alias of express 4, which has no types under this name
import express4 from 'express4';
import { type CacheStats, responseCache } from 'hotpath/cache';

/** The report of an instance. */
export interface Told {
  /** Received requests. */
  readonly requests: number;
  /** Runs of the handler that waits for the message `open`. */
  readonly runs: number;
  readonly redis: CacheStats['redis'];
}

const { NAME, REDIS_URL, READ_TIMEOUT, CLOSE, EXPRESS } = process.env;
const patience = READ_TIMEOUT && { readTimeout: Number(READ_TIMEOUT), writeTimeout: Number(READ_TIMEOUT) };
const cache = responseCache({
  waitTimeout: '1m',
  redis: { url: REDIS_URL, ...(patience || {}) },
  routes: {
    '/item/*key': { ttl: '1m', tags: ['item'] },
    '/short/*key': { ttl: 1 },
    '/turns/*key': { ttl: '1m', collapse: 'cluster' },
    '/held/cluster': { ttl: '1m', collapse: 'cluster' },
    '/held/instance': { ttl: '1m', collapse: 'instance' },
  },
});
const app = (EXPRESS === '4' ? (express4 as typeof express5) : express5)();
let requests = 0;
let runs = 0;
let open = () => {};
const opened = new Promise<void>((resolve) => {
  open = resolve;
});

/** A body that names its request. */
function answer(req: Request, res: Response): void {
  const language = req.get('Accept-Language') ?? '';
  const body = { path: req.originalUrl, language, by: NAME, text: 'so long a text. '.repeat(60) };
  res.vary('Accept-Language').json(body);
}

app.use(cache);
app.get(['/item/{*key}', '/short/{*key}', '/turns/{*key}'].map(readable), answer);
app.get(['/held/cluster', '/held/instance'], async (req, res) => {
  runs++;
  await opened;
  answer(req, res);
});

/** Express 4 has a different syntax for wildcards. */
function readable(path: string): string {
  return EXPRESS === '4' ? path.replace('{*key}', '*') : path;
}

const server = app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () =>
  process.send?.((server.address() as AddressInfo).port),
);
server.keepAliveTimeout = 60_000;
// Attached after the app, so that it sees each request first.
server.on('request', () => requests++);

process.on('message', (message) => {
  if (message === 'open') open();
  if (message === 'stop') return void stop();
  const told: Told = { requests, runs, redis: cache.stats().redis };
  process.send?.(told);
});

async function stop(): Promise<void> {
  process.disconnect?.();
  server.close();
  server.closeIdleConnections();
  if (CLOSE === 'yes') await Promise.all([cache.close(), cache.close()]);
}
