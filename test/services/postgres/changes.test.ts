import { performanceApi } from 'hotpath/admin';
import { type ChangeMapping, changesMigration, postgres } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { type FollowOptions, follow, psql } from '../../helpers/followed-tables.js';
import { gate } from '../../helpers/gate.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { expectDocumented } from '../../helpers/openapi.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';

let server: TestPostgres;
let url: string;
let admin: pg.Client;
beforeAll(async () => {
  server = await startPostgres({ max_prepared_transactions: '5' });
  url = await server.createDatabase('followed');
  admin = new pg.Client(url);
  await admin.connect();
  await admin.query(`
    CREATE TABLE products (id int PRIMARY KEY, category_id int, price numeric NOT NULL DEFAULT 1);
    INSERT INTO products SELECT n, n % 10 FROM generate_series(1, 20000) n;
    CREATE SCHEMA "Other shop";
    CREATE TABLE "Other shop"."Order ""Items""" ("Id" bigint PRIMARY KEY, "the $hotpath$ \\ 'note'" text);
    CREATE TABLE readings (id bigint, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE readings_2025 PARTITION OF readings FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE readings_2026 PARTITION OF readings FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE TABLE parents (id int PRIMARY KEY);
    CREATE TABLE children (id int PRIMARY KEY, parent_id int REFERENCES parents ON DELETE CASCADE);
    CREATE TABLE fragile (id int PRIMARY KEY, gone int);
  `);
});
afterAll(async () => {
  await admin?.end();
  await server?.stop();
});

const later = closeAfterEach();
const products = {
  products: {
    columns: ['id', 'category_id'],
    tags: (row: Readonly<Record<string, unknown>>) => [`product:${row.id}`, `category:${row.category_id}`],
    all: { tag: 'products' },
  },
};
const followed = async (mapping: Parameters<typeof follow>[1] = products, options: FollowOptions = {}) =>
  later(await follow(url, mapping, options));

