import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type pg from 'pg';
import { type AppOptions, createApp, type ShopApp } from '../../examples/products-api/app.js';
import { countedDatabase, type Database, openDatabase } from '../../examples/products-api/database.js';
import { seedDatabase } from '../../examples/products-api/seed.js';
import { startPostgres, type TestPostgres } from '../helpers/postgres.js';

/** The example's API on a free port. */
export interface ServedShop {
  url: string;
  app: ShopApp;
  stop(): Promise<void>;
}

/** The same on a private PostgreSQL, with fewer rows than the default of the example. */
export interface TestShop extends ServedShop {
  postgres: TestPostgres;
  db: Database;
  /** The text of every statement sent so far. */
  statements: string[];
}

export const SIZES = { products: 2_000, orderItems: 20_000 };

export async function serveShop(options: AppOptions): Promise<ServedShop> {
  const app = await createApp(options);
  const server = createServer(app.listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async () => {
    server.close();
    server.closeAllConnections();
    await app.database?.close();
    await app.jobs.close();
    await app.perf.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, app, stop };
}

/** @param options of the app, beside its database. */
export async function startTestShop(options: Omit<AppOptions, 'db' | 'pool'> = {}): Promise<TestShop> {
  const postgres = await startPostgres();
  const database = await openDatabase({ url: await postgres.createDatabase('shop') });
  await seedDatabase(database.pool, SIZES);
  const statements: string[] = [];
  const counted = countedDatabase(database.pool);
  const db: Database = {
    query(text, values) {
      statements.push(text);
      return counted.query(text, values);
    },
  };
  const served = await serveShop({ ...options, db, pool: database.pool });
  const stop = async () => {
    await served.stop();
    await database.close();
    await postgres.stop();
  };
  return { ...served, postgres, db, statements, stop };
}

export function sendJson(method: string, url: string, body: unknown): Promise<Response> {
  return fetch(url, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}

const TABLES = {
  categories: 'id, slug, name',
  products: 'id, category_id, name, description, price_cents, stock, created_at, updated_at',
  customers: 'id, name, email',
  orders: 'id, customer_id, status, placed_at',
  order_items: 'order_id, line, product_id, quantity, unit_price_cents',
};

/** A checksum of the rows of each table, the same for the same rows. */
export async function rowChecksums(pool: pg.Pool): Promise<Record<string, string>> {
  const client = await pool.connect();
  try {
    // Only until the end: the clients of an embedded PostgreSQL share a session.
    await client.query(`BEGIN; SET LOCAL TIME ZONE 'UTC'`);
    const sums: Record<string, string> = {};
    for (const [table, columns] of Object.entries(TABLES)) {
      const { rows } = await client.query(
        `SELECT md5(string_agg(row(${columns})::text, '|' ORDER BY ${columns})) AS sum FROM hotpath_shop.${table}`,
      );
      sums[table] = rows[0].sum;
    }
    await client.query('COMMIT');
    return sums;
  } finally {
    client.release();
  }
}
