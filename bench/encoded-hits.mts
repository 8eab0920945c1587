// Measures the CPU time of a hit for clients that accept no coding, gzip or Brotli: `npm run
// bench:encodings`. The three alternate within one run, so that other load on the machine affects all of
// them. Compare the ratios, not the microseconds.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import express from 'express';
import { hotpath } from '../src/hotpath.js';

const ENCODINGS = ['identity', 'gzip', 'br'] as const;
const ROUNDS = 10;
const REQUESTS = 2000;
const CONNECTIONS = 16;

/** A report of the server: microseconds of CPU since its start, and the number of encoded bodies. */
interface Told {
  readonly cpu: number;
  readonly forms: number;
}

if (process.send) serve();
else await measure();

/** The server, in its own process, so that its CPU time is that of hits only. */
function serve(): void {
  const perf = hotpath({ routes: { '/*path': { cache: { ttl: '1h' } } } });
  const rows = Array.from({ length: 500 }, (_, id) => ({
    id,
    name: `product ${id}`,
    price: (id * 7919) % 1009,
  }));
  const app = express();
  app.use(perf);
  app.get('/products', (_req, res) => {
    res.json(rows);
  });
  const server = createServer(app).listen(0, '127.0.0.1', () => {
    process.send?.((server.address() as AddressInfo).port);
  });
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    const told: Told = { cpu: user + system, forms: perf.cache.stats().encodings.made };
    process.send?.(told);
  });
  process.on('disconnect', () => process.exit());
}

async function measure(): Promise<void> {
  const server = fork(fileURLToPath(import.meta.url), { execArgv: ['--import', 'tsx'] });
  const [port] = (await once(server, 'message')) as [number];
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const bytes = new Map<string, number>();
  const get = async (encoding: string) => {
    const headers = { 'Accept-Encoding': encoding };
    const req = request({ host: '127.0.0.1', port, path: '/products', agent, headers }).end();
    const [res] = await once(req, 'response');
    let length = 0;
    for await (const chunk of res) length += chunk.length;
    bytes.set(encoding, length);
    return res.headers['x-cache'] as string;
  };
  const burst = async (encoding: string) => {
    let left = REQUESTS;
    const visitor = async () => {
      while (left-- > 0) if ((await get(encoding)) !== 'HIT') throw new Error('this was no hit');
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, visitor));
  };

  await get('identity');
  while ((await ask(server)).forms < 2) for (const encoding of ENCODINGS) await get(encoding);
  for (const encoding of ENCODINGS) await burst(encoding); // warm-up for the compiler
  const spent = new Map<string, number[]>(ENCODINGS.map((encoding) => [encoding, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const encoding of ENCODINGS) {
      const before = await ask(server);
      await burst(encoding);
      spent.get(encoding)?.push(((await ask(server)).cpu - before.cpu) / REQUESTS);
    }
  }
  const plain = median(spent.get('identity') ?? []);
  console.log(`CPU per hit, the median of ${ROUNDS} rounds of ${REQUESTS} requests each:`);
  for (const [encoding, costs] of spent) {
    const cost = median(costs);
    const size = `${bytes.get(encoding)} bytes`.padStart(12);
    const ratio = (cost / plain).toFixed(2);
    console.log(`${encoding.padEnd(9)}${size}${cost.toFixed(1).padStart(9)} µs   ${ratio} of identity`);
  }
  agent.destroy();
  server.disconnect();
}

async function ask(server: ChildProcess): Promise<Told> {
  const told = once(server, 'message');
  server.send('tell');
  return ((await told) as [Told])[0];
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}