describe('a cache that follows tables', () => {
  it('shows a write of psql without any call of the app', async () => {
    const { perf, pool } = await followed();
    const app = express5();
    app.use(perf);
    app.get(
      '/products/:id',
      perf.cache.route({ ttl: '1h', tags: ({ params }) => [`product:${params.id}`] }),
      async (req, res) => {
        const { rows } = await pool.query('SELECT price FROM products WHERE id = $1', [req.params.id]);
        res.send(String(rows[0].price));
      },
    );
    const { url: base } = later(await listen(app));
    const get = async () => {
      const response = await fetch(`${base}/products/1`);
      return [response.headers.get('x-cache'), await response.text()];
    };
    expect([await get(), await get()]).toEqual([
      ['MISS', '1'],
      ['HIT', '1'],
    ]);
    await psql(url, 'UPDATE products SET price = 2 WHERE id = 1');
    await waitFor(async () => (await get())[1] === '2');
    expect(await get()).toEqual(['HIT', '2']);
  });

  it('purges the tags of rows before and after a change, and no others', async () => {
    const { db, fill, purged } = await followed();
    await fill('product:1', 'product:2', 'category:1', 'category:2', 'category:3', 'products');
    await admin.query('UPDATE products SET category_id = 2 WHERE id = 1');
    await db.flush();
    expect(await purged()).toEqual(['product:1', 'category:1', 'category:2']);
    await admin.query('DELETE FROM products WHERE id = 2');
    await db.flush();
    expect(await purged()).toEqual(['product:2', 'category:2']);
    await admin.query('INSERT INTO products VALUES (2, 3)');
    await db.flush();
    expect(await purged()).toEqual(['product:2', 'category:3']);
    await admin.query(
      'TRUNCATE products; INSERT INTO products SELECT n, n % 10 FROM generate_series(1, 20000) n',
    );
    await db.flush();
    expect(await purged()).toEqual(['products']);
  });

  it('purges nothing for a write that is rolled back or changes no row', async () => {
    const { db, fill, purged } = await followed();
    await fill('product:1', 'category:1', 'products');
    await admin.query('BEGIN; UPDATE products SET price = 3; TRUNCATE products; ROLLBACK');
    await admin.query('UPDATE products SET price = 3 WHERE id < 0');
    await admin.query('BEGIN; SAVEPOINT s; DELETE FROM products; ROLLBACK TO s; COMMIT');
    await db.flush();
    expect(await purged()).toEqual([]);
    expect(db.changes()).toMatchObject({ state: 'following', records: 0, purges: 0, error: null });
  });

  it('turns 10,000 changed rows into few records, whatever they are written with', async () => {
    const { db, fill, purged } = await followed();
    await fill('product:1', 'category:1', 'products');
    await admin.query('UPDATE products SET price = 4 WHERE id <= 10000');
    await db.flush();
    expect(await purged()).toEqual(['products']);
    expect(db.changes()).toMatchObject({ records: 1, purges: 1 });
    // Many statements in one transaction.
    await admin.query(
      `DO $$ BEGIN FOR n IN 1..10000 LOOP UPDATE products SET price = 5 WHERE id = n % 20 + 1; END LOOP; END $$`,
    );
    await db.flush();
    const { purges, fullPurges } = db.changes()!;
    expect(purges + fullPurges).toBeLessThan(50);
    expect(await purged()).toContain('products');
    await admin.query('UPDATE products SET price = 5 WHERE id <= 500');
    await db.flush();
    expect(await purged()).toEqual(['product:1', 'category:1']);
  });

  it('reads a transaction that commits later than newer ones, prepared ones included', async () => {
    const { db, fill, purged } = await followed();
    await fill('product:1', 'product:2', 'product:3');
    await admin.query(`BEGIN; UPDATE products SET price = 6 WHERE id = 1; PREPARE TRANSACTION 'late'`);
    const other = later(await connect());
    await other.query('BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE products SET price = 6 WHERE id = 2');
    await admin.query('UPDATE products SET price = 6 WHERE id = 3');
    await db.flush();
    expect(await purged()).toEqual(['product:3']);
    await other.query('COMMIT');
    await db.flush();
    expect(await purged()).toEqual(['product:2']);
    await admin.query(`COMMIT PREPARED 'late'`);
    await db.flush();
    expect(await purged()).toEqual(['product:1']);
  });

  it('drops a fill that has read old rows before the commit', async () => {
    const { perf, db, pool } = await followed();
    const read = gate();
    const committed = gate();
    const price = perf.cache.cached(
      async (id: number) => {
        const { rows } = await pool.query('SELECT price FROM products WHERE id = $1', [id]);
        read.open();
        await committed.opened;
        return String(rows[0].price);
      },
      { name: 'price', ttl: '1h', tags: (id) => [`product:${id}`] },
    );
    const old = price(5);
    await read.opened;
    await admin.query('UPDATE products SET price = 77 WHERE id = 5');
    await db.flush();
    committed.open();
    await old;
    expect(await price(5)).toBe('77');
  });

  it('follows COPY, ON CONFLICT, MERGE, cascades, partitions and quoted names', async () => {
    const { db, fill, purged } = await followed({
      ...products,
      '"Other shop"."Order ""Items"""': {
        columns: ['Id', "the $hotpath$ \\ 'note'"],
        tags: (row) => `item:${row.Id}:${row["the $hotpath$ \\ 'note'"]}`,
      },
      readings: { columns: ['id'], tags: ({ id }) => `reading:${id}`, all: { tag: 'readings' } },
      children: { columns: ['id', 'parent_id'], tags: ({ id }) => `child:${id}` },
    });
    const expectPurged = async (statement: string, ...tags: readonly string[]) => {
      await fill(...tags);
      await admin.query(statement);
      await db.flush();
      expect((await purged()).sort(), statement).toEqual([...tags].sort());
    };
    const insert = `INSERT INTO products VALUES (3, 3) ON CONFLICT (id) DO UPDATE SET price = 8`;
    await expectPurged(insert, 'product:3');
    await fill('product:20001');
    await psql(url, `COPY products (id, category_id) FROM PROGRAM 'echo 20001,55' (FORMAT csv)`);
    await db.flush();
    expect(await purged()).toEqual(['product:20001']);
    const { rows } = await admin.query('SHOW server_version_num');
    const hasMerge = Number(rows[0].server_version_num) >= 150_000;
    await expectPurged(
      !hasMerge
        ? 'UPDATE products SET price = 9 WHERE id = 4; INSERT INTO products VALUES (20002, 56)'
        : `MERGE INTO products p USING (VALUES (4), (20002)) v (id) ON p.id = v.id
       WHEN MATCHED THEN UPDATE SET price = 9 WHEN NOT MATCHED THEN INSERT VALUES (v.id, 56)`,
      'product:4',
      'product:20002',
    );
    await admin.query('INSERT INTO parents VALUES (1); INSERT INTO children VALUES (10, 1)');
    await expectPurged('DELETE FROM parents', 'child:10');
    await expectPurged(
      `INSERT INTO "Other shop"."Order ""Items""" VALUES (9007199254740993, 'a"b')`,
      'item:9007199254740993:a"b',
    );
    // Through the parent, in a partition, from one partition to another, and in a partition that comes later.
    await expectPurged(
      `INSERT INTO readings VALUES (1, '2025-05-05'), (2, '2026-05-05')`,
      'reading:1',
      'reading:2',
    );
    await expectPurged('UPDATE readings_2025 SET id = 3', 'reading:1', 'reading:3');
    await expectPurged(`UPDATE readings SET at = '2026-06-06' WHERE id = 3`, 'reading:3');
    await admin.query(
      `CREATE TABLE readings_2027 PARTITION OF readings FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')`,
    );
    await expectPurged(`INSERT INTO readings_2027 VALUES (4, '2027-05-05')`, 'reading:4');
    await expectPurged('TRUNCATE readings', 'readings');
  });
});

