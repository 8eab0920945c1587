import { type Hotpath, hotpath } from 'hotpath';
import { type MonitorPoolOptions, monitorOf, monitorPool } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { FaultProxy } from '../../helpers/fault-proxy.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
let proxy: FaultProxy;
beforeAll(async () => {
  server = await startPostgres();
  url = await server.createDatabase('resilient');
  proxy = await FaultProxy.start(Number(new URL(url).port));
  await direct(async (client) => {
    await client.query('CREATE TABLE runs (id int)');
    await client.query(`CREATE FUNCTION count_run() RETURNS int LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO runs VALUES (1); PERFORM pg_sleep(20); RETURN 1; END $$`);
    await client.query('CREATE VIEW writing AS SELECT count_run() AS n');
  });
});
afterAll(async () => {
  await proxy?.stop();
  await server?.stop();
});

const later = closeAfterEach();
const pools: pg.Pool[] = [];
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.end();
});
beforeEach(() => proxy.mend());

async function direct<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function open(options: MonitorPoolOptions, config: pg.PoolConfig = {}) {
  const pool = new pg.Pool({
    connectionString: url,
    port: proxy.port,
    max: 3,
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: 2000,
    ...config,
  });
  // The options of a connection string have the last word.
  pool.options.connectionString = url.replace(/:\d+\//, `:${proxy.port}/`);
  pool.on('error', () => {});
  monitorPool(pool, options);
  pools.push(pool);
  return { pool, figures: () => monitorOf(pool)!.figures().pool };
}

/** Ends the connections of the pools, as an administrator does. */
const terminate = () =>
  direct((client) =>
    client.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    ),
  );

const runs = () =>
  direct(async (client) => Number((await client.query('SELECT count(*) FROM runs')).rows[0].count));

/** Waits until the server runs a statement. */
const seen = (text: string) =>
  waitFor(() =>
    direct(async (client) => {
      const { rows } = await client.query(
        `SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()`,
        [`%${text}%`],
      );
      return rows.length > 0;
    }),
  );

/** Reads for some time: each row multiplies the work, and no function but known ones is called. */
const LONG_READ = 'SELECT count(*) AS n FROM generate_series(1, $1::int) a';
const LONG = 3_000_000;

describe('reads whose connection is lost', () => {
  it('are repeated when an administrator ends their connection', async () => {
    const { pool, figures } = open({ retry: true });
    const read = pool.query(LONG_READ, [LONG]);
    await seen('generate_series');
    await terminate();
    expect((await read).rows).toEqual([{ n: String(LONG) }]);
    expect(figures().retries).toBe(1);
  });

  it('are repeated after a crash of the server', async () => {
    const { pool, figures } = open({ retry: { attempts: 10, within: '30s' } });
    await pool.query('SELECT 1');
    const reads = [1, 2, 3].map((n) =>
      pool.query(`SELECT count(*) + $1::int AS n FROM generate_series(1, ${LONG})`, [n]),
    );
    await seen('generate_series');
    await server.restart();
    const results = await Promise.all(reads);
    expect(results.map(({ rows }) => rows[0].n)).toEqual([1, 2, 3].map((n) => String(LONG + n)));
    expect(figures().retries).toBeGreaterThanOrEqual(3);
  });

  it('fail as they do without the option if they write, even where their text does not show it', async () => {
    const { pool, figures } = open({ retry: true });
    const texts = ['SELECT n FROM writing', 'SELECT count_run()', 'INSERT INTO runs SELECT count_run()'];
    for (const text of texts) {
      const write = pool.query(text).then(
        () => 'no error',
        (error) => error.code ?? error.message,
      );
      await seen(text);
      await terminate();
      expect(await write, text).toBe('57P01');
      // The view is tried again, in a transaction that refuses to write.
      expect(figures().retries, text).toBe(1);
    }
    expect(await runs()).toBe(0);
  });

  it('fail at once with a callback, in a transaction, or when the option is off', async () => {
    const on = open({ retry: true });
    const off = open({});
    const client = await on.pool.connect();
    client.on('error', () => {});
    await client.query('BEGIN');
    const failed = [
      client.query(LONG_READ, [LONG]),
      off.pool.query(LONG_READ, [LONG]),
      new Promise((_, reject) => on.pool.query(LONG_READ, [LONG], (error) => reject(error))),
    ].map((promise) => expect(promise).rejects.toMatchObject({ code: '57P01' }));
    await seen('generate_series');
    await waitFor(() => on.pool.totalCount + off.pool.totalCount === 3);
    await terminate();
    await Promise.all(failed);
    client.release(true);
    expect(on.figures().retries + off.figures().retries).toBe(0);
  });

  it('stop when the client of the request has left, and after the attempts', async () => {
    const perf: Hotpath = later(hotpath({ metrics: { defaultMetrics: false } }));
    const { pool, figures } = open({ retry: { attempts: 3 }, perf });
    const app = express5();
    const ended: unknown[] = [];
    app.use(perf);
    app.get('/', (_req, res, next) => {
      pool.query('SELECT 1').then(
        () => res.end(),
        (error) => {
          ended.push(error.code);
          next(error);
        },
      );
    });
    app.use(
      (_error: unknown, _req: unknown, res: { status(code: number): { end(): void } }, _next: unknown) =>
        res.status(500).end(),
    );
    const { url: base } = later(await listen(app));
    await proxy.cut();
    expect((await fetch(base)).status).toBe(500);
    expect(figures().retries).toBe(2);
    await proxy.mend();
    proxy.set({ blackHole: 'both' });
    const leaving = new AbortController();
    const request = fetch(base, { signal: leaving.signal }).catch(() => {});
    await waitFor(() => pool.totalCount === 1);
    leaving.abort();
    await request;
    await waitFor(() => perf.telemetry!.snapshot().requests.active === 0);
    proxy.reset();
    await waitFor(() => ended.length === 2);
    proxy.set({});
    expect(figures().retries).toBe(2);
  });
});

