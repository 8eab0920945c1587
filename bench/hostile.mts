// Measures an app under 1,000 hostile connections of one kind: `npm run bench:hostile`. The app, its
// attackers and an ordinary client run in their own processes, on loopback. Each kind gets a new app. The
// output shows the growth of the resident set, the latency of the ordinary client, and the memory that
// remains afterwards.
//
// `--kinds bombs,keys` runs some of them. `--express 4` and `--door` change the app, `--connections` and
// `--seconds` the attack. `--bare` leaves hotpath out, to show the share of Express and Node. The exit code
// is 1 if a limit is exceeded. Each connection sends something every five seconds (`--every`), because
// overload by request rate is another matter. The first row has no attackers: it shows the latency of the
// machine.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { loadavg } from 'node:os';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import zlib from 'node:zlib';
import type { Express, Request, Response } from 'express';
import express5 from 'express';
// @ts-expect-error: an alias of express 4, which has no types under this name
import express4 from 'express4';
import { hotpath } from '../src/hotpath.js';
import { decoderMemoryInUse } from '../src/middleware/size-limit/decoder-memory.js';

const MB = 1024 * 1024;
const MOST_GROWTH = 150 * MB;
const MOST_P99_MS = 100;
/** Growth that may remain after the attack: half of it, or this, whichever is larger. */
const LEFT = 50 * MB;

const KINDS = {
  none: 'nobody',
  bombs: 'compressed bodies that fill their window and stop',
  keys: 'GETs with queries of 15 kB, stored or refused',
  labels: 'paths of 15 kB that differ, under a mount with a parameter, and in case',
  variants: 'GETs with header values by which the response varies',
  readers: 'GETs of 900 kB whose answers are not read',
  pipelines: 'six pipelined GETs, then a reset',
} as const;
type Kind = keyof typeof KINDS;

const { values } = parseArgs({
  options: {
    role: { type: 'string' },
    kind: { type: 'string' },
    port: { type: 'string' },
    kinds: { type: 'string', default: Object.keys(KINDS).join(',') },
    express: { type: 'string', default: '5' },
    door: { type: 'boolean', default: false },
    bare: { type: 'boolean', default: false },
    connections: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '12' },
    every: { type: 'string', default: '5' },
  },
});
const CONNECTIONS = Math.min(Number(values.connections), 5000);
const SECONDS = Math.min(Number(values.seconds), 120);
const EVERY_MS = Math.max(0.1, Number(values.every)) * 1000;

/** State of the app. */
interface State {
  readonly rss: number;
  /** The highest resident set since the last measurement. */
  readonly peak: number;
  readonly connections: number;
  readonly fills: number;
  readonly decoders: number;
  readonly inProgress: number;
  /** Size of one scrape of the metrics. Bytes. */
  readonly scrape: number;
  /** CPU time so far. Milliseconds. */
  readonly cpu: number;
}

interface Latencies {
  readonly count: number;
  readonly failed: number;
  readonly p50: number;
  readonly p99: number;
}

const roles: Record<string, () => Promise<void>> = { app: serve, attacker: attack, client: askAsUsual };
await (roles[values.role ?? ''] ?? run)();

