// The cost of the pool monitor per query, on a stub of `pg` that responds at once: `npm run build`, then
// `npm run bench:postgres`. A real server's noise is larger than what is measured. A plain pool, a monitored one, and
// one whose queries belong to a request are measured by turns. Each round takes the fastest of many short batches,
// because other programs interrupt the others.
//
// Ends with 1 when the monitor costs more than 1 µs a query. Use an idle machine and Node 24.
import { EventEmitter } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import pg from 'pg';
// The built package: what tsx makes of the source names each closure when it is made.
import { hotpath } from '../dist/index.js';
import { monitorPool } from '../dist/postgres.js';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, batches: { type: 'string', default: '20' } },
});
const ROUNDS = Number(values.rounds);
const BATCHES = Number(values.batches);
const QUERIES = 1000;
/** Microseconds. */
const BOUND = 1;

const TEXT = 'SELECT id, name, price_cents FROM products WHERE category_id = $1 ORDER BY id LIMIT 20';
const RESULT = { command: 'SELECT', rowCount: 20, rows: [], fields: [] };

/** A client that has a result at once. */
class StubClient extends EventEmitter {
  readonly _queryable = true;
  connect(callback: (error?: Error) => void): void {
    callback();
  }
  query(_text: unknown, _values: unknown, callback: (error: undefined, result: unknown) => void): void {
    callback(undefined, RESULT);
  }
  end(callback: () => void): void {
    callback();
  }
}

const stubPool = () =>
  new pg.Pool({ Client: StubClient as unknown as new () => pg.ClientBase, idleTimeoutMillis: 0 });

const perf = hotpath({ timing: false, cache: false, compression: false, metrics: { defaultMetrics: false } });

interface Contender {
  readonly pool: pg.Pool;
  readonly isRequest: boolean;
}

const contenders: Record<string, Contender> = {
  plain: { pool: stubPool(), isRequest: false },
  monitored: { pool: monitorPool(stubPool(), { perf, nPlusOne: false }), isRequest: false },
  'monitored, in a request': {
    pool: monitorPool(stubPool(), { perf, name: 'requests', nPlusOne: false }),
    isRequest: true,
  },
};

/** Runs code as the handler of a request. */
function inRequest<T>(run: () => Promise<T>): Promise<T> {
  const req = new IncomingMessage(new Socket());
  req.url = '/';
  req.method = 'GET';
  return new Promise((resolve, reject) => {
    perf(req as never, new ServerResponse(req) as never, () => run().then(resolve, reject));
  });
}

/** Microseconds a query. */
async function batch({ pool, isRequest }: Contender): Promise<number> {
  const run = async () => {
    const startedAt = performance.now();
    for (let at = 0; at < QUERIES; at++) await pool.query(TEXT, [at]);
    return ((performance.now() - startedAt) * 1000) / QUERIES;
  };
  return isRequest ? inRequest(run) : run();
}

const median = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;

const names = Object.keys(contenders);
const costs = new Map<string, number[]>(names.map((name) => [name, []]));
for (let round = -2; round < ROUNDS; round++) {
  const times = new Map<string, number[]>(names.map((name) => [name, []]));
  for (let at = 0; at < BATCHES; at++) {
    for (const name of names) times.get(name)!.push(await batch(contenders[name]!));
  }
  // The first rounds warm up.
  if (round >= 0) for (const name of names) costs.get(name)!.push(Math.min(...times.get(name)!));
}
const plain = median(costs.get('plain')!);
console.log(`Node ${process.version}, µs a query: the median of ${ROUNDS} rounds`);
for (const name of names) {
  const cost = median(costs.get(name)!);
  console.log(`${name}: ${cost.toFixed(2)}, of the monitor ${(cost - plain).toFixed(2)}`);
}
if (median(costs.get('monitored, in a request')!) - plain > BOUND) process.exitCode = 1;
await perf.close();
