import { once } from 'node:events';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type MonitorPoolOptions, monitorOf, monitorPool } from 'hotpath/postgres';
import pg from 'pg';
// @ts-expect-error: it has no types
import copyStreams from 'pg-copy-streams';
// @ts-expect-error: it has no types
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
beforeAll(async () => {
  server = await startPostgres();
  url = await server.createDatabase('shapes');
});
afterAll(() => server?.stop());

/** The parts of a result that an app reads. */
function shown(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shown);
  if (value instanceof Error) {
    const { message, code, name } = value as Error & { code?: string };
    return { message, code, name };
  }
  const { command, rowCount, rows, fields } = (value ?? {}) as Partial<pg.QueryResult>;
  if (command === undefined) return value;
  return { command, rowCount, rows, names: fields?.map(({ name }) => name) };
}

/** Resolves with everything that a callback gets, and how often it is called. */
const called = (run: (callback: (...args: unknown[]) => void) => unknown): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const calls: unknown[][] = [];
    const returned = run((...args) => {
      calls.push(args.slice(0, 2).map(shown));
      // A second call would come at once.
      setTimeout(() => resolve({ calls, isPromise: returned instanceof Promise }), 5);
    });
    if (returned instanceof Promise) returned.catch(reject);
  });

const failed = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'no error',
    (error: unknown) => shown(error),
  );

async function withClient<T>(pool: pg.Pool, run: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    return await run(client);
  } finally {
    client.release();
  }
}

const all = async (stream: AsyncIterable<unknown>): Promise<unknown[]> => {
  const items: unknown[] = [];
  for await (const item of stream) items.push(item);
  return items;
};

const SELECT = 'SELECT $1::int AS n';

