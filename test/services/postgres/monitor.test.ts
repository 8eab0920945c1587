import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type Hotpath, type HotpathConfig, hotpath } from 'hotpath';
import { performanceApi } from 'hotpath/admin';
import {
  type DatabaseFigures,
  type MonitorPoolOptions,
  monitorOf,
  monitorPool,
  type NPlusOneEvent,
  poolOptionsFromEnv,
} from 'hotpath/postgres';
import pg from 'pg';
// @ts-expect-error: it has no types
import Cursor from 'pg-cursor';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, majors, waitFor } from '../../helpers/http.js';
import { expectDocumented } from '../../helpers/openapi.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
beforeAll(async () => {
  server = await startPostgres();
  url = await server.createDatabase('monitored');
  const client = new pg.Client(url);
  await client.connect();
  await client.query('CREATE TABLE items (id int PRIMARY KEY, name text)');
  await client.query(`INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 100) n`);
  await client.end();
});
afterAll(() => server?.stop());

const later = closeAfterEach();
const pools: pg.Pool[] = [];
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.end();
});

function open(options: MonitorPoolOptions = {}, config: pg.PoolConfig = {}) {
  const pool = monitorPool(new pg.Pool({ connectionString: url, max: 2, ...config }), options);
  pools.push(pool);
  const figures = () => monitorOf(pool)!.figures();
  return { pool, figures };
}

async function serve(
  routes: (app: ReturnType<typeof express5>, pool: pg.Pool, perf: Hotpath) => void,
  {
    express = express5,
    config,
    options,
  }: {
    express?: typeof express5;
    config?: HotpathConfig;
    options?: MonitorPoolOptions;
  } = {},
) {
  const perf = later(
    hotpath({ timing: { serverTiming: true }, metrics: { defaultMetrics: false }, ...config }),
  );
  const monitored = open({ perf, ...options });
  const app = express();
  app.use(perf);
  routes(app, monitored.pool, perf);
  const { url: base } = later(await listen(app));
  return { ...monitored, perf, get: (path: string) => fetch(base + path) };
}