describe('the reader', () => {
  it('sees writes through a parent table, and of a table that becomes a partition', async () => {
    await admin.query(`CREATE TABLE animals (id int); CREATE TABLE cats () INHERITS (animals); INSERT INTO cats VALUES (1);
      CREATE TABLE readings_2028 (LIKE readings INCLUDING ALL)`);
    const { db, fill, purged } = await followed({
      readings_2026: { columns: ['id'], tags: ({ id }) => `reading:${id}` },
      cats: { columns: ['id'], tags: ({ id }) => `cat:${id}` },
      readings_2028: { columns: ['id'], tags: ({ id }) => `reading:${id}`, all: { tag: 'readings_2028' } },
    });
    await fill('reading:50', 'cat:1', 'cat:2');
    await admin.query(`INSERT INTO readings VALUES (50, '2026-07-07'); UPDATE animals SET id = 2`);
    await db.flush();
    expect(await purged()).toEqual(['reading:50', 'cat:1', 'cat:2']);
    await fill('readings_2028', 'reading:51');
    await admin.query(
      `ALTER TABLE readings ATTACH PARTITION readings_2028 FOR VALUES FROM ('2028-01-01') TO ('2029-01-01')`,
    );
    await waitFor(async () => (await purged()).includes('readings_2028'));
    await waitFor(() => db.changes()?.state === 'following');
    await purged();
    await admin.query(`INSERT INTO readings VALUES (51, '2028-07-07')`);
    await db.flush();
    expect(await purged()).toEqual(['reading:51']);
  });

  it('gives arrays, JSON, long numbers and NULL to `tags` as JSON has them', async () => {
    await admin.query('CREATE TABLE kinds (id bigint, list int[], doc jsonb, empty text, amount numeric)');
    const { db, fill, purged } = await followed({
      kinds: { columns: ['id', 'list', 'doc', 'empty', 'amount'], tags: (row) => JSON.stringify(row) },
    });
    await fill(
      '{"id":"9007199254740993","doc":{"a":[1,"x\\"y"]},"list":[1,null],"empty":null,"amount":"1.10"}',
    );
    await admin.query(
      `INSERT INTO kinds VALUES (9007199254740993, '{1,NULL}', '{"a": [1, "x\\"y"]}', NULL, 1.10)`,
    );
    await db.flush();
    expect(await purged()).toHaveLength(1);
  });

  it('gets the same texts of a value whatever the settings of the writer', async () => {
    await admin.query('CREATE TABLE texts (at timestamptz, bytes bytea, span interval)');
    const { db, fill, purged } = await followed({
      texts: { columns: ['at', 'bytes', 'span'], tags: (row) => JSON.stringify(row) },
    });
    await fill('{"at":"2026-01-01T00:00:00+00:00","span":"1 day 02:00:00","bytes":"\\\\x00ff"}');
    const writer = later(await connect());
    await writer.query(`SET TimeZone = 'Asia/Tokyo'; SET bytea_output = 'escape'; SET IntervalStyle = 'iso_8601';
      INSERT INTO texts VALUES ('2026-01-01 00:00Z', '\\x00ff', '1 day 2 hours')`);
    await db.flush();
    expect(await purged()).toHaveLength(1);
  });

  it('purges `all` for rows that are too long to be read, and reads on', async () => {
    await admin.query('CREATE TABLE notes (id int, text text)');
    const { db, fill, purged } = await followed({
      notes: { columns: ['id', 'text'], tags: ({ id }) => `note:${id}`, all: { tag: 'notes' } },
    });
    await fill('notes', 'note:2');
    // Compressed it is short.
    await admin.query(`INSERT INTO notes VALUES (1, repeat(E'\\n', 1000000))`);
    await db.flush();
    expect(await purged()).toEqual(['notes']);
    await admin.query(`INSERT INTO notes VALUES (2, 'short')`);
    await db.flush();
    expect(await purged()).toEqual(['note:2']);
    expect(db.changes()).toMatchObject({ state: 'following', failures: 0 });
  });

  it('removes a backlog of any size in steps, and reads no records of a restored dump', async () => {
    const { db } = await followed();
    await admin.query(`INSERT INTO hotpath.changes (source) SELECT 'none' FROM generate_series(1, 120000)`);
    // Transactions of another server may have ids that this one has not reached.
    await admin.query(`INSERT INTO hotpath.changes VALUES ('9000000000', '"public"."products"')`);
    await db.flush();
    expect(db.changes()).toMatchObject({ records: 0 });
    const left = async () => (await admin.query('SELECT FROM hotpath.changes LIMIT 1')).rowCount;
    await waitFor(async () => (await left()) === 0, 60_000);
    expect(db.changes()).toMatchObject({ state: 'following', failures: 0 });
  });
});