/** Each way to call a query. The same code runs with the monitor and without. */
const shapes: Readonly<Record<string, (pool: pg.Pool) => Promise<unknown>>> = {
  'a text': async (pool) => shown(await pool.query('SELECT 1 AS n')),
  'a text with values': async (pool) => shown(await pool.query(SELECT, [1])),
  'a config': async (pool) => shown(await pool.query({ text: SELECT, values: [1] })),
  'a config with rows as arrays': async (pool) =>
    shown(await pool.query({ text: SELECT, values: [1], rowMode: 'array' })),
  'a named statement, twice': async (pool) => {
    const config = Object.freeze({ name: 'n', text: SELECT, values: [1] });
    return [shown(await pool.query(config)), shown(await pool.query(config))];
  },
  'several statements': async (pool) => shown(await pool.query('SELECT 1 AS a; SELECT 2 AS b')),
  'a callback': (pool) => called((callback) => pool.query('SELECT 1 AS n', callback)),
  'a callback after values': (pool) => called((callback) => pool.query(SELECT, [1], callback)),
  'a callback that gets an error': (pool) => called((callback) => pool.query('SELECT x', callback)),
  'a callback in a config of a client': (pool) =>
    withClient(pool, (client) =>
      called((callback) => client.query({ text: 'SELECT 1 AS n', callback } as unknown as pg.QueryConfig)),
    ),
  'a callback in a config, beside values': (pool) =>
    withClient(pool, (client) =>
      called((callback) => client.query({ text: SELECT, callback } as unknown as pg.QueryConfig, [7])),
    ),
  'a promise of a client': (pool) =>
    withClient(pool, async (client) => shown(await client.query(SELECT, [1]))),
  'a callback of a client': (pool) =>
    withClient(pool, (client) => called((callback) => client.query(SELECT, [1], callback))),
  'connect with a callback': (pool) =>
    new Promise((resolve, reject) => {
      const returned = pool.connect((error, client, done) => {
        if (error || !client) return reject(error);
        client.query('SELECT 1 AS n').then((result) => {
          const isDone = done === client.release;
          done();
          resolve({ result: shown(result), isDone, returned });
        }, reject);
      });
    }),
  'an error of the server': (pool) => failed(pool.query('SELECT nothing FROM nowhere')),
  'an error of a constraint': (pool) => failed(pool.query('SELECT 1/0')),
  'an error of a client, which stays usable': (pool) =>
    withClient(pool, async (client) => [
      await failed(client.query('SELECT x')),
      shown(await client.query('SELECT 1')),
    ]),
  'no query at all': (pool) =>
    withClient(pool, (client) => failed((async () => client.query(null as never))())),
  'a function in place of a text': (pool) => called((callback) => pool.query(callback as never)),
  'a callback that is no function': (pool) =>
    withClient(pool, (client) => failed((async () => client.query('SELECT 1', [], 'x' as never))())),
  'a query object': (pool) =>
    withClient(pool, async (client) => {
      const query = client.query(new pg.Query('SELECT generate_series(1, 3) AS n'));
      const rows: unknown[] = [];
      query.on('row', (row) => rows.push(row));
      await once(query, 'end');
      return { rows, own: Object.keys(query).filter((name) => name.startsWith('handle')) };
    }),
  'a query object with an error': (pool) =>
    withClient(pool, async (client) =>
      shown((await once(client.query(new pg.Query('SELECT x')), 'error'))[0]),
    ),
  'a cursor': (pool) =>
    withClient(pool, async (client) => {
      const cursor = client.query(new Cursor('SELECT generate_series(1, 5) AS n'));
      const read = [await cursor.read(2), await cursor.read(10), await cursor.read(1)];
      await cursor.close();
      return { read, next: shown(await client.query('SELECT 1 AS n')) };
    }),
  'a cursor with an error': (pool) =>
    withClient(pool, (client) => failed(client.query(new Cursor('SELECT x')).read(1))),
  'a stream of rows': (pool) =>
    withClient(pool, async (client) =>
      all(client.query(new QueryStream('SELECT generate_series(1, 500) AS n', []))),
    ),
  'a stream that ends early': (pool) =>
    withClient(pool, async (client) => {
      const stream = client.query(new QueryStream('SELECT generate_series(1, 500) AS n', []));
      await once(stream, 'readable');
      stream.destroy();
      await once(stream, 'close');
      return shown(await client.query('SELECT 1 AS n'));
    }),
  'COPY in and out': (pool) =>
    withClient(pool, async (client) => {
      await client.query('CREATE TEMP TABLE copied (n int)');
      const into = client.query(copyStreams.from('COPY copied FROM STDIN') as unknown as pg.Submittable);
      await pipeline(Readable.from(['1\n2\n3\n']), into as unknown as Writable);
      const out = client.query(copyStreams.to('COPY copied TO STDOUT') as unknown as pg.Submittable);
      const text = Buffer.concat((await all(out as unknown as Readable)) as Buffer[]).toString();
      return { text, count: shown(await client.query('SELECT count(*)::int AS n FROM copied')) };
    }),
  'a transaction that is rolled back': (pool) =>
    withClient(pool, async (client) => {
      await client.query('BEGIN');
      await client.query('CREATE TABLE gone (n int)');
      const status = client.getTransactionStatus();
      await client.query('ROLLBACK');
      return { status, table: shown(await client.query(`SELECT to_regclass('gone') AS n`)) };
    }),
  'queries queued on one client': (pool) =>
    withClient(pool, (client) =>
      Promise.all([1, 2, 3].map(async (n) => shown(await client.query(SELECT, [n])))),
    ),
  'more callers than clients': (pool) =>
    Promise.all([1, 2, 3, 4, 5].map(async (n) => shown(await pool.query(SELECT, [n])))),
  'a release with an error': async (pool) => {
    const client = await pool.connect();
    client.release(new Error('broken'));
    return shown(await pool.query('SELECT 1 AS n'));
  },
  'a second release': async (pool) => {
    const client = await pool.connect();
    client.release();
    return failed((async () => client.release())());
  },
  'a killed backend': async (pool) => {
    const lost = once(pool, 'error');
    const client = await pool.connect();
    client.on('error', () => {});
    const error = await failed(client.query('SELECT pg_terminate_backend(pg_backend_pid())'));
    client.release(true);
    void lost;
    return [error, shown(await pool.query('SELECT 1 AS n'))];
  },
  'a pool that has ended': async (pool) => {
    await pool.end();
    return [await failed(pool.query('SELECT 1')), await failed(pool.connect())];
  },
};

