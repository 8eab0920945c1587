import { PrismaPg } from '@prisma/adapter-pg';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import { eq } from 'drizzle-orm/sql';
import type { RequestHandler } from 'express';
import { hotpath } from 'hotpath';
import { type MonitorablePool, monitorOf, monitorPool } from 'hotpath/postgres';
import createKnex from 'knex';
import pg from 'pg';
import { DataSource, EntitySchema } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { express5, listen, waitFor } from '../helpers/http.js';
import { startPostgres, type TestPostgres } from '../helpers/postgres.js';

/** Queries of one request: more than the limit for N+1. */
const REPEATED = 12;

interface Item {
  id: number;
  name: string;
}

/** A library on `pg`: the pool to monitor, and how it finds an item. */
interface Library {
  readonly pool: MonitorablePool;
  readonly isBuilder?: true;
  find(id: number): Promise<unknown>;
  close(): Promise<void>;
}

let server: TestPostgres;
let url: string;
beforeAll(async () => {
  server = await startPostgres();
  url = await server.createDatabase('orm');
  const client = new pg.Client(url);
  await client.connect();
  await client.query(
    `CREATE TABLE items AS SELECT n AS id, 'item ' || n AS name FROM generate_series(1, 100) n`,
  );
  await client.query('ALTER TABLE items ADD PRIMARY KEY (id)');
  await client.end();
});
afterAll(() => server?.stop());

const openPool = () => new pg.Pool({ connectionString: url, max: 2 });

const libraries: Readonly<Record<string, () => Promise<Library>>> = {
  async Knex() {
    const pool = openPool();
    const knex = createKnex({ client: 'pg', connectionPool: pool } as object);
    return {
      pool,
      isBuilder: true,
      find: (id) => knex<Item>('items').where({ id }).first('id', 'name'),
      close: async () => {
        await knex.destroy();
        await pool.end();
      },
    };
  },

  async Drizzle() {
    const pool = openPool();
    const items = pgTable('items', { id: integer().primaryKey(), name: text().notNull() });
    const db = drizzle(pool);
    return {
      pool,
      isBuilder: true,
      find: async (id) => (await db.select().from(items).where(eq(items.id, id)))[0],
      close: () => pool.end(),
    };
  },

  async TypeORM() {
    const entity = new EntitySchema<Item>({
      name: 'items',
      columns: { id: { type: Number, primary: true }, name: { type: String } },
    });
    const source = await new DataSource({ type: 'postgres', url, entities: [entity] }).initialize();
    const { master } = source.driver as unknown as { master: MonitorablePool };
    const repository = source.getRepository(entity);
    return { pool: master, find: (id) => repository.findOneBy({ id }), close: () => source.destroy() };
  },

  async "Prisma's adapter-pg"() {
    const pool = openPool();
    const adapter = await new PrismaPg(pool).connect();
    return {
      pool,
      async find(id) {
        const args = [id];
        const argTypes = [{ scalarType: 'int', arity: 'scalar' }] as const;
        const sql =
          'SELECT "public"."items"."id", "public"."items"."name" FROM "public"."items" WHERE "id" = $1';
        const { columnNames, rows } = await adapter.queryRaw({ sql, args, argTypes: [...argTypes] });
        return Object.fromEntries(columnNames.map((name, at) => [name, rows[0]?.[at]]));
      },
      close: async () => {
        await adapter.dispose();
        await pool.end();
      },
    };
  },
};

describe('the monitor beneath', () => {
  it.each(Object.keys(libraries))('%s counts the queries of each request, and finds N+1', async (name) => {
    const { pool, find, close, isBuilder } = await libraries[name]!();
    const perf = hotpath({ timing: { serverTiming: true }, metrics: { defaultMetrics: false } });
    // Knex asks a new server for its version.
    await find(1);
    monitorPool(pool, { perf });
    const app = express5();
    const handler: RequestHandler = async (req, res) => {
      const found: unknown[] = [];
      for (let id = 1; id <= Number(req.params.times); id++) found.push(await find(id));
      res.json({ found, queries: req.hotpath?.database?.queries });
    };
    app.use(perf);
    app.get('/items/:times', handler);
    app.get('/other/:times', handler);
    const { url: base, close: stop } = await listen(app);
    // More requests than connections: each waits for those of others.
    const paths = [`/items/${REPEATED}`, '/other/3', '/other/3', '/other/3'];
    const bodies = await Promise.all(paths.map(async (path) => (await fetch(base + path)).json()));
    for (const [at, { found, queries }] of (bodies as { found: Item[]; queries: number }[]).entries()) {
      const times = Number(paths[at]!.split('/')[2]);
      expect(queries, paths[at]!).toBe(times);
      expect(found).toEqual(Array.from({ length: times }, (_, n) => ({ id: n + 1, name: `item ${n + 1}` })));
    }
    const figures = () => monitorOf(pool)!.figures();
    await waitFor(() => figures().nPlusOne.length === 1);
    const [repeated] = figures().nPlusOne;
    expect(repeated).toMatchObject({ route: '/items/:times', queries: REPEATED });
    // Builders that are awaited run their query in a microtask of its own, without the stack of the app.
    if (!isBuilder) expect(repeated!.place).toContain('test/compat/orm.test.ts');
    await waitFor(() => perf.telemetry!.snapshot().requests.sinceStart.requests === paths.length);
    const counted = perf.telemetry!.routes().map(({ route, database }) => [route, database?.queries]);
    expect(counted.sort()).toEqual([
      ['/items/:times', REPEATED],
      ['/other/:times', 9],
    ]);
    await stop();
    await perf.close();
    await close();
  });
});
