import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { partNameOf } from '../../../src/postgres/builds/names.js';
import type { BuildOptions } from '../../../src/postgres/builds/types.js';
import { type IndexDefinition, idOf, indexNameOf } from '../../../src/postgres/indexes/definition.js';
import { waitFor } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';
import { indexOn, openBuilds, startWriter, type Writer } from './builds-helper.js';

const LONGEST_WRITE_MS = 1000;

let server: TestPostgres;
let url: string;
let admin: pg.Client;
beforeAll(async () => {
  server = await startPostgres({ max_prepared_transactions: '10', autovacuum: 'off' });
  url = await server.createDatabase('builds');
  admin = await connect();
  await admin.query(`
    CREATE TABLE other (id int);
    CREATE TABLE items (id int PRIMARY KEY, name text, kind int);
    INSERT INTO items SELECT n, 'item ' || n, n % 100 FROM generate_series(1, 20000) n`);
});
afterAll(async () => {
  await admin?.end();
  await server?.stop();
});

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  const { rows } = await admin.query('SELECT gid FROM pg_prepared_xacts');
  for (const { gid } of rows) await admin.query(`ROLLBACK PREPARED '${gid}'`);
  for (const close of closing.splice(0).reverse()) await close();
  await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()`);
  for (const name of await indexes('^hotpath_', 'NOT relispartition'))
    await admin.query(`DROP INDEX IF EXISTS "${name}"`);
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client(url);
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** A transaction that stays open. */
async function open(...statements: string[]): Promise<pg.Client> {
  const client = await connect();
  closing.push(() => client.end());
  await client.query('BEGIN');
  for (const statement of statements) await client.query(statement);
  return client;
}

function start(options: BuildOptions = {}) {
  const builds = openBuilds(url, options);
  closing.push(() => builds.close());
  return builds;
}

async function write(sql = 'UPDATE items SET name = name WHERE id = 5'): Promise<Writer> {
  const writer = await startWriter(url, sql);
  let result: Promise<number> | undefined;
  const stop = () => (result ??= writer.stop());
  closing.push(stop);
  return { stop };
}

async function indexes(pattern: string, condition = 'true'): Promise<string[]> {
  const { rows } = await admin.query(
    `SELECT relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relname ~ $1 AND ${condition} ORDER BY 1`,
    [pattern],
  );
  return rows.map(({ relname }) => relname as string);
}
const invalid = () => indexes('.', 'NOT indisvalid');
const kind = indexOn('items', 'kind');
const WRITE = 'UPDATE items SET kind = 1 WHERE id = 1';

describe('a build', () => {
  it('makes a valid index with its provenance, and reports it to every instance', async () => {
    const events: unknown[] = [];
    const listen = (message: unknown) => events.push(message);
    subscribe('hotpath:index-build', listen);
    closing.push(async () => unsubscribe('hotpath:index-build', listen));
    const builds = start();
    const writer = await write();
    expect(await builds.state(kind)).toMatchObject({ id: idOf(kind), state: 'absent', index: null });
    expect(await builds.request(kind)).toEqual([]);
    const built = await builds.until(kind, ({ state }) => state === 'built');
    expect(built).toMatchObject({
      index: indexNameOf(kind),
      table: 'public.items',
      cleanup: 'none',
      reason: null,
    });
    expect(built.bytes).toBeGreaterThan(0);
    expect(await writer.stop()).toBeLessThan(LONGEST_WRITE_MS);
    const others = await start({ apply: false }).builds.list();
    expect(others).toEqual([{ ...built, attempts: null, seconds: expect.any(Number) }]);
    const { rows } = await admin.query(`SELECT obj_description('${indexNameOf(kind)}'::regclass) AS text`);
    expect(rows[0].text).toMatch(/^hotpath \{"id":"[0-9a-f]{16}","level":"verified","at":".*","seconds":/);
    expect(events).toMatchObject([
      {
        id: idOf(kind),
        state: 'started',
        ddl: expect.stringContaining('CREATE INDEX CONCURRENTLY "hotpath_'),
      },
      { id: idOf(kind), state: 'built', cleanup: 'none', seconds: expect.any(Number) },
    ]);
    // Again: nothing happens.
    expect(await builds.request(kind)).toEqual([]);
    expect(events).toHaveLength(2);
  });

  it('waits for an open writer, names it, and is completed once it ends [J10, J11]', async () => {
    const blocker = await open(WRITE);
    const { rows } = await blocker.query('SELECT pg_backend_pid() AS pid');
    const builds = start({ lockTimeout: '3s' });
    const writer = await write();
    await builds.request(kind);
    const blocked = await builds.until(kind, (build) => build.blocker && build.phase);
    expect(blocked).toMatchObject({
      state: 'building',
      phase: 'waiting for writers before build',
      blocker: { pid: rows[0].pid, state: 'idle in transaction', seconds: expect.any(Number) },
    });
    // The first attempt is given up; its leftover cannot be dropped before the writer ends.
    const waiting = await builds.until(kind, ({ state, reason }) => state === 'waiting' && reason);
    expect(waiting).toMatchObject({ reason: 'lock-timeout', sqlstate: '55P03', cleanup: 'pending' });
    expect(await invalid()).toEqual([indexNameOf(kind)]);
    await blocker.query('COMMIT');
    await builds.until(kind, ({ state }) => state === 'built');
    expect(await invalid()).toEqual([]);
    expect(await writer.stop()).toBeLessThan(LONGEST_WRITE_MS);
  });

  it('that has failed drops its index as soon as the writer ends [J09, J11]', async () => {
    const blocker = await open(WRITE);
    const builds = start({ retryFor: 0 });
    await builds.request(kind);
    const failed = await builds.until(kind, ({ state }) => state === 'failed');
    expect(failed).toMatchObject({ reason: 'lock-timeout', cleanup: 'pending', attempts: 1 });
    expect(failed.blocker?.state).toBe('idle in transaction');
    await blocker.query('COMMIT');
    await builds.until(kind, ({ cleanup }) => cleanup === 'done');
    expect(await indexes('^hotpath_')).toEqual([]);
  });

  it('drops its index at once where a snapshot of another table stops it', async () => {
    await open('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM other');
    const builds = start({ retryFor: 0 });
    const writer = await write();
    await builds.request(kind);
    const failed = await builds.until(kind, ({ state }) => state === 'failed');
    expect(failed).toMatchObject({ reason: 'lock-timeout', cleanup: 'done' });
    expect(await indexes('^hotpath_')).toEqual([]);
    expect(await writer.stop()).toBeLessThan(LONGEST_WRITE_MS);
  });

  it('begins no further attempt while the snapshot is open that stopped the first', async () => {
    const reader = await open(
      'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
      'SELECT count(*) FROM other',
    );
    const builds = start();
    await builds.request(kind);
    await builds.until(kind, ({ attempts }) => attempts! >= 3);
    expect(await indexes('^hotpath_')).toEqual([]);
    await reader.query('COMMIT');
    await builds.until(kind, ({ state }) => state === 'built');
  });

  it('waits for a prepared transaction, and is completed once it ends', async () => {
    const client = await open(WRITE, `PREPARE TRANSACTION 'two'`);
    const builds = start({ lockTimeout: '3s' });
    const writer = await write();
    await builds.request(kind);
    const blocked = await builds.until(kind, ({ blocker }) => blocker?.state === 'prepared');
    expect(blocked).toMatchObject({ state: 'building', blocker: { pid: null } });
    await builds.until(kind, ({ state, cleanup }) => state === 'waiting' && cleanup === 'pending');
    await client.query(`COMMIT PREPARED 'two'`);
    await builds.until(kind, ({ state }) => state === 'built');
    expect(await invalid()).toEqual([]);
    expect(await writer.stop()).toBeLessThan(LONGEST_WRITE_MS);
  });

  it('whose backend is killed is not tried again, and leaves nothing', async () => {
    const blocker = await open(WRITE);
    const builds = start({ lockTimeout: '1m' });
    await builds.request(kind);
    await builds.until(kind, ({ phase }) => phase);
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index`);
    const failed = await builds.until(kind, ({ state }) => state === 'failed');
    expect(failed).toMatchObject({ reason: 'backend-terminated', cleanup: 'pending', attempts: 1 });
    await blocker.query('COMMIT');
    await builds.until(kind, ({ cleanup }) => cleanup === 'done');
    expect(await indexes('^hotpath_')).toEqual([]);
  });

  it('that an operator cancels is not tried again [J11]', async () => {
    await open(WRITE);
    const builds = start({ lockTimeout: '1m' });
    await builds.request(kind);
    await builds.until(kind, ({ phase }) => phase);
    await admin.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index`);
    const failed = await builds.until(kind, ({ state }) => state === 'failed');
    expect(failed).toMatchObject({ reason: 'cancelled', sqlstate: '57014', attempts: 1 });
  });

  it('yields to ALTER TABLE, so that writers do not queue behind that', async () => {
    const blocker = await open(WRITE);
    const builds = start({ lockTimeout: '1m' });
    await builds.request(kind);
    await builds.until(kind, ({ phase }) => phase);
    await blocker.query('SELECT 1');
    const altering = (await connect()).query('ALTER TABLE items ADD COLUMN extra int');
    await builds.until(kind, ({ reason }) => reason === 'yielded');
    await blocker.query('COMMIT');
    await altering;
    await builds.until(kind, ({ state }) => state === 'built');
    await admin.query('ALTER TABLE items DROP COLUMN extra');
  });

  it('lets a transaction that it waits for lock the table: no deadlock ends that', async () => {
    const blocker = await open(WRITE);
    const builds = start({ lockTimeout: '1m' });
    await builds.request(kind);
    await builds.until(kind, ({ phase }) => phase);
    await blocker.query('LOCK TABLE items IN SHARE ROW EXCLUSIVE MODE');
    await blocker.query('COMMIT');
    await builds.until(kind, ({ state }) => state === 'built');
  });

  it('reports an error of the rows with its code, and leaves nothing [J09]', async () => {
    const broken = indexOn('items', 'kind', { keys: [{ expression: '1 / (kind - kind)' }] });
    const builds = start();
    await builds.request(broken);
    const failed = await builds.until(broken, ({ state }) => state === 'failed');
    expect(failed).toMatchObject({ reason: 'error', sqlstate: '22012', cleanup: 'done', attempts: 1 });
    expect(await invalid()).toEqual([]);
  });

  it('gives two long names with the same beginning two indexes of 63 bytes [J08]', async () => {
    const long = 'ä'.repeat(30);
    await admin.query(`CREATE TABLE "${long}" ("${long}1" int, "${long}2" int)`);
    const builds = start();
    const definitions = [1, 2].map((n) => indexOn(long, `${long}${n}`));
    for (const definition of definitions) {
      await builds.request(definition);
      const { index } = await builds.until(definition, ({ state }) => state === 'built');
      expect(Buffer.byteLength(index!)).toBeLessThanOrEqual(63);
    }
    expect(await indexes('^hotpath_')).toEqual(definitions.map(indexNameOf).sort());
    await admin.query(`DROP TABLE "${long}"`);
  });

  it('happens once, however many requests and instances want it at the same time [J15]', async () => {
    const instances = [start(), start()];
    const requests = instances.flatMap((builds) => [builds.request(kind), builds.request(kind)]);
    expect(await Promise.all(requests)).toEqual([[], [], [], []]);
    for (const builds of instances) {
      const built = await builds.until(kind, ({ state }) => state === 'built');
      // `null`: it has seen the other one's build before it began its own.
      expect([1, null]).toContain(built.attempts);
      expect(built.reason).toBeNull();
    }
    expect(await indexes('^hotpath_')).toEqual([indexNameOf(kind)]);
  });

  it('is not refused for the same build, which another instance began a moment ago [J15]', async () => {
    const blocker = await open(WRITE);
    const builds = start({ lockTimeout: '1m' });
    await builds.request(kind);
    await builds.until(kind, ({ phase }) => phase);
    const refusalOf = async (definition: IndexDefinition) =>
      (await builds.refuse({ definition, level: 'verified' })).refusal?.reason;
    expect(await refusalOf(kind)).toBeUndefined();
    expect(await refusalOf(indexOn('items', 'name'))).toBe('other-build');
    await blocker.query('COMMIT');
    await builds.until(kind, ({ state }) => state === 'built');
  });

  it('runs alone in its database', async () => {
    const blocker = await open(WRITE);
    const instances = [start({ lockTimeout: '1m' }), start({ lockTimeout: '1m' })];
    const name = indexOn('other', 'id');
    await instances[0]!.request(kind);
    await instances[0]!.until(kind, ({ phase }) => phase);
    await instances[1]!.request(name);
    await instances[1]!.until(name, ({ attempts }) => attempts === 1);
    expect((await instances[0]!.state(name)).state).toBe('waiting');
    expect(await indexes('^hotpath_')).toEqual([indexNameOf(kind)]);
    await blocker.query('COMMIT');
    await instances[1]!.until(name, ({ state }) => state === 'built');
  });
});

describe('leftovers', () => {
  it('of a process that has gone are found and dropped; others stay', async () => {
    const blocker = await open(WRITE);
    const first = start({ retryFor: 0 });
    await first.request(kind);
    await first.until(kind, ({ state }) => state === 'failed');
    await first.close();
    // A foreign invalid index.
    const foreign = (await connect()).query('CREATE INDEX CONCURRENTLY foreign_index ON items (name)');
    foreign.catch(() => {});
    await waitFor(async () => (await indexes('foreign_index')).length > 0);
    await admin.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index`);
    await foreign.catch(() => {});
    expect(await invalid()).toEqual(['foreign_index', indexNameOf(kind)]);
    const next = start();
    expect(await next.state(kind)).toMatchObject({ state: 'failed', cleanup: 'pending', reason: 'invalid' });
    await blocker.query('COMMIT');
    await waitFor(async () => (await invalid()).length === 1);
    expect(await invalid()).toEqual(['foreign_index']);
    expect(await next.state(kind)).toMatchObject({ state: 'absent', cleanup: 'none' });
    await admin.query('DROP INDEX foreign_index');
  });

  it('are found among any number of indexes', async () => {
    await admin.query(`CREATE TABLE many (id int);
      DO $$ BEGIN FOR n IN 1..1100 LOOP
        EXECUTE format('CREATE INDEX hotpath_many_%s ON many (id)', lpad(to_hex(n), 8, '0'));
      END LOOP; END $$;
      UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'hotpath_many_0000044c'::regclass`);
    start();
    await waitFor(async () => (await invalid()).length === 0);
    expect(await indexes('^hotpath_many')).toHaveLength(1099);
    await admin.query('DROP TABLE many');
  });

  it('are no builds that still run, also those of people', async () => {
    const blocker = await open(WRITE);
    const name = indexNameOf(kind);
    const byHand = (await connect()).query(`CREATE INDEX CONCURRENTLY "${name}" ON items (kind)`);
    await waitFor(async () => (await invalid()).length > 0);
    const builds = start();
    expect(await builds.request(kind)).toMatchObject([{ reason: 'other-build' }]);
    // The instance looks for leftovers at its start, and again after a second.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await blocker.query('COMMIT');
    await byHand;
    expect(await indexes('^hotpath_', 'indisvalid')).toEqual([name]);
    expect((await builds.state(kind)).state).toBe('built');
  });
});

