import { setFlagsFromString } from 'node:v8';
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import { monitorPool, postgres } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { withTurn } from '../../../src/postgres/builds/turn.js';
import type { BuildOptions } from '../../../src/postgres/builds/types.js';
import { indexNameOf } from '../../../src/postgres/indexes/definition.js';
import { Sessions } from '../../../src/postgres/sessions.js';
import { waitFor } from '../../helpers/http.js';
import { startPgBouncer } from '../../helpers/pgbouncer.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';
import { startChild } from '../../process/child.js';
import { indexOn, openBuilds } from './builds-helper.js';

let server: TestPostgres;
let url: string;
let admin: pg.Client;
beforeAll(async () => {
  server = await startPostgres({ max_prepared_transactions: '10' });
  url = await server.createDatabase('refused');
  admin = new pg.Client(url);
  await admin.connect();
  await admin.query(`
    CREATE TABLE items (id int PRIMARY KEY, name text, kind int);
    INSERT INTO items SELECT n, 'item ' || n, n % 100 FROM generate_series(1, 1000) n;
    CREATE ROLE reader LOGIN;
    GRANT SELECT ON items TO reader;
    -- As since PostgreSQL 15.
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    CREATE ROLE owner LOGIN;
    CREATE TABLE owned (id int);
    ALTER TABLE owned OWNER TO owner;
    CREATE ROLE careful LOGIN;
    ALTER ROLE careful SET default_transaction_read_only = on`);
});
afterAll(async () => {
  await admin?.end();
  await server?.stop();
});

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const kind = indexOn('items', 'kind');
const as = (role: string) => url.replace('postgres@', `${role}@`);
const indexes = async () =>
  (await admin.query(`SELECT relname FROM pg_class WHERE relname LIKE 'hotpath%'`)).rows.length;

function start(address: string, options: BuildOptions = {}) {
  const builds = openBuilds(address, options);
  closing.push(() => builds.close());
  return builds;
}

async function open(...statements: string[]): Promise<pg.Client> {
  const client = new pg.Client(url);
  await client.connect();
  closing.push(() => client.end());
  for (const statement of ['BEGIN', ...statements]) await client.query(statement);
  return client;
}