describe('the figures of a pool', () => {
  it('count queries, rows and errors by fingerprint, without values', async () => {
    const { pool, figures } = open();
    for (const id of [1, 2, 3]) await pool.query(`SELECT * FROM items WHERE id = ${id} -- secret ${id}`);
    await pool.query('SELECT * FROM items WHERE id IN ($1, $2)', [1, 2]);
    await pool.query(`UPDATE items SET name = 'secret' WHERE id = $1`, [1]);
    await expect(pool.query(`SELECT 'secret'::int`)).rejects.toThrow();
    await pool.query(`CREATE ROLE r PASSWORD 'secret'`);
    await pool.query('DROP ROLE r');
    const { queries, statements, pool: connections } = figures();
    const counted = statements.map(({ text, queries, rows, errors }) => [text, queries, rows, errors]);
    expect(counted).toEqual(
      expect.arrayContaining([
        ['SELECT * FROM items WHERE id = ?', 3, 3, 0],
        ['SELECT * FROM items WHERE id IN (…)', 1, 2, 0],
        ['UPDATE items SET name = ? WHERE id = ?', 1, 1, 0],
        ['SELECT ?::int', 1, 0, 1],
        ['CREATE …', 1, 0, 0],
      ]),
    );
    expect(queries).toMatchObject({ queries: 8, errors: 1, rows: 6, slow: 0, statements: 6 });
    expect(queries.durations.max).toBeGreaterThan(0);
    // An error in `pool.query` costs its connection.
    expect(connections).toMatchObject({ opened: 2, closed: 1, failed: 0, maxCount: 2 });
    expect(JSON.stringify(figures())).not.toContain('secret');
  });

  it('count further fingerprints as one beyond the bound', async () => {
    const { pool, figures } = open({ maxStatements: 2 });
    for (const name of ['a', 'b', 'c', 'd']) await pool.query(`SELECT 1 AS ${name}`);
    expect(figures().statements.map(({ text, queries }) => [text, queries])).toEqual(
      expect.arrayContaining([
        ['SELECT ? AS a', 1],
        ['SELECT ? AS b', 1],
        ['other', 2],
      ]),
    );
  });

  it('count the time of cursors apart, because the app reads them', async () => {
    const { pool, figures } = open({ slow: '50ms' });
    const client = await pool.connect();
    const cursor = client.query(new Cursor('SELECT generate_series(1, 3) AS n'));
    await cursor.read(1);
    await new Promise((resolve) => setTimeout(resolve, 60));
    await cursor.close();
    client.release();
    const { queries, slowQueries } = figures();
    expect(queries).toMatchObject({ queries: 1, streams: 1, slow: 0, durations: { max: null } });
    expect(slowQueries).toEqual([]);
  });

  it('tell who waits, how long, and which clients were not released', async () => {
    const { pool, figures } = open({ leakAfter: '20ms' }, { max: 1 });
    const client = await pool.connect();
    const waiting = pool.query('SELECT 1');
    await waitFor(() => figures().pool.leakSuspects.length === 1);
    const { pool: full } = figures();
    expect(full).toMatchObject({ waitingCount: 1, activeCount: 1, isSaturated: true });
    expect(full.leakSuspects[0]).toMatchObject({
      place: expect.stringContaining('monitor.test.ts:'),
      route: null,
    });
    client.release();
    await waiting;
    const { pool: after } = figures();
    expect(after).toMatchObject({ waitingCount: 0, isSaturated: false, leakSuspects: [] });
    expect(after.wait.max).toBeGreaterThan(0.015);
    expect(after.use.max).toBeGreaterThan(0.015);
  });

  it('list slow queries with an event and a hook, without values', async () => {
    const events: unknown[] = [];
    const hooked: unknown[] = [];
    const listener = (message: unknown) => void events.push(message);
    subscribe('hotpath:slow-query', listener);
    try {
      const { pool, figures } = open(
        { slow: '500ms', onSlowQuery: (query) => void hooked.push(query) },
        { statement_timeout: 1000 },
      );
      await pool.query('SELECT 1');
      await pool.query(`SELECT pg_sleep(0.6), 'secret'`);
      await expect(pool.query('SELECT pg_sleep(5)')).rejects.toThrow();
      const text = 'SELECT pg_sleep(?), ?';
      expect(figures().slowQueries).toHaveLength(2);
      expect(monitorOf(pool)!.slowQueries()).toBe(2);
      expect(figures().slowQueries).toEqual(
        expect.arrayContaining([
          expect.objectContaining({ text, rows: 1, route: null, error: null }),
          expect.objectContaining({ text: 'SELECT pg_sleep(?)', rows: 0, error: '57014' }),
        ]),
      );
      expect(events).toMatchObject([
        { text, seconds: expect.closeTo(0.6, 0) },
        { seconds: expect.any(Number) },
      ]);
      expect(hooked).toEqual(events);
    } finally {
      unsubscribe('hotpath:slow-query', listener);
    }
  });

  it.each([
    [{ slow: 'soon' }, 'monitorPool.slow'],
    [{ nPlusOne: 1 }, 'monitorPool.nPlusOne'],
    [{ perf: {} }, 'monitorPool.perf'],
    [{ naming: 'ours' }, 'monitorPool.naming'],
  ])('are refused for the options %j', (options, path) => {
    const pool = new pg.Pool();
    expect(() => monitorPool(pool, options as never)).toThrow(path);
    expect(monitorOf(pool)).toBeUndefined();
  });

  it('are refused for a pool that is monitored already, and for anything else', () => {
    const pool = monitorPool(new pg.Pool());
    expect(() => monitorPool(pool)).toThrow(/monitored already/);
    expect(() => monitorPool({} as never)).toThrow(/a pool of pg/);
  });
});

