// A cluster of two workers without Redis, each with its own cache. The effect of a purge goes to the standard output.
import cluster from 'node:cluster';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { responseCache } from 'hotpath/cache';

const warnings: string[] = [];
process.on('warning', ({ name, message, ...rest }) => {
  if (name === 'HotpathWarning') warnings.push(`${(rest as { code?: string }).code}: ${message}`);
});

if (cluster.isPrimary) await primary();
else worker();

function worker(): void {
  const cache = responseCache({ routes: { '/x': { ttl: 60, tags: ['x'] } } });
  const app = express();
  let runs = 0;
  app.use(cache);
  app.get('/x', (_req, res) => void res.send(`run ${++runs}`));
  app.get('/purge', async (_req, res) => void res.json(await cache.purge({ tag: 'x' })));
  app.get('/warnings', (_req, res) => void res.json(warnings));
  app.post('/x', (_req, res) => void res.send('written'));
  // Each worker has its own port: with a shared port, a random worker answers.
  const server = createServer(app);
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () =>
    process.send?.({ port: (server.address() as AddressInfo).port }),
  );
}

async function primary(): Promise<void> {
  const port = () =>
    new Promise<number>((resolve) => {
      cluster.fork().once('message', (message: { port: number }) => resolve(message.port));
    });
  const [one, other] = [await port(), await port()];
  const get = async (port: number, path: string, method = 'GET') =>
    (await fetch(`http://127.0.0.1:${port}${path}`, { method })).text();
  const before = [await get(one, '/x'), await get(other, '/x')];
  const result = JSON.parse(await get(one, '/purge')) as unknown;
  await get(one, '/purge');
  await get(one, '/x', 'POST');
  const after = [await get(one, '/x'), await get(other, '/x')];
  const told = [await get(one, '/warnings'), await get(other, '/warnings')].map((text) => JSON.parse(text));
  const alone = await responseCache().purge({ tag: 'x' });
  console.log(JSON.stringify({ before, result, after, told, alone, warnings }));
  for (const each of Object.values(cluster.workers ?? {})) each?.kill();
}
