import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { printStep } from '../seed.js';
import { openShopDatabase } from '../server.js';
import { settingsFromEnv } from '../settings.js';
import { createFront } from './front.js';
import { type RunningRedis, startRedis } from './redis-server.js';

const settings = settingsFromEnv(process.env);
// Both need the same, because the front sends requests to either.
const adminPassword = settings.adminPassword ?? randomBytes(9).toString('base64url');
const given = process.env.REDIS_URL;
const redis: RunningRedis = given ? { url: given, stop: async () => {} } : await startRedis();
// A server evicts from all of its databases, so jobs need one that evicts nothing.
const jobsRedis = given ? redis : await startRedis('noeviction');
const JOBS_REDIS_URL = process.env.JOBS_REDIS_URL || jobsRedis.url;
const database = await openShopDatabase(settings, printStep);
const ports = settings.port === 0 ? [0, 0] : [settings.port + 1, settings.port + 2];
const children = ['a', 'b'].map((name, at) => startInstance(name, ports[at] ?? 0));
const instances = await Promise.all(children.map(({ ready }) => ready));
const worker = startWorker();
const front = createFront(instances).listen(settings.port, settings.host);
await once(front, 'listening');
console.log(describe(`http://localhost:${(front.address() as AddressInfo).port}`));

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  // A second signal has no listener and ends the process at once.
  process.once(signal, () => void stop());
}

function startInstance(name: string, port: number) {
  const origin = settings.port === 0 ? {} : { WARM_ORIGINS: `http://localhost:${settings.port}` };
  const child = fork(fileURLToPath(new URL('./instance.ts', import.meta.url)), {
    env: {
      ...origin,
      ...process.env,
      PORT: String(port),
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      JOBS_REDIS_URL,
      ADMIN_PASSWORD: adminPassword,
    },
  });
  const exited = once(child, 'exit');
  const ready = new Promise<{ name: string; url: string }>((resolve, reject) => {
    child.on('message', ({ url }: { url?: string }) => url !== undefined && resolve({ name, url }));
    exited.then(() => reject(new Error(`instance ${name} has ended`)), reject);
  });
  return { child, ready, exited };
}

/** Runs the forecasts of both instances. */
function startWorker() {
  const child = fork(fileURLToPath(new URL('../jobs/worker.ts', import.meta.url)), {
    env: {
      ...process.env,
      REDIS_URL: redis.url,
      MAX_CONCURRENT_JOBS: process.env.MAX_CONCURRENT_JOBS ?? '1',
    },
    // Its line is for those who start it alone.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return { child, exited: once(child, 'exit') };
}

async function stop(): Promise<void> {
  front.close();
  // Connections with requests in flight stay open until the instances have responded.
  front.closeIdleConnections();
  await Promise.all([...children, worker].map(({ child, exited }) => end(child, exited)));
  front.closeAllConnections();
  await database.close();
  await redis.stop();
  await jobsRedis.stop();
}

async function end(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM');
  await exited;
}

function describe(url: string): string {
  const [a, b] = instances;
  const host = new URL(url).host;
  return `\
Two instances of products-api on one Redis (${given ? 'that of REDIS_URL' : 'its own'}):
  ${url}  both in turn, as behind a balancer; X-Instance says which
  ${a?.url}  a
  ${b?.url}  b
  ${database.url}  their database, for psql

What one has stored, the other serves:
  curl -si ${url}/api/products/1 | grep -iE '^x-(instance|cache|sql)'    # again, and again
A write on one is seen on the other (a host has its own entries, so ask both by the name of the front):
  curl -s -X PATCH ${a?.url}/api/products/1 -H 'Content-Type: application/json' -d '{"priceCents": 100}'
  curl -si ${b?.url}/api/products/1 -H 'Host: ${host}' | grep -iE '^x-(cache|sql)|priceCents'
A write of another program is seen on both:
  psql ${database.url} -c 'UPDATE hotpath_shop.products SET price_cents = 200 WHERE id = 1'
The figures of both together, and those of each:
  curl -s -u admin:${adminPassword} '${url}/api/v1/performance/api?instance=all'
  curl -s -u admin:${adminPassword} ${url}/api/v1/performance/instances
`;
}