describe('a build is refused', () => {
  it.each([
    ['unless the config permits it [J12]', 'postgres', { apply: false }, kind, 'apply-off'],
    ['for a role that may only read [J12]', 'reader', {}, kind, 'not-owner'],
    ['without CREATE on the schema', 'owner', {}, indexOn('owned', 'id'), 'no-create-right'],
    ['for a role that reads by default', 'careful', {}, kind, 'read-only'],
    ['above the size', 'postgres', { maxTableBytes: '1kb' }, kind, 'too-large'],
    ['at another level', 'postgres', { levels: ['sampled'] }, kind, 'level'],
    ['for a table that is gone', 'postgres', {}, indexOn('gone', 'id'), 'no-table'],
    [
      'for a table of the system',
      'postgres',
      {},
      indexOn('pg_class', 'relname', { schema: 'pg_catalog' }),
      'system-table',
    ],
    ['where an equal index exists', 'postgres', {}, indexOn('items', 'id'), 'equal-index'],
  ] as const)('%s', async (_name, role, options, definition, reason) => {
    const builds = start(as(role), options as BuildOptions);
    expect(await builds.request(definition)).toMatchObject([{ reason, detail: expect.any(String) }]);
    expect((await builds.builds.list()).length).toBe(0);
    expect(await indexes()).toBe(0);
  });

  it('while an old transaction or a prepared one is open', async () => {
    const builds = start(url, { maxTransactionAge: 0 });
    const client = await open('UPDATE items SET kind = 1 WHERE id = 1');
    expect(await builds.request(kind)).toMatchObject([{ reason: 'old-transaction' }]);
    await client.query(`PREPARE TRANSACTION 'one'`);
    expect(await builds.request(kind)).toMatchObject([{ reason: 'prepared-transaction' }]);
    await client.query(`ROLLBACK PREPARED 'one'`);
    expect(await indexes()).toBe(0);
  });

  it('not while VACUUM works on another table, for which no build waits', async () => {
    await admin.query('CREATE TABLE swept AS SELECT generate_series(1, 20000) AS id');
    const client = new pg.Client(url);
    await client.connect();
    closing.push(() => client.end());
    await client.query('SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1');
    const vacuum = client.query('VACUUM swept').catch((error: unknown) => error);
    const isRunning = async () =>
      (await admin.query('SELECT pid FROM pg_stat_progress_vacuum WHERE pid <> pg_backend_pid()')).rows[0];
    await waitFor(isRunning);
    const builds = start(url, { maxTransactionAge: 0 });
    expect(await builds.request(kind)).toEqual([]);
    await builds.until(kind, ({ state }) => state === 'built');
    expect(await isRunning()).toBeDefined();
    await admin.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_progress_vacuum`);
    await vacuum;
    await admin.query(`DROP INDEX "${indexNameOf(kind)}"; DROP TABLE swept`);
  });

  it('where another object has the name', async () => {
    const definition = indexOn('items', 'name');
    await admin.query(`CREATE TABLE "${indexNameOf(definition)}" (id int)`);
    expect(await start(url).request(definition)).toMatchObject([{ reason: 'name-taken' }]);
    await admin.query(
      `DROP TABLE "${indexNameOf(definition)}"; CREATE INDEX "${indexNameOf(definition)}" ON owned (id)`,
    );
    expect(await start(url).request(definition)).toMatchObject([{ reason: 'name-taken' }]);
    await admin.query(`DROP INDEX "${indexNameOf(definition)}"`);
  });

  it('through PgBouncer in transaction mode', async () => {
    const bouncer = await startPgBouncer(url);
    closing.push(() => bouncer.close());
    const builds = start(bouncer.url);
    expect(await builds.request(kind)).toMatchObject([{ reason: 'pooler' }]);
    const byId = builds.builds.requestIds(['0123456789abcdef'], () => Promise.reject(new Error('no advice')));
    expect(await byId).toMatchObject([{ reason: 'pooler' }]);
    // The look for leftovers takes no lock, which the pooler would keep.
    const pool = new pg.Pool({ connectionString: bouncer.url });
    const parts = { sessions: new Sessions(pool as never, undefined), signal: new AbortController().signal };
    const turn = withTurn(
      parts,
      'clean-up',
      () => true,
      () => Promise.resolve(),
    );
    await expect(turn).rejects.toMatchObject({ reason: 'pooler' });
    await pool.end();
    expect((await admin.query(`SELECT FROM pg_locks WHERE locktype = 'advisory'`)).rowCount).toBe(0);
    expect(await indexes()).toBe(0);
  });
});

describe('a process that is killed during a build', () => {
  it('leaves the build to the server, whose state other instances report', async () => {
    const blocker = await open('UPDATE items SET kind = 1 WHERE id = 1');
    const child = await startChild('building', { DATABASE_URL: url });
    child.process.kill('SIGKILL');
    await child.exited;
    const other = start(url);
    expect(await other.request(kind)).toEqual([]);
    expect(await other.state(kind)).toMatchObject({
      state: 'building',
      blocker: { pid: expect.any(Number) },
    });
    await blocker.query('COMMIT');
    await other.until(kind, ({ state }) => state === 'built');
    await admin.query(`DROP INDEX "${indexNameOf(kind)}"`);
  });

  it('leaves no invalid index, even if the server ends the build', async () => {
    const blocker = await open('UPDATE items SET kind = 1 WHERE id = 1');
    const child = await startChild('building', { DATABASE_URL: url });
    child.process.kill('SIGKILL');
    await child.exited;
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index');
    const next = start(url);
    await next.until(kind, ({ state, cleanup }) => state === 'failed' && cleanup === 'pending');
    await blocker.query('COMMIT');
    await waitFor(async () => (await indexes()) === 0);
    expect(await next.state(kind)).toMatchObject({ state: 'absent' });
  });
});

it('an embedded PostgreSQL gets an index of a trial', async () => {
  // To optimise its WebAssembly would take a third of the CPU time of this file.
  setFlagsFromString('--liftoff-only');
  const db = await PGlite.create('memory://').finally(() => setFlagsFromString('--no-liftoff-only'));
  const socket = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0, maxConnections: 8 });
  await socket.start();
  closing.push(async () => {
    await socket.stop();
    await db.close();
  });
  await db.exec('CREATE TABLE items (id int, kind int)');
  const address = `postgres://postgres@127.0.0.1:${socket.getServerConn().split(':').at(-1)}/postgres`;
  const builds = start(address);
  expect(await builds.request(kind, 'estimated')).toMatchObject([{ reason: 'level' }]);
  expect(await builds.request(kind, 'trial')).toEqual([]);
  // All connections share one session, so no other statement runs meanwhile.
  await waitFor(async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { rows } = await db.query(`SELECT 1 FROM pg_indexes WHERE indexname = '${indexNameOf(kind)}'`);
    return rows.length > 0;
  });
  const built = await builds.until(kind, ({ state }) => state === 'built' || state === 'failed');
  expect(built).toMatchObject({ state: 'built', index: indexNameOf(kind) });
  await builds.close();
  // Statements that the first report has prepared are still there for the second.
  const pool = monitorPool(new pg.Pool({ connectionString: address, max: 1 }));
  closing.push(() => pool.end());
  const advised = postgres(pool);
  closing.push(() => advised.close());
  await pool.query('SELECT * FROM items WHERE id = 1');
  for (const _ of [1, 2]) expect((await advised.indexes()).plannedStatements).toBe(1);
  expect((await db.query('SELECT name FROM pg_prepared_statements')).rows).toEqual([]);
});