describe.each(majors)('requests on %s', (_name, express) => {
  it('show their queries in Server-Timing, req.hotpath and the figures of their route', async () => {
    const seen: unknown[] = [];
    const { get, perf } = await serve(
      (app, pool) => {
        app.get('/items/:id', async (req, res) => {
          await pool.query('SELECT * FROM items WHERE id = $1', [req.params.id]);
          const client = await pool.connect();
          await client.query('SELECT 1');
          client.release();
          seen.push(req.hotpath?.database?.queries);
          res.json({});
        });
        app.get('/none', (_req, res) => void res.json({}));
      },
      { express },
    );
    // More requests than connections: a waiting query runs in the context of another request.
    const answers = await Promise.all([1, 2, 3, 4, 5].map((id) => get(`/items/${id}`)));
    for (const answer of answers) {
      expect(answer.headers.get('server-timing')).toMatch(/db;desc="2 queries";dur=\d+\.\d+/);
    }
    expect(seen).toEqual([2, 2, 2, 2, 2]);
    expect((await get('/none')).headers.get('server-timing')).not.toContain('db;');
    await waitFor(() => perf.telemetry!.snapshot().requests.sinceStart.requests === 6);
    const routes = perf.telemetry!.routes();
    expect(routes.find(({ route }) => route === '/items/:id')?.database).toMatchObject({
      requests: 5,
      queries: 10,
    });
    expect(routes.find(({ route }) => route === '/none')).not.toHaveProperty('database');
  });

  it('report N+1 once for each route, with an example and the place in the code', async () => {
    const found: NPlusOneEvent[] = [];
    const { get, figures } = await serve(
      (app, pool, perf) => {
        app.use('/performance', performanceApi({ perf, pool, authorize: () => true }));
        app.get('/many', async (_req, res) => {
          for (let id = 1; id <= 6; id++) await pool.query('SELECT name FROM items WHERE id = $1', [id]);
          res.json({});
        });
        app.get('/few', async (_req, res) => {
          for (let id = 1; id <= 4; id++) await pool.query('SELECT name FROM items WHERE id = $1', [id]);
          res.json({});
        });
      },
      { express, options: { nPlusOne: 5, onNPlusOne: (each) => void found.push(each) } },
    );
    for (const path of ['/many', '/many', '/few']) await get(path);
    await waitFor(() => figures().nPlusOne[0]?.requests === 2);
    expect(figures().nPlusOne).toEqual([
      {
        text: 'SELECT name FROM items WHERE id = ?',
        method: 'GET',
        route: '/many',
        queries: 6,
        seconds: expect.any(Number),
        place: expect.stringMatching(/test\/services\/postgres\/monitor\.test\.ts:\d+:\d+/),
        requests: 2,
      },
    ]);
    expect(found).toHaveLength(1);
    const shown = await expectDocumented(await get('/performance/database'), 'GET', '/database');
    const { monitor } = (shown as { volatile: { monitor: DatabaseFigures } }).volatile;
    expect(monitor).toMatchObject({ nPlusOne: figures().nPlusOne, queries: { queries: 16 } });
    const api = await expectDocumented(await get('/performance/api'), 'GET', '/api');
    expect(JSON.stringify(api)).toContain('"database":{"requests":2,"queries":12,');
  });
});

describe('poolOptionsFromEnv', () => {
  it('reads the environment into options that PostgreSQL accepts, with time-outs', async () => {
    const env = { DATABASE_URL: url, DB_POOL_SIZE: '3', DB_MAX_OVERFLOW: '2', DB_POOL_RECYCLE: '30m' };
    const options = poolOptionsFromEnv(env);
    expect(options).toMatchObject({ max: 5, maxLifetimeSeconds: 1800, connectionTimeoutMillis: 5000 });
    const pool = new pg.Pool(options);
    pools.push(pool);
    const read = async (name: string) => (await pool.query(`SHOW ${name}`)).rows[0][name];
    expect([await read('statement_timeout'), await read('lock_timeout')]).toEqual(['30s', '10s']);
    expect(poolOptionsFromEnv({})).toMatchObject({ max: 10, maxLifetimeSeconds: 0 });
    expect(poolOptionsFromEnv({})).not.toHaveProperty('connectionString');
    expect(() => poolOptionsFromEnv({ DB_MAX_OVERFLOW: '-1' })).toThrow(/DB_MAX_OVERFLOW/);
  });
});

describe('the metrics of a pool', () => {
  it('count queries, waits and connections in the registry of the instance', async () => {
    const { pool, perf } = await serve(() => {}, { options: { name: 'shop' } });
    await pool.query('SELECT 1');
    await pool.query('SELECT 1');
    await expect(pool.query('SELECT x')).rejects.toThrow();
    const text = await perf.metrics.registry!.metrics();
    for (const line of [
      'hotpath_db_query_duration_seconds_count{pool="shop",operation="SELECT"} 3',
      'hotpath_db_query_errors_total{pool="shop",code="42703"} 1',
      'hotpath_db_rows_total{pool="shop",operation="SELECT"} 2',
      'hotpath_db_connection_wait_seconds_count{pool="shop"} 3',
      'hotpath_db_connection_use_seconds_count{pool="shop"} 3',
      'hotpath_db_connections{pool="shop",state="used"} 0',
      'hotpath_db_connections_max{pool="shop"} 2',
      'hotpath_db_connections_opened_total{pool="shop"} 1',
      'hotpath_db_leak_suspects{pool="shop"} 0',
    ]) {
      expect(text).toContain(line);
    }
  });

  it('have the names of OpenTelemetry if that is wanted, and go when the instance closes', async () => {
    const { pool, perf } = await serve(() => {}, { options: { naming: 'otel' } });
    await pool.query('SELECT 1');
    const read = () => perf.metrics.registry!.metrics();
    expect(await read()).toContain(
      'db_client_operation_duration_seconds_count{db_client_connection_pool_name="default",db_operation_name="SELECT"} 1',
    );
    expect(await read()).toContain(
      'db_client_connection_count{db_client_connection_pool_name="default",db_client_connection_state="idle"} 1',
    );
    await perf.close();
    expect(await read()).not.toMatch(/^db_client_connection_count\{/m);
    expect(monitorOf(pool)).toBeUndefined();
    await pool.query('SELECT 1');
  });
});