describe('the breaker', () => {
  it('refuses connections at once while none succeeds, and lets one try after its pause', async () => {
    const { pool, figures } = open({ breaker: { openFor: '200ms', longest: '200ms' } });
    await proxy.cut();
    for (let n = 0; n < 5; n++)
      await expect(pool.query('SELECT 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(figures().breaker).toBe('open');
    const refusal = { code: 'HOTPATH_DATABASE_UNAVAILABLE', cause: { code: 'ECONNREFUSED' } };
    await expect(pool.query('SELECT 1')).rejects.toMatchObject(refusal);
    await expect(pool.connect()).rejects.toMatchObject(refusal);
    const [error] = await new Promise<unknown[]>((resolve) => pool.connect((...results) => resolve(results)));
    expect(error).toMatchObject(refusal);
    expect(figures()).toMatchObject({ refused: 3, totalCount: 0 });
    await proxy.mend();
    await waitFor(async () => (await pool.query('SELECT 1').catch(() => undefined)) !== undefined);
    expect(figures().breaker).toBe('closed');
  });

  it('does not count errors of statements', async () => {
    const { pool, figures } = open({ breaker: true });
    for (let n = 0; n < 8; n++) await expect(pool.query('SELECT x')).rejects.toMatchObject({ code: '42703' });
    expect(figures().breaker).toBe('closed');
  });
});

describe('clients that idled', () => {
  it('are replaced before their use if their connection is dead', async () => {
    const { pool, figures } = open({ checkAfterIdle: 0 });
    const clients = await Promise.all([pool.connect(), pool.connect()]);
    for (const client of clients) client.release();
    // The proxy swallows the bytes of both, as a firewall does that has forgotten them. New ones pass.
    const stale = proxy.connections;
    proxy.set({ blackHole: 'both' });
    const read = pool.query('SELECT 1 AS n');
    await waitFor(() => figures().dropped === 1);
    proxy.set({});
    expect((await read).rows).toEqual([{ n: 1 }]);
    expect(proxy.connections).toBeGreaterThan(stale);
    expect(figures().failed).toBe(0);
  });

  it('are checked in each call shape, and stay the same clients if they are sound', async () => {
    const { pool, figures } = open({ checkAfterIdle: 0 }, { max: 1 });
    const pids = new Set<number>();
    const note = ({ rows }: pg.QueryResult) => pids.add(rows[0].pid);
    const text = 'SELECT pg_backend_pid() AS pid';
    note(await pool.query(text));
    note(
      await new Promise((resolve, reject) =>
        pool.query(text, (error, result) => (error ? reject(error) : resolve(result))),
      ),
    );
    const client = await pool.connect();
    note(await client.query(text));
    client.release();
    await new Promise<void>((resolve, reject) =>
      pool.connect((error, taken, done) => {
        if (error || !taken) return reject(error);
        expect(done).toBe(taken.release);
        taken.query(text).then((result) => {
          note(result);
          done();
          resolve();
        }, reject);
      }),
    );
    expect(pids.size).toBe(1);
    expect(figures()).toMatchObject({ dropped: 0, opened: 1 });
    // Its own queries are in no figure.
    expect(monitorOf(pool)!.figures().queries.queries).toBe(4);
  });

  it('end the wait of a caller when each of them is dead', async () => {
    const { pool } = open({ checkAfterIdle: 0, breaker: true, retry: true }, { max: 1 });
    await pool.query('SELECT 1');
    const removed = new Promise((resolve) => pool.once('remove', resolve));
    await terminate();
    expect((await pool.query('SELECT 2 AS n')).rows).toEqual([{ n: 2 }]);
    await removed;
  });
});

describe('the options', () => {
  it.each([
    [{ retry: { attempts: 1 } }, 'monitorPool.retry.attempts'],
    [{ retry: 'always' }, 'monitorPool.retry'],
    [{ breaker: { openFor: 'long' } }, 'monitorPool.breaker.openFor'],
    [{ checkAfterIdle: true }, 'monitorPool.checkAfterIdle'],
  ])('are refused: %j', (options, path) => {
    expect(() => monitorPool(new pg.Pool(), options as never)).toThrow(path);
  });
});
