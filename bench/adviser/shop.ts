import { readFile } from 'node:fs/promises';
import type pg from 'pg';
import { type SeedSizes, seedDatabase } from '../../examples/products-api/seed.js';

/** Fills a database with the shop and a table of reviews. An existing shop of the same size is kept. */
export async function fillShop(pool: pg.Pool, sizes: SeedSizes & { reviews: number }): Promise<void> {
  const { reviews, ...shop } = sizes;
  const isNew = await seedDatabase(pool, shop);
  if (!isNew) return;
  const text = await readFile(new URL('./reviews.sql', import.meta.url), 'utf8');
  await pool.query(text.replaceAll('$reviews', String(reviews)));
  await pool.query('CREATE EXTENSION IF NOT EXISTS pg_trgm');
}
