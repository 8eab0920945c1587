import { hotpath } from 'hotpath';
import { type Authorize, performanceApi } from 'hotpath/admin';
import { type PostgresOptions, postgres } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { gate } from '../../helpers/gate.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { expectDocumented } from '../../helpers/openapi.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
let admin: pg.Client;
const NEVER = '"Never ""analyzed"""';

/** In a session of its own: the server knows its counts once it has ended. */
async function run(sql: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(sql);
  await client.end();
}

beforeAll(async () => {
  // The tests want tables that autovacuum has not reached.
  server = await startPostgres({ autovacuum: 'off', maintenance_work_mem: '256MB' });
  url = await server.createDatabase('maintenance');
  await run(`
    CREATE ROLE reader LOGIN;
    CREATE TABLE fresh (id int PRIMARY KEY);
    INSERT INTO fresh SELECT generate_series(1, 1000);
    CREATE TABLE ${NEVER} (id int);
    INSERT INTO ${NEVER} SELECT generate_series(1, 1000);
    CREATE TABLE parted (id int) PARTITION BY RANGE (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
    CREATE TABLE bloated (id int);
    INSERT INTO bloated SELECT generate_series(1, 800000);
    CREATE INDEX bloated_id ON bloated (id);
    CREATE INDEX invalid ON fresh (id);
    UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'invalid'::regclass;
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;`);
  await run('DELETE FROM bloated WHERE id > 20000');
  await run('VACUUM (ANALYZE, TRUNCATE false) bloated');
  await run('VACUUM ANALYZE fresh');
  await run('UPDATE fresh SET id = id + 10000');
  admin = new pg.Client(url);
  await admin.connect();
  // PostgreSQL 14 shows counts half a second late.
  await waitFor(async () => {
    const { rows } = await admin.query(
      `SELECT count(*)::int AS n FROM pg_stat_user_tables WHERE relname = 'fresh' AND last_analyze IS NOT NULL AND n_dead_tup = 1000`,
    );
    return rows[0].n === 1;
  });
});
afterAll(async () => {
  await admin?.end();
  await server?.stop();
});

const later = closeAfterEach();
const pools: pg.Pool[] = [];
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.end();
});

function open(options: PostgresOptions = {}, more: Record<string, unknown> = {}) {
  const pool = new pg.Pool({ connectionString: url, max: 2, ...more });
  pools.push(pool);
  const statistics = { cacheFor: 0, timeout: '10s' } as const;
  return later(postgres(pool, { statistics, maintenance: { analyze: true }, ...options }));
}

const HEADERS = { 'content-type': 'application/json', 'x-hotpath-request': '1' };

