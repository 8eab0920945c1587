// Measures the memory of each entry beyond its body and its key: `npm run bench:memory`. The entries are
// responses of an Express app over sockets, 1 kB each, with ten stored headers and two tags. The result is
// the growth of heap and external memory compared with the same process before it had a cache. With Node
// 20.20: 857 bytes, and 1,281 if every header value is unique, half of it for the values.
//
// `npm run bench:memory -- --entries 50000` takes less time, but then the fixed memory of the process counts
// more. The exit code is 1 if the limit is exceeded.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import express from 'express';
import { responseCache } from '../src/cache/index.js';

const { values } = parseArgs({
  options: { entries: { type: 'string', default: '100000' }, kind: { type: 'string' } },
});
const COUNT = Number(values.entries);
const BODY = 1000;
const CONNECTIONS = 8;
/** Limit for usual entries, beyond body and key. Bytes. */
const BOUND = 900;

/** Whether all but two of the ten header values repeat from entry to entry, or none. */
const KINDS = { usual: 'two of the ten headers differ', different: 'all ten headers differ' } as const;
type Kind = keyof typeof KINDS;

interface Told {
  /** Heap and external memory. Bytes. */
  readonly taken: number;
  /** Resident set of the whole process, with fragmentation. Bytes. */
  readonly resident: number;
  readonly entries: number;
  /** The size that is compared with `memory.maxBytes`. Bytes. */
  readonly counted: number;
}

if (process.send) await serve(values.kind as Kind);
else await measure();

/** The instance, in its own process, where only the cache grows. */
async function serve(kind: Kind): Promise<void> {
  const empty = await taken();
  const resident = process.memoryUsage.rss();
  const cache = responseCache({
    memory: { maxBytes: '4gb', maxEntries: COUNT },
    routes: { '/products/:id': { ttl: '1h', tags: ({ params }) => ['products', `product:${params.id}`] } },
  });
  const app = express();
  app.use(cache);
  app.get('/products/:id', (req, res) => {
    const { id } = req.params;
    const own = (name: string) => (kind === 'different' ? `${name}, for product ${id}` : name);
    res.set({
      'Content-Type': `application/json; charset=utf-8${kind === 'different' ? `; id=${id}` : ''}`,
      'Content-Language': own('en'),
      'Cache-Control': own('public, max-age=3600'),
      'Referrer-Policy': own('strict-origin-when-cross-origin'),
      'X-Content-Type-Options': own('nosniff'),
      'X-Frame-Options': own('SAMEORIGIN'),
      'Cross-Origin-Opener-Policy': own('same-origin'),
      'X-Api-Version': own('2031-04'),
      'Last-Modified': new Date(1.9e12 + Number(id) * 1000).toUTCString(),
      Link: `</products/${Number(id) + 1}>; rel="next"`,
    });
    res.send(JSON.stringify({ id, text: '' }).padEnd(BODY));
  });
  const server = createServer(app).listen(0, '127.0.0.1', () => {
    process.send?.((server.address() as AddressInfo).port);
  });
  process.on('message', async () => {
    server.closeAllConnections();
    const now = await taken();
    const { entries, bytes } = cache.stats();
    const grown = process.memoryUsage.rss() - resident;
    const told: Told = { taken: now - empty, resident: grown, entries, counted: bytes };
    process.send?.(told);
  });
  process.on('disconnect', () => process.exit());
}

/** Bytes in use, once garbage collection frees nothing more. */
async function taken(): Promise<number> {
  for (let last = Number.POSITIVE_INFINITY; ; ) {
    gc?.();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { heapUsed, external } = process.memoryUsage();
    if (heapUsed + external > last - 10_000) return heapUsed + external;
    last = heapUsed + external;
  }
}

async function measure(): Promise<void> {
  for (const kind of Object.keys(KINDS) as Kind[]) {
    const server = fork(fileURLToPath(import.meta.url), ['--entries', String(COUNT), '--kind', kind], {
      execArgv: ['--import', 'tsx', '--expose-gc'],
    });
    const [port] = (await once(server, 'message')) as [number];
    await fill(port);
    const told = await ask(server);
    server.disconnect();
    if (told.entries !== COUNT) throw new Error(`${told.entries} entries instead of ${COUNT}`);
    const each = (bytes: number) => `${Math.round(bytes / COUNT)} bytes`;
    const over = told.taken - COUNT * (BODY + lengthOfKeys(port));
    const isBounded = kind === 'usual';
    const isOver = isBounded && over / COUNT > BOUND;
    const verdict = isBounded ? `: ${isOver ? 'OVER' : 'within'} the bound of ${BOUND}` : '';
    console.log(`${COUNT} entries; ${KINDS[kind]}`);
    console.log(`  heap and external memory    ${each(told.taken)} each`);
    console.log(`  beyond body and key         ${each(over)} each${verdict}`);
    console.log(`  as memory.maxBytes counts   ${each(told.counted)} each`);
    console.log(`  resident                    ${each(told.resident)} each`);
    if (isOver) process.exitCode = 1;
  }
}

/** Average length of a key: scope, scheme, host as sent and as the app sees it, and target. Characters. */
function lengthOfKeys(port: number): number {
  const parts = ['shared', 'http', `127.0.0.1:${port}`, `127.0.0.1:${port}`];
  let length = 0;
  for (let id = 0; id < COUNT; id++) {
    for (const part of [...parts, `/products/${id}`]) length += `${part.length}:${part}`.length;
    length += '-:-:'.length;
  }
  return length / COUNT;
}

async function fill(port: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  let next = 0;
  const visitor = async () => {
    while (next < COUNT) {
      const path = `/products/${next++}`;
      const [res] = await once(request({ host: '127.0.0.1', port, path, agent }).end(), 'response');
      res.resume();
      await once(res, 'end');
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, visitor));
  agent.destroy();
}

async function ask(server: ChildProcess): Promise<Told> {
  const told = once(server, 'message');
  server.send('tell');
  return ((await told) as [Told])[0];
}