it('reads a stored generated column, and refuses a virtual one, which has no value in a trigger', async () => {
  const { rows } = await admin.query(`SELECT current_setting('server_version_num')::int >= 180000 AS has`);
  await admin.query(
    `CREATE TABLE doubled (id int, twice int ${rows[0].has ? 'GENERATED ALWAYS AS (id * 2) VIRTUAL' : 'GENERATED ALWAYS AS (id * 2) STORED'})`,
  );
  const starting = followed({ doubled: { columns: ['twice'], tags: ({ twice }) => `twice:${twice}` } });
  if (rows[0].has) return expect(starting).rejects.toThrow('no column twice; its triggers can read id');
  const { db, fill, purged } = await starting;
  await fill('twice:14');
  await admin.query('INSERT INTO doubled VALUES (7)');
  await db.flush();
  expect(await purged()).toEqual(['twice:14']);
});

describe('the triggers', () => {
  it('never fail a write: without rights, without a mapped column, without the outbox', async () => {
    const { db, fill, purged } = await followed({
      fragile: { columns: ['id', 'gone'], tags: ({ id }) => `f:${id}` },
    });
    await admin.query(`CREATE ROLE writer LOGIN; GRANT SELECT, INSERT, UPDATE ON fragile TO writer`);
    await fill('f:1');
    const writer = later(await connect(url.replace('postgres@', 'writer@')));
    await writer.query(`SET search_path = ''; INSERT INTO public.fragile VALUES (1, 1)`);
    await db.flush();
    expect(await purged()).toEqual(['f:1']);
    await expect(writer.query('SELECT * FROM hotpath.changes')).rejects.toThrow('permission denied');
    // Then the rows are not known, so everything is purged.
    await fill('something else');
    await admin.query('ALTER TABLE fragile DROP COLUMN gone');
    await writer.query('UPDATE public.fragile SET id = 2');
    await db.flush();
    expect(await purged()).toContain('something else');
    await admin.query('BEGIN; ALTER TABLE hotpath.changes RENAME TO away');
    await admin.query('UPDATE fragile SET id = 3');
    await admin.query('ROLLBACK');
  });

  it('are installed once by instances that start together, and again for another mapping', async () => {
    await admin.query('DROP SCHEMA hotpath CASCADE');
    const starting = Array.from({ length: 8 }, () => follow(url, products));
    for (const { stop } of await Promise.all(starting)) later({ stop });
    const functions = async () =>
      (
        await admin.query(`SELECT obj_description(oid, 'pg_proc') AS comment, xmin::text AS version FROM pg_proc
          WHERE pronamespace = 'hotpath'::regnamespace ORDER BY proname`)
      ).rows;
    const first = await functions();
    expect(first.map(({ comment }) => comment)).toEqual(['hotpath 1 ["id","category_id"]']);
    await followed();
    expect(await functions()).toEqual(first);
    // Both versions of an app get their columns while one replaces the other.
    const newer = await followed({ products: { columns: ['price'], tags: (row) => `price:${row.price}` } });
    expect((await functions()).map(({ comment }) => comment)).toEqual([
      'hotpath 1 ["id","category_id","price"]',
    ]);
    await newer.fill('price:123.40');
    await admin.query('UPDATE products SET price = 123.40 WHERE id = 7');
    await newer.db.flush();
    expect(await newer.purged()).toEqual(['price:123.40']);
    expect((await functions()).length).toBe(1);
  });

  it('are those of a migration, which may run again and which another role may run', async () => {
    await admin.query('DROP SCHEMA hotpath CASCADE; CREATE ROLE app LOGIN');
    await admin.query('GRANT SELECT ON products, readings TO app');
    const mapping: ChangeMapping = {
      ...products,
      readings: { columns: ['id'], tags: ({ id }) => `reading:${id}` },
    };
    const asApp = url.replace('postgres@', 'app@');
    await expect(follow(asApp, mapping)).rejects.toThrow('permission denied');
    const sql = changesMigration(mapping, { grantTo: 'app' });
    for (const _ of [1, 2]) await psql(url, sql);
    const { db, fill, purged } = later(await follow(asApp, mapping, { install: false }));
    await fill('product:1', 'reading:9');
    await admin.query(
      `UPDATE products SET price = 1 WHERE id = 1; INSERT INTO readings VALUES (9, '2025-01-01')`,
    );
    await db.flush();
    expect(await purged()).toEqual(['product:1', 'reading:9']);
    expect(db.changes()).toMatchObject({ state: 'following', failures: 0 });
  });

  it('come back when a table was created again, which leaves the other tables alone', async () => {
    await admin.query('CREATE TABLE remade (id int)');
    const { db, fill, purged } = await followed({ ...products, remade: { all: { tag: 'remade' } } });
    const { fullPurges } = db.changes()!;
    await fill('remade', 'product:1', 'products', 'other');
    const follows = async () => {
      await admin.query('INSERT INTO remade VALUES (2)');
      await db.flush();
      expect(await purged()).toEqual(['remade']);
    };
    const stateOf = (table: string) => db.changes()?.tables.find((each) => each.table === table)?.state;
    await admin.query('DROP TABLE remade; CREATE TABLE remade (id int); INSERT INTO remade VALUES (1)');
    await waitFor(async () => (await purged()).join() === 'remade');
    await follows();
    await admin.query('DROP TABLE remade');
    await waitFor(() => db.changes()?.state === 'incomplete');
    expect(db.changes()).toMatchObject({
      reason: 'remade: no such table, or no right to use its schema',
      failures: 0,
    });
    expect(stateOf('"public"."remade"')).toBe('missing');
    expect(await purged()).toEqual(['remade']);
    await admin.query('UPDATE products SET price = 14 WHERE id = 1');
    await db.flush();
    expect(await purged()).toEqual(['product:1']);
    // In its place something that cannot be followed, and so is purged again and again.
    await admin.query('CREATE VIEW remade AS SELECT 1');
    await waitFor(() => stateOf('"public"."remade"') === 'failed');
    await waitFor(async () => (await purged()).includes('remade'), 10_000);
    await admin.query('DROP VIEW remade; CREATE TABLE remade (id int)');
    await waitFor(() => db.changes()?.state === 'following', 20_000);
    await purged();
    await follows();
    expect(db.changes()).toMatchObject({ fullPurges, failures: 0 });
  });

  it('see writes of any partition by statement, and purge what was attached or detached', async () => {
    await admin.query(`CREATE TABLE visits (id int, region int, note text) PARTITION BY LIST (region);
      CREATE TABLE visits_1 PARTITION OF visits FOR VALUES IN (1);
      CREATE TABLE visits_2 (note text, region int, id int);
      ALTER TABLE visits ATTACH PARTITION visits_2 FOR VALUES IN (2);
      CREATE TABLE visits_3 PARTITION OF visits FOR VALUES IN (3, 4) PARTITION BY LIST (region);
      CREATE TABLE visits_4 PARTITION OF visits_3 FOR VALUES IN (4)`);
    const { db, fill, purged } = await followed({
      visits: { columns: ['id'], tags: ({ id }) => `visit:${id}`, all: { tag: 'visits' } },
    });
    const { fullPurges } = db.changes()!;
    const expectPurged = async (statement: string, tags: readonly string[], records = 1) => {
      await fill(...tags);
      const before = db.changes()!.records;
      await admin.query(statement);
      await db.flush();
      expect((await purged()).sort(), statement).toEqual([...tags].sort());
      expect(db.changes()!.records - before, statement).toBe(records);
    };
    await fill('visits');
    const three = ['visit:1', 'visit:2', 'visit:4'];
    await expectPurged(`INSERT INTO visits VALUES (1, 1), (2, 2), (4, 4)`, three);
    await expectPurged(`UPDATE visits SET note = 'a'`, three);
    await expectPurged(`UPDATE visits_2 SET note = 'b'`, ['visit:2']);
    await expectPurged(`UPDATE visits_3 SET note = 'b'`, ['visit:4']);
    await expectPurged(`UPDATE visits_4 SET note = 'b'`, ['visit:4']);
    await expectPurged(`UPDATE visits SET region = 2 WHERE id = 1`, ['visit:1']);
    await expectPurged(`DELETE FROM visits WHERE id = 1`, ['visit:1']);
    await expectPurged('TRUNCATE visits_2', ['visits']);
    // At once, by row, until it has triggers of its own.
    await admin.query('CREATE TABLE visits_5 PARTITION OF visits FOR VALUES IN (5)');
    await expectPurged('INSERT INTO visits_5 VALUES (5, 5), (6, 5)', ['visit:5', 'visit:6'], 2);
    await waitFor(async () => (await purged()).includes('visits'));
    await expectPurged(`UPDATE visits_5 SET note = 'c'`, ['visit:5', 'visit:6']);
    for (const change of ['DETACH PARTITION visits_5', 'ATTACH PARTITION visits_5 FOR VALUES IN (5)']) {
      await admin.query(`ALTER TABLE visits ${change}`);
      await waitFor(async () => (await purged()).includes('visits'));
    }
    await expectPurged(`UPDATE visits_5 SET note = 'd'`, ['visit:5', 'visit:6']);
    await admin.query('ALTER TABLE visits_5 DISABLE TRIGGER ALL');
    await waitFor(async () => (await purged()).includes('visits'));
    await expectPurged(`UPDATE visits SET note = 'e' WHERE region = 5`, ['visit:5', 'visit:6']);
    await expectPurged(`UPDATE visits_5 SET note = 'f'`, ['visit:5', 'visit:6']);
    expect(db.changes()).toMatchObject({ state: 'following', failures: 0, fullPurges });
  });

  it('record nothing when no instance has read for long, and the next one purges everything', async () => {
    const first = await follow(url, products);
    await first.stop();
    await admin.query(`SELECT setval('hotpath.heartbeat', 0); DELETE FROM hotpath.changes`);
    const writer = later(await connect());
    await writer.query('BEGIN; UPDATE products SET price = 10 WHERE id = 1');
    expect((await admin.query('SELECT FROM hotpath.changes')).rowCount).toBe(0);
    const { db, fill, purged } = await followed();
    await fill('products', 'product:1');
    // The open transaction has left no record, so its end purges everything.
    await writer.query('COMMIT');
    await db.flush();
    expect(await purged()).toContain('products');
    await admin.query('UPDATE products SET price = 11 WHERE id = 1');
    await db.flush();
    expect(await purged()).toEqual(['product:1']);
  });
});

