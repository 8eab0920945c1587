import { isDeepStrictEqual } from 'node:util';
import { hotpath } from 'hotpath';
import { health, performanceApi } from 'hotpath/admin';
import { type DatabaseStatistics, monitorPool, type PostgresOptions, postgres } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { expectDocumented } from '../../helpers/openapi.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
/** As a role that may read the tables alone. */
let readerUrl: string;
let admin: pg.Client;
beforeAll(async () => {
  server = await startPostgres({
    shared_preload_libraries: 'pg_stat_statements',
    max_connections: '20',
    'pg_stat_statements.max': '100',
  });
  url = await server.createDatabase('statistics');
  readerUrl = url.replace('postgres@', 'reader@');
  const owner = new pg.Client(url);
  await owner.connect();
  await owner.query(`
    CREATE EXTENSION pg_stat_statements;
    CREATE ROLE reader LOGIN;
    CREATE TABLE items (id int PRIMARY KEY, name text);
    INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 1000) n;
    GRANT SELECT ON items TO reader;`);
  await owner.end();
  admin = new pg.Client(url);
  await admin.connect();
  await admin.query('ANALYZE items');
});
afterAll(async () => {
  await admin?.end();
  await server?.stop();
});

const later = closeAfterEach();
const ended: { end(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of ended.splice(0)) await each.end();
});

function open(options: PostgresOptions = {}, connectionString = url) {
  const pool = new pg.Pool({ connectionString, max: 2, idleTimeoutMillis: 0 });
  // A server that stops ends its connections.
  pool.on('error', () => {});
  ended.push(pool);
  const db = later(postgres(pool, { statistics: { cacheFor: 0, timeout: '10s' }, ...options }));
  return { pool, db };
}

/** Takes all connections that the role may have. Sessions of earlier tests may still be ending. */
async function takeConnections(taken: pg.Client[]): Promise<void> {
  for (;;) {
    try {
      taken.push(await client(readerUrl));
    } catch (error) {
      expect(error).toMatchObject({ code: '53300' });
      return;
    }
  }
}

async function client(connectionString = url): Promise<pg.Client> {
  const opened = new pg.Client(connectionString);
  opened.on('error', () => {});
  await opened.connect();
  ended.push(opened);
  return opened;
}

const reasonsOf = (statistics: DatabaseStatistics) =>
  Object.fromEntries(
    Object.entries(statistics).flatMap(([name, figure]) =>
      typeof figure === 'object' ? [[name, figure.reason]] : [],
    ),
  );

const COMPLETE = {
  server: null,
  connections: null,
  blockedSessions: null,
  longTransactions: null,
  activity: null,
  buffers: null,
  tables: null,
  statements: null,
};