describe('a partitioned table', () => {
  const at = indexOn('parts', 'at');
  beforeAll(async () => {
    await admin.query(`
      CREATE TABLE parts (id int, at date) PARTITION BY RANGE (id);
      CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
      CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (3000) PARTITION BY RANGE (id);
      CREATE TABLE parts_3 PARTITION OF parts_2 FOR VALUES FROM (1000) TO (2000);
      INSERT INTO parts SELECT n, now() FROM generate_series(0, 1999) n`);
  });

  it('gets its index in steps, and no writer waits for more than a second', async () => {
    const blocker = await open('UPDATE parts SET at = now() WHERE id = 1');
    const builds = start({ lockTimeout: '1m' });
    const writer = await write('UPDATE parts SET at = now() WHERE id = 5');
    await builds.request(at);
    await builds.until(at, ({ state }) => state === 'building');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await blocker.query('COMMIT');
    const built = await builds.until(at, ({ state }) => state === 'built');
    expect(built).toMatchObject({ table: 'public.parts', partitions: { done: 2, total: 2 } });
    expect(await invalid()).toEqual([]);
    expect(await indexes('^hotpath_')).toHaveLength(4);
    expect(await writer.stop()).toBeLessThan(LONGEST_WRITE_MS);
  });

  it('loses all parts of a build that has failed in the middle', async () => {
    const blocker = await open('UPDATE parts_3 SET at = now() WHERE id = 1500');
    const builds = start({ retryFor: 0 });
    await builds.request(at);
    const failed = await builds.until(at, ({ state }) => state === 'failed');
    expect(failed).toMatchObject({ cleanup: 'pending', reason: 'lock-timeout' });
    await blocker.query('COMMIT');
    await builds.until(at, ({ cleanup }) => cleanup === 'done');
    expect(await indexes('^hotpath_')).toEqual([]);
  });

  it('is not clean while the part of a table that has partitions itself is left', async () => {
    const name = partNameOf(at, { schema: 'public', name: 'parts_2' });
    await admin.query(`CREATE INDEX "${name}" ON ONLY parts_2 (at)`);
    const reader = await open('SELECT FROM ONLY parts_2');
    const builds = start();
    expect(await builds.state(at)).toMatchObject({ state: 'failed', cleanup: 'pending' });
    await reader.query('COMMIT');
    await builds.until(at, ({ cleanup }) => cleanup === 'none');
    expect(await indexes('^hotpath_')).toEqual([]);
  });

  it('keeps the index of a partition that is detached, and counts those that are added', async () => {
    const builds = start();
    await builds.request(at);
    await builds.until(at, ({ state }) => state === 'built');
    await admin.query(`ALTER TABLE parts DETACH PARTITION parts_1;
      CREATE TABLE parts_4 PARTITION OF parts FOR VALUES FROM (3000) TO (4000);
      CREATE TABLE parts_5 PARTITION OF parts FOR VALUES FROM (4000) TO (5000)`);
    const kept = await indexes('^hotpath_', `indrelid = 'parts_1'::regclass`);
    expect(kept).toHaveLength(1);
    const broken = `hotpath_broken_0123abcd`;
    await admin.query(
      `CREATE INDEX ${broken} ON other (id); UPDATE pg_index SET indisvalid = false WHERE indexrelid = '${broken}'::regclass`,
    );
    start();
    await waitFor(async () => (await indexes(`^${broken}$`)).length === 0);
    expect(await indexes('^hotpath_', `indrelid = 'parts_1'::regclass`)).toEqual(kept);
    expect(await builds.state(at)).toMatchObject({ state: 'built', partitions: { done: 3, total: 3 } });
    // The detached one is no leftover.
    await admin.query(`DROP INDEX "${indexNameOf(at)}"`);
    expect(await builds.state(at)).toMatchObject({ state: 'absent', cleanup: 'none' });
    await admin.query(`DROP TABLE parts_4, parts_5; DROP INDEX ${kept[0]};
      ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES FROM (0) TO (1000)`);
  });

  it('whose leftover is dropped makes no writer wait for transactions on each partition in turn', async () => {
    const name = indexNameOf(at);
    await admin.query(`CREATE TABLE wide (id int, at date) PARTITION BY RANGE (id);
      CREATE INDEX "${name}" ON ONLY wide (at)`);
    for (let n = 0; n < 6; n++) {
      await admin.query(`CREATE TABLE wide_${n} PARTITION OF wide FOR VALUES FROM (${n}) TO (${n + 1});
        INSERT INTO wide VALUES (${n}, now())`);
    }
    await admin.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"${name}"'::regclass`);
    const holders: Writer[] = [];
    // Each keeps its partition locked, most of the time.
    for (let n = 0; n < 6; n++)
      holders.push(await write(`BEGIN; UPDATE wide_${n} SET at = at; SELECT pg_sleep(0.4); COMMIT`));
    const writer = await write('UPDATE wide SET at = at WHERE id = 7');
    start();
    const looks = new Set<number>();
    await waitFor(async () => {
      const { rows } = await admin.query(
        `SELECT pid FROM pg_stat_activity WHERE application_name = 'hotpath clean-up'`,
      );
      for (const { pid } of rows) looks.add(pid);
      return looks.size >= 3 || (await invalid()).length === 0;
    });
    for (const holder of holders) await holder.stop();
    await waitFor(async () => (await invalid()).length === 0);
    expect(await writer.stop()).toBeLessThan(LONGEST_WRITE_MS);
    await admin.query('DROP TABLE wide');
  });

  it('is completed when a partition is added in the middle', async () => {
    const blocker = await open('UPDATE parts_3 SET at = now() WHERE id = 1500');
    const builds = start({ lockTimeout: '1m' });
    await builds.request(at);
    await builds.until(at, ({ phase }) => phase === 'waiting for writers before build');
    await admin.query(`CREATE TABLE parts_6 (LIKE parts);
      ALTER TABLE parts ATTACH PARTITION parts_6 FOR VALUES FROM (5000) TO (6000)`);
    await blocker.query('COMMIT');
    await builds.until(at, ({ state }) => state === 'built');
    expect(await invalid()).toEqual([]);
  });
});

it('lists no build of a session that has only its name', async () => {
  const fake = await connect();
  closing.push(() => fake.end());
  await fake.query(`SET application_name = 'hotpath build <script>'`);
  expect(await start().builds.list()).toEqual([]);
});
