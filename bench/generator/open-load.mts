// A fixed rate of requests over a number of connections. lib/open-load.mts starts it and reads its output.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { percentile } from '../lib/statistics.mjs';
import { AnswerReader } from './answer-reader.mjs';

export interface OpenLoad {
  readonly port: number;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly status: number;
  readonly connections: number;
  /** Requests per second. */
  readonly rate: number;
  readonly seconds: number;
  /** Whether the generator polls the clock, which uses a whole core, or checks it every millisecond. */
  readonly isSpinning: boolean;
  /** Appends ascending numbers below this to the path. */
  readonly keys?: number;
}

export interface OpenOutput {
  readonly done: number;
  readonly failed: number;
  /** Whether the generator itself was later than the tolerance. */
  readonly late: boolean;
  /** From the first request to the last response; longer than the load if the server fell behind. */
  readonly seconds: number;
  /** Milliseconds. */
  readonly latency: {
    readonly p50: number;
    readonly p95: number;
    readonly p99: number;
    readonly max: number;
  };
}

/** Tolerated lateness of the generator, for 1 % of the requests. Milliseconds. */
const LATE_MS = 5;

const load: OpenLoad = JSON.parse(process.argv[2] as string);
const total = Math.floor(load.rate * load.seconds);
const spacing = 1000 / load.rate;
const latencies = new Float64Array(total);
/** Lateness of the generator, whether or not a connection was free. */
const delays = new Float64Array(total);
const headers = Object.entries(load.headers).map(([name, value]) => `${name}: ${value}\r\n`);
const tail = ` HTTP/1.1\r\nHost: 127.0.0.1:${load.port}\r\n${headers.join('')}\r\n`;
const idle: Connection[] = [];
/** Due times of requests without a free connection. */
const waiting: number[] = [];
let [sent, done, failed, begin] = [0, 0, 0, 0];
let scheduled = 0;
let isOver = false;

class Connection {
  readonly #socket: Socket;
  readonly #reader = new AnswerReader();
  #due = 0;
  #isBusy = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      const at = idle.indexOf(this);
      if (at >= 0) idle.splice(at, 1);
      if (this.#isBusy) failed++;
      finish();
    });
  }

  ask(due: number): void {
    this.#isBusy = true;
    this.#due = due;
    const key = load.keys === undefined ? '' : sent % load.keys;
    sent++;
    this.#socket.write(`GET ${load.path}${key}${tail}`);
  }

  #read(chunk: Buffer): void {
    const status = this.#reader.read(chunk);
    if (status === undefined) return;
    this.#isBusy = false;
    if (status === load.status) latencies[done++] = performance.now() - this.#due;
    else failed++;
    const due = waiting.shift();
    if (due === undefined) idle.push(this);
    else this.ask(due);
    finish();
  }
}

function finish(): void {
  if (isOver || done + failed < total) return;
  isOver = true;
  const sorted = latencies.subarray(0, done).sort();
  const behind = percentile(delays.sort(), 0.99);
  const output: OpenOutput = {
    done,
    failed,
    late: behind > LATE_MS,
    seconds: (performance.now() - begin) / 1000,
    latency: {
      p50: percentile(sorted, 0.5),
      p95: percentile(sorted, 0.95),
      p99: percentile(sorted, 0.99),
      max: percentile(sorted, 1),
    },
  };
  process.send?.(output);
}

function tick(): void {
  const now = performance.now();
  while (scheduled < total && begin + scheduled * spacing <= now) {
    const due = begin + scheduled * spacing;
    delays[scheduled++] = now - due;
    // The connection that was idle longest, so that all are used.
    const connection = idle.shift();
    if (connection) connection.ask(due);
    else waiting.push(due);
  }
  if (scheduled === total) return;
  if (load.isSpinning) setImmediate(tick);
  else setTimeout(tick, 1);
}

/** Requests without a response for this long after the last due time have failed. */
const PATIENCE_MS = 20_000;

process.on('disconnect', () => process.exit());
const CONNECTING_AT_ONCE = 100;
for (let made = 0; made < load.connections; ) {
  const some = Math.min(CONNECTING_AT_ONCE, load.connections - made);
  const sockets = Array.from({ length: some }, () => connect(load.port, '127.0.0.1'));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  idle.push(...sockets.map((socket) => new Connection(socket)));
  made += some;
}
process.send?.('connected');
await once(process, 'message');
begin = performance.now();
setTimeout(
  () => {
    failed = total - done;
    finish();
  },
  load.seconds * 1000 + PATIENCE_MS,
).unref();
tick();
