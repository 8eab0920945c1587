import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import { type Hotpath, hotpath, type RedisOptions } from 'hotpath';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { certificates } from '../helpers/certificates.js';
import { listen, raw, waitFor } from '../helpers/http.js';
import { freePort } from '../helpers/port.js';
import { RedisServer, redisMajors, startCluster } from '../helpers/redis.js';

/** A busy machine may answer later than the defaults allow; what is not written in time is not shared. */
const patient = { readTimeout: 5, writeTimeout: 5 };

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(redis: RedisOptions, onError: (error: unknown) => void = () => {}) {
  let runs = 0;
  const perf: Hotpath = hotpath({
    metrics: { defaultMetrics: false },
    cache: { redis: { ...patient, ...redis }, onError },
    routes: { '/:id': { cache: { ttl: '1m' } } },
  });
  const app = express();
  app.use(perf);
  app.get('/:id', (req, res) => {
    runs++;
    res.json({ id: req.params.id });
  });
  const { port, close } = await listen(app);
  closers.push(() => perf.close(), close);
  const ask = (path: string) => raw(port, `GET ${path} HTTP/1.1\nHost: shop.test\nConnection: close\n\n`);
  return { perf, ask, runs: () => runs };
}

const isReady = (perf: Hotpath) => {
  const { redis } = perf.cache.stats();
  return redis?.ready && redis.log.inContact;
};

/** A response that one instance stored is a hit on another. */
async function expectShared(a: RedisOptions, b: RedisOptions): Promise<void> {
  const [first, second] = [await start(a), await start(b)];
  await waitFor(() => isReady(first.perf) && isReady(second.perf));
  await first.ask('/a');
  await waitFor(() => first.perf.cache.stats().redis!.operations.set?.answered === 1);
  const hit = await second.ask('/a');
  expect([hit.header('x-cache'), hit.text, second.runs()]).toEqual(['HIT', '{"id":"a"}', 0]);
}

let nodes: RedisServer[] = [];
beforeAll(async () => {
  nodes = await startCluster();
});
afterAll(async () => {
  for (const node of nodes) await node.stop();
});

/** Apart from what other tests have stored in the cluster. */
let prefixes = 0;
const ownPrefix = () => `test-${prefixes++}:`;

describe.each(redisMajors)('%s', (_major, ioredis) => {
  it('shares responses through clients with enableAutoPipelining', async () => {
    const server = await RedisServer.start();
    closers.push(() => server.stop());
    const client = () => {
      const made = new ioredis.Redis(server.url, { enableAutoPipelining: true });
      closers.push(() => made.disconnect());
      return made;
    };
    await expectShared({ client: client() }, { client: client() });
  });

  it('shares responses through a Cluster with enableAutoPipelining', async () => {
    const prefix = ownPrefix();
    const client = () => {
      const made = new ioredis.Cluster([{ host: '127.0.0.1', port: nodes[0]!.port }], {
        enableAutoPipelining: true,
      });
      closers.push(() => made.disconnect());
      return made;
    };
    await expectShared({ client: client(), prefix }, { client: client(), prefix });
  });
});

it('says how to connect when `url` names one node of a Redis Cluster', async () => {
  const errors: string[] = [];
  const { perf, ask } = await start({ url: nodes[0]!.url, prefix: ownPrefix() }, (error) =>
    errors.push(String(error)),
  );
  await waitFor(() => perf.cache.stats().redis?.ready);
  for (let id = 0; id < 20; id++) await ask(`/${id}`);
  await waitFor(() =>
    errors.some((error) => error.includes('this is a Redis Cluster: pass `client: new Cluster(...)`')),
  );
});

it('connects over TLS to a server whose certificate a private CA has signed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hotpath-tls-'));
  const { key, cert } = certificates.server;
  writeFileSync(join(folder, 'key.pem'), key);
  writeFileSync(join(folder, 'cert.pem'), cert);
  const port = await freePort();
  const settings = {
    'tls-port': String(port),
    'tls-key-file': join(folder, 'key.pem'),
    'tls-cert-file': join(folder, 'cert.pem'),
    'tls-auth-clients': 'no',
  };
  const server = await RedisServer.start({ settings });
  closers.push(() => server.stop());
  const options = { host: '127.0.0.1', port, tls: { ca: cert, servername: 'server' } };
  await expectShared({ options }, { options });
});