describe('purgeOnChange', () => {
  it('names what is wrong with a mapping', async () => {
    const message = async (mapping: object, options?: object) =>
      String(
        await follow(url, mapping as never, options as never).then(
          ({ stop }) => stop(),
          (error) => error,
        ),
      );
    expect(await message({})).toContain('at least one table');
    expect(await message({ products: { tags: () => 'a' } })).toContain('needs `columns`');
    expect(await message({ products: { all: { tags: 'a' } } })).toContain('a selector');
    expect(await message({ products: {} }, { poll: '1ms' })).toContain("at least '10ms'");
    expect(await message({ nowhere: {} })).toContain('nowhere: no such table');
    expect(await message({ 'a"b': {} })).toContain('no such table');
    expect(await message({ products: { columns: ['ID'], tags: () => 'a' } })).toContain(
      'no column ID; its triggers can read id',
    );
    expect(await message({ pg_stat_activity: {} })).toContain('only tables');
    expect(await message({ parents: {} }, { install: false })).toContain('npx hotpath postgres:migration');
    const pool = new pg.Pool({ connectionString: url });
    later({ stop: () => pool.end() });
    await expect(postgres(pool).purgeOnChange(products)).rejects.toThrow('needs an instance');
    const { db } = await followed();
    await expect(db.purgeOnChange(products)).rejects.toThrow('called twice');
  });

  it('does nothing for a cache that is off', async () => {
    const { db } = await followed({ nowhere: {} }, { config: { cache: false } });
    expect(await db.flush()).toEqual({ acknowledged: true });
    expect(db.changes()).toBeUndefined();
  });

  it('reports a function `tags` that throws, and purges `all` of its table', async () => {
    const warnings: string[] = [];
    const listen = ({ message }: Error) => void warnings.push(message);
    process.on('warning', listen);
    const { db, fill, purged } = await followed({
      products: { columns: ['id'], tags: () => 7 as never, all: { tag: 'products' } },
      fragile: {
        columns: ['id'],
        tags: (async () => Promise.reject(new Error('later'))) as never,
        all: { tag: 'fragile' },
      },
    });
    await fill('products', 'fragile');
    await admin.query('UPDATE products SET price = 12 WHERE id = 1; INSERT INTO fragile VALUES (9)');
    await db.flush();
    expect(await purged()).toEqual(['products', 'fragile']);
    await waitFor(() => warnings.length > 0);
    process.off('warning', listen);
    expect(warnings.join()).toContain('purgeOnChange: tags of "public"."products" failed');
  });

  it('shows its figures as metrics, and in the performance API', async () => {
    const { perf, db } = await followed(products, { config: { metrics: { defaultMetrics: false } } });
    await admin.query('UPDATE products SET price = 13 WHERE id = 1');
    await db.flush();
    const text = await perf.metrics.registry!.metrics();
    expect(text).toContain('hotpath_db_changes_records_total 1');
    expect(text).toContain('hotpath_db_changes_purges_total 2');
    expect(text).toContain('hotpath_db_changes_following 1');
    expect(text).toContain('hotpath_db_changes_rows_total 2');
    expect(text).toContain('hotpath_db_changes_unfollowed_tables 0');
    const app = express5();
    app.use(performanceApi({ perf, postgres: db, authorize: () => true }));
    const { url: base } = later(await listen(app));
    const body = await expectDocumented(await fetch(`${base}/database`), 'GET', '/database');
    expect(body).toMatchObject({
      volatile: {
        changes: {
          state: 'following',
          tables: [{ table: '"public"."products"', state: 'following', records: 1, rows: 2, purges: 2 }],
        },
      },
    });
  });
});

async function connect(to = url): Promise<pg.Client & { stop(): Promise<void> }> {
  const client = new pg.Client(to);
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { stop: () => client.end() });
}