async function serve(): Promise<void> {
  const app = (values.express === '4' ? express4 : express5)() as Express;
  app.set('env', 'test'); // prints no stack for each refused body
  const perf = hotpath({
    routes: {
      '/page': { cache: { ttl: '1m', shared: true } },
      '/items': { cache: { ttl: '1m' } },
      '/stream': { cache: { ttl: '1m' } },
      '/vary': { cache: { ttl: '1m' } },
      '/wait': { cache: { ttl: '1m' } },
    },
  });
  if (!values.bare) app.use(perf);
  if (values.door && !values.bare) perf.attach(app);
  app.get('/page', (_req, res) => void res.send('page '.repeat(500)));
  app.get('/plain', (_req, res) => void res.json({ ok: true }));
  app.get('/items', (req, res) => void res.status('missing' in req.query ? 404 : 200).send('item'));
  app.get('/vary', (_req, res) => void res.vary('accept-encoding, accept-language, x-kind').send('varies'));
  app.get('/wait', (_req, res) => void setTimeout(() => res.send('waited'), 200));
  const piece = Buffer.alloc(30_000, 'abcdefgh');
  app.get('/stream', (_req, res) => {
    let left = 30;
    new Readable({
      read() {
        this.push(left-- > 0 ? piece : null);
      },
    }).pipe(res);
  });
  app.post('/upload', async (req: Request, res: Response) => {
    let bytes = 0;
    try {
      for await (const chunk of req) bytes += (chunk as Buffer).length;
    } catch {
      return;
    }
    res.send(String(bytes));
  });
  const tenant = express5.Router();
  tenant.get('/items', (_req, res) => void res.send('of a tenant'));
  app.use('/t/:tenant', tenant);
  app.get('/metrics', perf.metrics.handler);

  const server = createServer(app);
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    process.send?.((server.address() as AddressInfo).port);
  });
  let peak = 0;
  setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 10);
  process.on('message', async () => {
    const atPeak = peak;
    const { user, system } = process.cpuUsage();
    const cpu = (user + system) / 1000;
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.();
      await delay(20);
    }
    const connections = await new Promise<number>((resolve) =>
      server.getConnections((_error, open) => resolve(open)),
    );
    const text = (await perf.metrics.registry?.metrics()) ?? '';
    const inProgress = /^http_requests_in_progress(?:\{[^}]*\})? (\d+)/gm;
    const state: State = {
      rss: process.memoryUsage.rss(),
      peak: atPeak,
      connections,
      fills: perf.cache.stats().pending,
      decoders: decoderMemoryInUse().decoders + decoderMemoryInUse().waiting,
      inProgress: [...text.matchAll(inProgress)].reduce((sum, [, count]) => sum + Number(count), 0),
      scrape: text.length,
      cpu,
    };
    peak = 0;
    process.send?.(state);
  });
  process.on('disconnect', () => process.exit());
}

/** Opens the connections, and sends the attack of its kind on each, every few seconds. */
async function attack(): Promise<void> {
  process.on('disconnect', () => process.exit());
  const act = await actOf(values.kind as Kind);
  const port = Number(values.port);
  const open = new Set<Socket>();
  const until = Date.now() + SECONDS * 1000;
  const begin = (i: number, round: number): void => {
    if (Date.now() > until) return;
    const socket = connect(port, '127.0.0.1');
    open.add(socket);
    socket.on('error', () => {});
    let turn = round;
    const next = () => {
      if (Date.now() < until && !socket.destroyed) act(socket, i, turn++);
    };
    const timer = setInterval(next, EVERY_MS);
    socket.on('connect', next);
    // A refused client reconnects.
    socket.on('close', () => {
      clearInterval(timer);
      open.delete(socket);
      setTimeout(begin, EVERY_MS, i, turn);
    });
  };
  for (let i = 0; values.kind !== 'none' && i < CONNECTIONS; i++) {
    setTimeout(begin, (i / CONNECTIONS) * Math.min(EVERY_MS, 2000), i, 0);
  }
  await delay(SECONDS * 1000);
  for (const socket of open) socket.destroy();
  process.send?.('done');
}