describe('statistics', () => {
  it('show server, sessions, sizes, caching and tables', async () => {
    const { db, pool } = open();
    await pool.query('SELECT 1');
    // Sessions hand in their counts at their end at the latest.
    const reader = new pg.Client(url);
    await reader.connect();
    await reader.query('SELECT * FROM items WHERE id = 1');
    await reader.end();
    await waitFor(async () => {
      const { tables, buffers } = await db.statistics();
      return (
        tables.value?.[0]?.liveTuples === 1000 &&
        tables.value[0].indexScans === 1 &&
        buffers.value?.heap.hitRatio !== null
      );
    });
    const statistics = await db.statistics();
    expect(reasonsOf(statistics)).toEqual(COMPLETE);
    const { server: its, connections, activity, buffers, tables } = statistics;
    expect(its.value).toMatchObject({ isStandby: false, maxConnections: 20, version: expect.any(String) });
    expect(connections.value).toMatchObject({
      ofDatabase: 3,
      ofRole: 3,
      ofMonitor: 1,
      active: 1,
      idle: 2,
      hidden: 0,
    });
    expect(activity.value!.sizeBytes).toBeGreaterThan(1e6);
    expect(buffers.value!.heap.hitRatio).toBeGreaterThan(0.5);
    expect(tables.value).toMatchObject([
      {
        schema: 'public',
        table: 'items',
        liveTuples: 1000,
        lastAnalyzeAt: expect.any(Number),
        lastVacuumAt: null,
      },
    ]);
    expect(tables.value![0]!.totalBytes).toBeGreaterThan(8192);
  });

  it('are collected once for many callers, and are kept for a while', async () => {
    const { db } = open({ statistics: { cacheFor: '1m', timeout: '10s' } });
    const many = await Promise.all(Array.from({ length: 50 }, () => db.statistics()));
    expect(new Set(many.map(({ at }) => at)).size).toBe(1);
    expect(await db.statistics()).toEqual(many[0]);
    const { rows } = await admin.query(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'hotpath statistics'`,
    );
    expect(rows).toEqual([{ n: 0 }]);
  });

  it('count statements between two readings, without values, utility statements and own ones [J13]', async () => {
    const { db, pool } = open();
    await pool.query(`SELECT name FROM items WHERE name = 'before'`);
    const first = await db.statistics();
    expect(first.statements.value).toMatchObject({ isSinceReset: true, dropped: 0 });
    for (const n of [1, 2, 3])
      await pool.query(`SELECT id FROM items WHERE name = 'secret ${n}' /* secret */`);
    await pool.query(`ALTER ROLE reader PASSWORD 'secret'`);
    const { statements } = await db.statistics();
    expect(statements.reason).toBeNull();
    const { isSinceReset, since, statements: listed } = statements.value!;
    expect({ isSinceReset, since }).toEqual({ isSinceReset: false, since: expect.any(Number) });
    expect(listed.map(({ text, calls }) => [text, calls])).toEqual(
      expect.arrayContaining([
        ['SELECT id FROM items WHERE name = ?', 3],
        ['ALTER …', 1],
      ]),
    );
    const text = JSON.stringify(listed);
    for (const hidden of ['secret', 'SELECT name', 'pg_stat', 'set_config'])
      expect(text).not.toContain(hidden);
    // Other tools go on counting from where they were.
    const { rows } = await admin.query(
      `SELECT calls::int FROM pg_stat_statements WHERE query LIKE 'SELECT name FROM items%'`,
    );
    expect(rows).toEqual([{ calls: 1 }]);
    await admin.query('SELECT pg_stat_statements_reset()');
    await pool.query('SELECT count(*) FROM items');
    const after = (await db.statistics()).statements.value!;
    expect(after).toMatchObject({ isSinceReset: true, calls: 2 });
  });

  it('name each reason without pg_monitor and without the extension', async () => {
    const { db, pool } = open({}, readerUrl);
    await pool.query('SELECT count(*) FROM items');
    const statistics = await db.statistics();
    expect(reasonsOf(statistics)).toEqual({
      ...COMPLETE,
      connections: 'permission-denied',
      statements: 'permission-denied',
    });
    expect(statistics.connections.value!.hidden).toBeGreaterThan(0);
    const bare = await server.createDatabase('bare');
    const { statements } = await open({}, bare).db.statistics();
    expect(statements).toEqual({ value: null, reason: 'extension-missing' });
  });

  it('show long transactions and blocked sessions with their blockers', async () => {
    const { db } = open();
    const holder = await client();
    const waiter = await client();
    await holder.query(
      `BEGIN; SET LOCAL application_name = 'holder'; SELECT * FROM items WHERE name = 'secret'`,
    );
    await holder.query('LOCK TABLE items IN EXCLUSIVE MODE');
    const waiting = waiter.query(`UPDATE items SET name = 'secret' WHERE id = 1`);
    await waitFor(async () => (await db.statistics()).blockedSessions.value?.length === 1);
    const { blockedSessions, connections, tables } = await db.statistics();
    expect(connections.value).toMatchObject({ waitingForLock: 1, idleInTransaction: 1 });
    expect(blockedSessions.value).toMatchObject([
      {
        text: 'UPDATE items SET name = ? WHERE id = ?',
        lock: 'RowExclusiveLock',
        table: 'public.items',
        blockers: [{ applicationName: 'holder', state: 'idle in transaction', text: 'LOCK …' }],
      },
    ]);
    expect(tables.reason).toBeNull();
    await holder.query('COMMIT');
    await waiting;
  });

  it('show sizes of other tables while one is locked exclusively', async () => {
    const { db } = open();
    const holder = await client();
    await holder.query('BEGIN; LOCK TABLE items');
    const { tables } = await db.statistics();
    expect(tables).toMatchObject({ reason: null, value: [{ table: 'items', totalBytes: null }] });
    await holder.query('ROLLBACK');
  });

  it('are unavailable in time when the server hangs, and back once it goes on [J14]', async () => {
    const { db } = open({ statistics: { cacheFor: 0, timeout: '700ms' } });
    await waitFor(async () => isDeepStrictEqual(reasonsOf(await db.statistics()), COMPLETE));
    server.pause();
    try {
      const hanging = await db.statistics();
      expect(hanging.isAvailable).toBe(false);
      expect(new Set(Object.values(reasonsOf(hanging)))).toEqual(new Set(['unavailable']));
    } finally {
      server.resume();
    }
    await waitFor(async () => (await db.statistics()).isAvailable);
  });

  it('name the reason when no connection is left, when the server is down, and after close()', async () => {
    const { db } = open({}, readerUrl);
    const clients: pg.Client[] = [];
    await waitFor(async () => {
      await takeConnections(clients);
      return (await db.statistics()).server.value === null;
    });
    expect((await db.statistics()).server).toEqual({ value: null, reason: 'too-many-connections' });
    await Promise.all(clients.map((each) => each.end()));
    const down = open({}, 'postgres://secret:secret@127.0.0.1:1/secret');
    const statistics = await down.db.statistics();
    expect(statistics).toMatchObject({ isAvailable: false, server: { value: null, reason: 'unavailable' } });
    expect(JSON.stringify(statistics)).not.toContain('secret');
    await db.close();
    expect((await db.statistics()).server).toEqual({ value: null, reason: 'closed' });
  });
});

describe('the check', () => {
  it('passes, warns when the server is nearly full, and fails without it, naming no host [J14]', async () => {
    const { db } = open({}, readerUrl);
    expect(await db.check()).toEqual({ status: 'pass' });
    const clients: pg.Client[] = [];
    await waitFor(async () => {
      await takeConnections(clients);
      return (await db.check()).status !== 'pass';
    });
    expect(await db.check()).toEqual({ status: 'warn', reason: 'all connections of the server are in use' });
    // A superuser still gets one.
    expect(await open().db.check()).toEqual({
      status: 'warn',
      reason: expect.stringMatching(/^1\d of 20 conn/),
    });
    await Promise.all(clients.map((each) => each.end()));
    await waitFor(async () => (await db.check()).status === 'pass');
    const down = open({}, 'postgres://secret:secret@127.0.0.1:1/secret');
    expect(await down.db.check()).toEqual({ status: 'fail', reason: 'the server does not respond' });
    const unknown = open({}, url.replace('postgres@', 'nobody@'));
    expect(await unknown.db.check()).toEqual({ status: 'fail', reason: 'the server refuses the role' });
    const perf = later(hotpath({}));
    const app = express5();
    app.use(health({ perf, checks: { database: down.db.check }, authorize: () => true }));
    const { url: base } = later(await listen(app));
    const response = await fetch(`${base}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({
      checks: { database: { status: 'fail', reason: 'the server does not respond' } },
    });
  });
});

describe('the performance API', () => {
  it('shows statistics beside the pool and its monitor', async () => {
    const perf = later(hotpath({}));
    const { db, pool } = open();
    monitorPool(pool, { perf });
    await pool.query('SELECT 1');
    const app = express5();
    app.use('/api', performanceApi({ perf, postgres: db, authorize: () => true }));
    const { url: base } = later(await listen(app));
    const body = await expectDocumented(await fetch(`${base}/api/database`), 'GET', '/database');
    expect(body).toMatchObject({
      stable: { pool: { maxCount: 2 } },
      volatile: { pool: { totalCount: 1 }, monitor: {}, statistics: { isAvailable: true } },
    });
  });

  it('refuses anything that is no database', () => {
    const perf = later(hotpath({}));
    expect(() => performanceApi({ perf, postgres: {} as never })).toThrow(/postgres.*a database/);
    expect(() => postgres({} as never)).toThrow(/a pool of pg/);
    expect(() => postgres(new pg.Pool(), { statistics: { cacheFor: 'x' as never } })).toThrow('cacheFor');
  });
});