/** The result of a shape, with the rejections that it left unhandled and the counts of the pool. */
async function outcomeOf(
  run: (pool: pg.Pool) => Promise<unknown>,
  options: pg.PoolConfig,
  isMonitored: boolean,
  monitorOptions: MonitorPoolOptions = {},
): Promise<unknown> {
  const pool = new pg.Pool({ connectionString: url, max: 2, ...options });
  const errors: unknown[] = [];
  pool.on('error', (error) => errors.push(error.message));
  const monitored = isMonitored ? monitorPool(pool, monitorOptions) : pool;
  expect(monitored).toBe(pool);
  try {
    const result = await run(monitored);
    const { totalCount, idleCount, waitingCount } = pool;
    return { result, errors, totalCount, idleCount, waitingCount };
  } finally {
    if (!pool.ending) await pool.end();
  }
}

describe('a monitored pool', () => {
  it.each(Object.keys(shapes))('behaves as without the monitor: %s', async (name) => {
    const plain = await outcomeOf(shapes[name]!, {}, false);
    expect(await outcomeOf(shapes[name]!, {}, true)).toEqual(plain);
    const resilient = { retry: true, breaker: true, checkAfterIdle: 0 };
    expect(await outcomeOf(shapes[name]!, {}, true, resilient)).toEqual(plain);
  });

  it('behaves as without the monitor in pipeline mode', async () => {
    const run = async (pool: pg.Pool) => ({
      queued: await shapes['queries queued on one client']!(pool),
      failed: await withClient(pool, (client) =>
        Promise.all([failed(client.query('SELECT x')), client.query(SELECT, [2]).then(shown)]),
      ),
      cursor: await withClient(pool, (client) => failed(client.query(new Cursor('SELECT 1')).read(1))),
    });
    const plain = await outcomeOf(run, { pipeline: true }, false);
    expect(await outcomeOf(run, { pipeline: true }, true)).toEqual(plain);
  });

  it('leaves a rejection that the app does not handle unhandled, once', async () => {
    const counted = async (isMonitored: boolean) => {
      const rejections: unknown[] = [];
      const listeners = process.listeners('unhandledRejection');
      process.removeAllListeners('unhandledRejection');
      process.on('unhandledRejection', (reason) => rejections.push((reason as Error).message));
      try {
        await outcomeOf(
          async (pool) => {
            void pool.query('SELECT x');
            void pool.query({ text: 'SELECT y' });
            await withClient(pool, async (client) => {
              void client.query('SELECT z');
              await client.query('SELECT 1');
            });
            await pool.query('SELECT 1');
            const broken = new pg.Pool({ connectionString: 'postgres://127.0.0.1:1/none' });
            void (isMonitored ? monitorPool(broken) : broken).connect();
            await new Promise((resolve) => setTimeout(resolve, 50));
          },
          { max: 4 },
          isMonitored,
        );
      } finally {
        process.removeAllListeners('unhandledRejection');
        for (const listener of listeners) process.on('unhandledRejection', listener);
      }
      return rejections.sort();
    };
    const plain = await counted(false);
    expect(plain).toHaveLength(4);
    expect(await counted(true)).toEqual(plain);
  });

  it('gets its own methods back on close', async () => {
    const pool = new pg.Pool({ connectionString: url });
    monitorPool(pool);
    expect(pool.query).not.toBe(pg.Pool.prototype.query);
    await pool.query('SELECT 1');
    const { queries } = monitorOf(pool)!.figures();
    expect(queries.queries).toBe(1);
    monitorOf(pool)!.close();
    expect([pool.query, pool.connect]).toEqual([pg.Pool.prototype.query, pg.Pool.prototype.connect]);
    expect(['connect', 'release', 'remove'].map((name) => pool.listenerCount(name))).toEqual([0, 0, 0]);
    expect(monitorOf(pool)).toBeUndefined();
    await pool.query('SELECT 1');
    monitorPool(pool);
    await pool.query('SELECT 1');
    expect(monitorOf(pool)!.figures().queries.queries).toBe(1);
    expect(queries.queries).toBe(1);
    await pool.end();
  });
});