async function actOf(kind: Kind): Promise<(socket: Socket, i: number, turn: number) => void> {
  const long = 'x'.repeat(15_000);
  const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
  const reading = (send: (socket: Socket, i: number, turn: number) => void) => {
    return (socket: Socket, i: number, turn: number) => {
      socket.resume();
      send(socket, i, turn);
    };
  };
  const bombs = [await openBomb(22), await openBomb(24), zlib.gzipSync(Buffer.alloc(9 * MB)).subarray(0, -8)];
  const acts: Record<Kind, (socket: Socket, i: number, turn: number) => void> = {
    none: () => {},
    bombs: reading((socket, i, turn) => {
      if (turn > 0 && socket.bytesWritten > 0) return void socket.write('x'); // and sends slowly afterwards
      const path = i % 3 === 2 ? '/none' : '/upload';
      const bomb = bombs[i % 4 === 1 ? 1 : i % 4 === 2 ? 2 : 0]!;
      const coding = i % 4 === 2 ? 'gzip' : 'br';
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Encoding: ${coding}\r\nContent-Length: 100000\r\n\r\n`,
      );
      socket.write(bomb);
    }),
    keys: reading((socket, i, turn) => {
      socket.write(get(`/items?${i % 2 ? 'missing&' : ''}cb=${i}.${turn}${long}`));
    }),
    labels: reading((socket, i, turn) => {
      const upper = [...'items'].map((c, at) => ((i >> at) & 1 ? c.toUpperCase() : c)).join('');
      const paths = [
        `/t/${i}.${turn}${long}/items`,
        `/${upper}?${turn}`,
        `/T/${i}.${turn}/Items`,
        `/${i}${long}`,
      ];
      socket.write(get(paths[i % 4]!));
    }),
    variants: reading((socket, i, turn) => {
      const value = `${i}.${turn}${'y'.repeat(1000)}`;
      const name = ['Accept-Encoding', 'Accept-Language', 'X-Kind'][i % 3];
      socket.write(get('/vary', `${name}: ${value}\r\n`));
    }),
    readers: (socket, i, turn) => {
      if (turn > 0) return;
      socket.pause();
      socket.write(get(`/stream?${i}`) + get(`/stream?${i % 10}`));
    },
    pipelines: reading((socket, i, turn) => {
      socket.write(Array.from({ length: 6 }, (_, at) => get(`/wait?${i}.${turn}.${at}`)).join(''));
      setTimeout(() => socket.resetAndDestroy(), 50);
    }),
  };
  return acts[kind];
}

/** About 20 bytes of Brotli that fill a window. */
async function openBomb(bits: number): Promise<Buffer> {
  const encoder = zlib.createBrotliCompress({ params: { [zlib.constants.BROTLI_PARAM_LGWIN]: bits } });
  const parts: Buffer[] = [];
  encoder.on('data', (part) => parts.push(part));
  encoder.write(Buffer.alloc(9 * MB));
  await new Promise<void>((resolve) => encoder.flush(zlib.constants.BROTLI_OPERATION_FLUSH, resolve));
  encoder.destroy();
  return Buffer.concat(parts);
}

/** Five connections that request a hit, a miss and an upload in turn, fifty times a second. */
async function askAsUsual(): Promise<void> {
  process.on('disconnect', () => process.exit());
  const agent = new Agent({ keepAlive: true, maxSockets: 50 });
  const body = zlib.gzipSync('an ordinary body '.repeat(100));
  const asks = [
    { path: '/page' },
    { path: '/plain' },
    {
      path: '/upload',
      method: 'POST',
      headers: { 'Content-Encoding': 'gzip', 'Content-Length': body.length },
    },
  ];
  const times: number[] = [];
  let failed = 0;
  let isOver = false;
  process.once('message', () => {
    isOver = true;
  });
  const pending = new Set<Promise<void>>();
  for (let i = 0; !isOver; i++) {
    const began = performance.now();
    const asked = new Promise<void>((resolve) => {
      const sent = request({ port: Number(values.port), host: '127.0.0.1', agent, ...asks[i % 3] }, (res) => {
        if (res.statusCode !== 200) failed++;
        res.resume().once('end', () => {
          times.push(performance.now() - began);
          resolve();
        });
      });
      sent.once('error', () => {
        failed++;
        resolve();
      });
      sent.end(i % 3 === 2 ? body : undefined);
    }).finally(() => pending.delete(asked));
    pending.add(asked);
    await delay(20);
  }
  await Promise.all(pending);
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  process.send?.({ count: times.length, failed, p50: at(0.5), p99: at(0.99) } satisfies Latencies);
}

async function run(): Promise<void> {
  const kinds = values.kinds.split(',').filter((kind): kind is Kind => Object.hasOwn(KINDS, kind));
  const place = `Express ${values.express}${values.bare ? ' without hotpath' : ''}${values.door ? ' with a front door' : ''}`;
  console.log(
    `${CONNECTIONS} hostile connections of each kind for ${SECONDS} s, ${place}, Node ${process.version}, ` +
      `load ${loadavg()[0]!.toFixed(1)}\n`,
  );
  console.log(
    '| kind | RSS before | grows by | left | CPU | p50 | p99 | failed | connections, fills, decoders, requests held | scrape |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
  let isBroken = false;
  for (const kind of kinds) isBroken = !(await measure(kind)) || isBroken;
  console.log(
    `\nBounds: grows by < ${MOST_GROWTH / MB} MB, p99 < ${MOST_P99_MS} ms, nothing held or failed.`,
  );
  if (isBroken) process.exitCode = 1;
}

/** Prints a row. @returns whether all limits were kept. */
async function measure(kind: Kind): Promise<boolean> {
  const children: ChildProcess[] = [];
  const start = (role: string, ...args: string[]) => {
    const child = fork(fileURLToPath(import.meta.url), ['--role', role, ...process.argv.slice(2), ...args], {
      execArgv: ['--expose-gc', '--import', 'tsx'],
    });
    children.push(child);
    return child;
  };
  const answerOf = async <Answer,>(child: ChildProcess, question?: string): Promise<Answer> => {
    const answer = once(child, 'message');
    if (question) child.send(question);
    return ((await answer) as [Answer])[0];
  };
  try {
    const app = start('app');
    const port = String(await answerOf<number>(app));
    // Warms up, so that memory of the first requests does not count.
    const first = start('client', '--port', port);
    await delay(4000);
    await answerOf<Latencies>(first, 'end');
    const before = await answerOf<State>(app, 'measure');
    const client = start('client', '--port', port);
    await answerOf<string>(start('attacker', '--port', port, '--kind', kind));
    const { failed, p50, p99 } = await answerOf<Latencies>(client, 'end');
    const during = await answerOf<State>(app, 'measure');
    client.disconnect();
    first.disconnect();
    let after = during;
    for (let i = 0; i < 40 && (heldBy(after) > 0 || left(after, before, during) > LEFT); i++) {
      await delay(500);
      after = await answerOf<State>(app, 'measure');
    }
    const grown = during.peak - before.rss;
    const isKept =
      grown < MOST_GROWTH && p99 < MOST_P99_MS && failed === 0 && heldBy(after) === 0 && after.scrape < MB;
    const mb = (bytes: number) => `${Math.round(bytes / MB)} MB`;
    const ms = (time: number) => `${time.toFixed(1)} ms`;
    const cells = [
      kind,
      mb(before.rss),
      mb(grown),
      mb(after.rss - before.rss),
      `${Math.round((during.cpu - before.cpu) / SECONDS / 10)} %`,
      ms(p50),
      ms(p99),
      failed,
      [after.connections, after.fills, after.decoders, after.inProgress].join(', '),
      `${Math.round(after.scrape / 1024)} kB`,
    ];
    console.log(`| ${cells.join(' | ')} |${isKept ? '' : ' broken'}`);
    return isKept;
  } finally {
    for (const child of children) if (child.connected) child.disconnect();
  }
}

/** Number of open connections, fills, decoders and requests. */
function heldBy({ connections, fills, decoders, inProgress }: State): number {
  return connections + fills + decoders + inProgress;
}

function left(after: State, before: State, during: State): number {
  return after.rss - before.rss - Math.max(0, (during.peak - before.rss) / 2);
}
