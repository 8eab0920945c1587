import { readFile } from 'node:fs/promises';
import type pg from 'pg';

/** The number of rows. */
export interface SeedSizes {
  /** Default: 20,000. */
  products?: number | undefined;
  /** Default: 200,000. An order has four items, and a customer 25 orders. */
  orderItems?: number | undefined;
}

/** A step of setting up the shop. */
export interface SeedStep {
  /** The rows or indexes that are made now. */
  readonly name: string;
  readonly done: number;
  readonly of: number;
}

/** Prints a step, so that a first start does not look as if it hung. */
export function printStep({ name, done, of }: SeedStep): void {
  console.log(`filling the database: ${name} (${Math.round((done / of) * 100)} %)`);
}

/** Increased when the generated rows change, so that an older database is created again. */
const SEED_VERSION = 1;
/** A number that other programs on the same server are unlikely to lock. */
const SEED_LOCK = 4_680_937;

/**
 * Creates the tables and rows of the shop: the same rows on every run and on every PostgreSQL. An existing
 * shop of the same size is kept; one of another size is replaced.
 *
 * @param onStep called before each step, if rows are created.
 * @returns whether rows were created.
 * @throws {RangeError} if a size is not a whole number between 100 and 100,000,000.
 */
export async function seedDatabase(
  pool: pg.Pool,
  sizes: SeedSizes = {},
  onStep: (step: SeedStep) => void = () => {},
): Promise<boolean> {
  const products = checkedSize('products', sizes.products ?? 20_000);
  const orderItems = checkedSize('orderItems', sizes.orderItems ?? 200_000);
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    // If several instances start together, one creates the rows and the others find them.
    await client.query('SELECT pg_advisory_xact_lock($1)', [SEED_LOCK]);
    const present = await isSeeded(client, products, orderItems);
    if (!present) await seed(client, products, orderItems, onStep);
    await client.query('COMMIT');
    return !present;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    client.release();
  }
}

async function isSeeded(client: pg.PoolClient, products: number, orderItems: number): Promise<boolean> {
  const table = await client.query(`SELECT to_regclass('hotpath_shop.seed') IS NOT NULL AS present`);
  if (!table.rows[0].present) return false;
  const seeded = await client.query(
    'SELECT 1 FROM hotpath_shop.seed WHERE version = $1 AND products = $2 AND order_items = $3',
    [SEED_VERSION, products, orderItems],
  );
  return seeded.rows.length === 1;
}

async function seed(
  client: pg.PoolClient,
  products: number,
  orderItems: number,
  onStep: (step: SeedStep) => void,
): Promise<void> {
  // Seeding may take long; the limit still applies to queries of requests.
  await client.query('SET LOCAL statement_timeout = 0');
  await client.query('DROP SCHEMA IF EXISTS hotpath_shop CASCADE');
  await client.query(await sqlFile('schema.sql'));
  const orders = Math.ceil(orderItems / 4);
  const numbers: Record<string, number> = {
    version: SEED_VERSION,
    products,
    order_items: orderItems,
    orders,
    customers: Math.ceil(orders / 25),
  };
  const text = await sqlFile('seed.sql');
  // DDL and several statements at once take no bound parameters, so only the validated integers above are
  // inserted.
  const statements = text.replace(/\$([a-z_]+)/g, (_, name: string) => String(numbers[name])).split(/;\n/);
  let last: string | undefined;
  for (const [done, statement] of statements.entries()) {
    const name = nameStep(statement, numbers);
    if (name !== undefined && name !== last) onStep({ name, done, of: statements.length });
    last = name;
    await client.query(statement);
  }
}

/** @returns `undefined` for a statement that belongs to the step before it. */
function nameStep(statement: string, numbers: Readonly<Record<string, number>>): string | undefined {
  const [, table] = /^INSERT INTO hotpath_shop\.(\w+)/m.exec(statement) ?? [];
  const [, indexed] = /^(?:CREATE INDEX ON|ALTER TABLE) hotpath_shop\.(\w+)/m.exec(statement) ?? [];
  if (indexed) return `indexes of ${indexed.replace('_', ' ')}`;
  if (table === undefined) return undefined;
  const rows = numbers[table];
  if (rows === undefined) return undefined;
  return `${rows.toLocaleString('en')} ${table.replace('_', ' ')}`;
}

function checkedSize(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 100 && value <= 100_000_000) return value;
  throw new RangeError(`seed size "${name}" is ${value}; accepted: a whole number from 100 to 100000000`);
}

function sqlFile(name: string): Promise<string> {
  return readFile(new URL(name, import.meta.url), 'utf8');
}