async function serve(db?: ReturnType<typeof open>) {
  const perf = later(hotpath({}));
  const app = express5();
  const authorize: Authorize = ({ headers }, { action }) =>
    action === 'read' || headers['x-name'] === 'admin';
  app.use('/api', performanceApi({ perf, authorize, postgres: db }));
  const { url: base } = later(await listen(app));
  const get = async (path: string) => {
    const response = await fetch(`${base}/api${path}`);
    // biome-ignore lint/suspicious/noExplicitAny: its form is checked against the file.
    return (await expectDocumented(response, 'GET', path.split('?')[0]!)) as any;
  };
  const post = async (body: unknown, name = 'admin') => {
    const path = '/maintenance/analyze';
    const headers = { ...HEADERS, 'x-name': name };
    const response = await fetch(`${base}/api${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    });
    const location = response.headers.get('location');
    const { status } = response;
    // biome-ignore lint/suspicious/noExplicitAny: its form is checked against the file.
    return { status, location, body: (await expectDocumented(response, 'POST', path)) as any };
  };
  return { base, get, post };
}

describe('maintenance', () => {
  it('lists stale tables, tables that want VACUUM, invalid and bloated indexes', async () => {
    const { get } = await serve(open());
    const { stable, volatile } = await get('/maintenance');
    expect(stable).toEqual({ isAnalyzeAllowed: true });
    expect(volatile.isAvailable).toBe(true);
    const { staleTables, vacuumTables, invalidIndexes, bloatedIndexes } = volatile;
    expect(staleTables).toMatchObject({
      reason: null,
      value: [
        {
          table: 'Never "analyzed"',
          cause: 'never-analyzed',
          statement: 'ANALYZE "public"."Never ""analyzed"""',
        },
        { table: 'fresh', cause: 'changed', refusal: null, modifiedSinceAnalyze: 1000, threshold: 150 },
        { table: 'parted', cause: 'never-analyzed' },
      ],
    });
    expect(vacuumTables).toMatchObject({
      reason: null,
      value: [
        { table: 'fresh', cause: 'dead-tuples', deadTuples: 1000, threshold: 250, isAutovacuumOff: true },
      ],
    });
    expect(invalidIndexes).toMatchObject({ reason: null, value: [{ index: 'invalid', isReady: true }] });
    expect(bloatedIndexes).toMatchObject({ reason: null, value: [{ index: 'bloated_id' }] });
    // The truth is what a rebuild leaves.
    await admin.query('REINDEX INDEX bloated_id');
    const { rows } = await admin.query(`SELECT pg_relation_size('bloated_id')::int AS bytes`);
    const [{ bytes, expectedBytes, bloatRatio }] = bloatedIndexes.value;
    expect(bytes).toBeGreaterThan(10 * rows[0].bytes);
    expect(expectedBytes / rows[0].bytes).toBeCloseTo(1, 0);
    expect(bloatRatio).toBeGreaterThan(0.9);
  });

  it('analyzes the tables of a dry run in the background, and any instance tells the state', async () => {
    const { get, post, base } = await serve(open());
    const other = await serve(open());
    const dry = await post({});
    expect(dry).toMatchObject({ status: 200, body: { dryRun: true, isAllowed: true } });
    const [never, fresh] = dry.body.staleTables.value;
    // The second one waits for the first.
    await admin.query(`BEGIN; LOCK TABLE ${NEVER} IN SHARE UPDATE EXCLUSIVE MODE`);
    const { status, body, location } = await post({ dryRun: false, ids: [never.id, fresh.id] });
    expect({ status, tables: body.tables.length }).toEqual({ status: 202, tables: 2 });
    expect(new URL(location!, `${base}/api/maintenance/analyze`).href).toBe(`${base}/api${body.state}`);
    const states = async () => (await other.get(body.state)).volatile.tables;
    const { rows } = await admin.query('SELECT pg_backend_pid() AS pid');
    await waitFor(async () => (await states())[0].blockedBy.length > 0);
    expect(await states()).toMatchObject([
      { table: 'Never "analyzed"', state: 'waiting', blockedBy: [rows[0].pid], lastAnalyzeAt: null },
      { table: 'fresh', state: 'waiting', blockedBy: [] },
    ]);
    expect(await other.post({ dryRun: false, ids: [never.id] })).toMatchObject({ status: 409 });
    await admin.query('COMMIT');
    await waitFor(async () => (await states()).every((table: { state: string }) => table.state === 'done'));
    expect((await get('/maintenance')).volatile.staleTables.value).toMatchObject([{ table: 'parted' }]);
    // The lock is gone with the connection.
    await waitFor(async () => (await post({ dryRun: false, ids: [fresh.id] })).status === 404);
  });

  it('tells that a run broke off', async () => {
    const { get, post } = await serve(open());
    const [parted] = (await post({})).body.staleTables.value;
    await admin.query('BEGIN; LOCK TABLE parted IN SHARE UPDATE EXCLUSIVE MODE');
    const { body } = await post({ dryRun: false, ids: [parted.id] });
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hotpath maintenance'`,
    );
    await admin.query('COMMIT');
    await waitFor(async () => (await get(body.state)).volatile.tables[0].state === 'ended');
  });

  it('is not busy after a refused request, even while its connection closes', async () => {
    const closing = gate();
    class LeavesLate extends pg.Client {
      override async end(): Promise<void> {
        await closing.opened;
        await super.end();
      }
    }
    const { post } = await serve(open({}, { Client: LeavesLate }));
    const unknown = { dryRun: false, ids: ['0123456789abcdef'] };
    for (const _ of [1, 2]) expect(await post(unknown)).toMatchObject({ status: 404 });
    closing.open();
  });

  it('refuses what is not allowed, not owned, unknown or no id at all [J06]', async () => {
    const { post, get } = await serve(open());
    const [{ id }] = (await post({})).body.staleTables.value;
    const apply = { dryRun: false, ids: [id] };
    expect(await post(apply, 'viewer')).toMatchObject({ status: 403 });
    const closed = await serve(open({ maintenance: { analyze: false } }));
    expect(await closed.post(apply)).toMatchObject({ status: 403, body: { detail: /maintenance/ } });
    expect(await closed.post({})).toMatchObject({ status: 200, body: { isAllowed: false } });
    const reader = await serve(open({}, { connectionString: url.replace('postgres@', 'reader@') }));
    expect((await reader.post({})).body.staleTables.value[0]).toMatchObject({ id, refusal: 'not-owner' });
    expect(await reader.post(apply)).toMatchObject({ status: 403, body: { detail: /own/ } });
    expect(await post({ dryRun: false, ids: ['0123456789abcdef'] })).toMatchObject({ status: 404 });
    for (const body of [
      { dryRun: false },
      { dryRun: false, ids: [] },
      { dryRun: false, ids: ['public.parted'] },
      { dryRun: false, ids: [`${id}'; DROP TABLE parted; --`] },
      { dryRun: false, ids: id },
      { ids: [id] },
      { dryRun: 'false', ids: [id] },
      { tables: ['parted'] },
      [],
    ])
      expect([body, (await post(body)).status]).toEqual([body, 400]);
    for (const query of ['', '?ids=parted', '?ids=0123456789abcdef;', `?ids=${id}&since=now`]) {
      await expect(get(`/maintenance/analyze/state${query}`)).resolves.toMatchObject({ status: 400 });
    }
    const { rows } = await admin.query(
      `SELECT last_analyze FROM pg_stat_user_tables WHERE relname = 'parted'`,
    );
    expect(rows).toEqual([{ last_analyze: null }]);
  });

  it('needs a database', async () => {
    const { post, get } = await serve();
    expect(await get('/maintenance')).toMatchObject({ status: 409 });
    expect(await post({})).toMatchObject({ status: 409 });
    const down = await serve(open({ connection: { host: '127.0.0.1', port: 1 } }));
    expect((await down.get('/maintenance')).volatile).toMatchObject({ isAvailable: false });
    expect(await down.post({ dryRun: false, ids: ['0123456789abcdef'] })).toMatchObject({ status: 503 });
  });
});
