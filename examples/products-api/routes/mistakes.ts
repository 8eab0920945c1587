import { Router } from 'express';
import type { Database } from '../database.js';

const CUSTOMERS = 25;

/** Two routes with a mistake each, for the monitor of the database to find. No cache hides them. */
export function mistakeRoutes(db: Database): Router {
  const router = Router();

  // N+1: one query for the customers, and then one for each of them. A join would need one in all.
  router.get('/customers/last-orders', async (_req, res) => {
    const customers = await db.query<{ id: number; name: string }>(
      'SELECT id, name FROM hotpath_shop.customers ORDER BY id LIMIT $1',
      [CUSTOMERS],
    );
    const items = [];
    for (const { id, name } of customers) {
      const [order] = await db.query(
        `SELECT id, status, placed_at AS "placedAt" FROM hotpath_shop.orders
         WHERE customer_id = $1 ORDER BY placed_at DESC, id DESC LIMIT 1`,
        [id],
      );
      items.push({ name, order });
    }
    res.json({ items });
  });

  // Without an index on the price, PostgreSQL reads every item that was ever sold, and keeps twenty.
  router.get('/sales/highest', async (_req, res) => {
    const items = await db.query(
      `SELECT i.order_id AS "order", p.name, i.quantity, i.unit_price_cents AS "priceCents"
       FROM hotpath_shop.order_items i JOIN hotpath_shop.products p ON p.id = i.product_id
       WHERE i.unit_price_cents >= $1
       ORDER BY i.unit_price_cents DESC LIMIT 20`,
      [49_000],
    );
    res.json({ items });
  });

  return router;
}
