import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type RequestHandler, Router } from 'express';
import { authenticate, userOf } from '../auth.js';
import type { Database } from '../database.js';
import { Problem } from '../problems.js';

/**
 * A customer's own orders, and the export of all. `ownAnswers` may store responses, one entry per customer.
 */
export function orderRoutes(db: Database, ownAnswers: readonly RequestHandler[]): Router {
  const router = Router();

  router.get('/me/orders', authenticate, ...ownAnswers, async (req, res) => {
    const customerId = userOf(req)?.id;
    const [customer] = await db.query('SELECT id, name FROM hotpath_shop.customers WHERE id = $1', [
      customerId,
    ]);
    if (!customer) throw new Problem(404, 'Not Found', 'There is no such customer.');
    const orders = await db.query(
      `SELECT o.id, o.status, o.placed_at AS "placedAt",
         json_agg(json_build_object('product', p.name, 'quantity', i.quantity, 'priceCents', i.unit_price_cents)
           ORDER BY i.line) AS items
       FROM (SELECT * FROM hotpath_shop.orders WHERE customer_id = $1 ORDER BY placed_at DESC, id DESC LIMIT 20) o
         JOIN hotpath_shop.order_items i ON i.order_id = o.id
         JOIN hotpath_shop.products p ON p.id = i.product_id
       GROUP BY o.id, o.status, o.placed_at
       ORDER BY o.placed_at DESC, o.id DESC`,
      [customerId],
    );
    res.json({ customer, orders });
  });

  // The export is public, so it contains the sold items and nothing about the customers.
  router.get('/orders/export.csv', async (_req, res) => {
    res.type('text/csv').attachment('orders.csv');
    try {
      await pipeline(Readable.from(csvOf(db)), res);
    } catch (error) {
      // A client that disconnects during a download is not an error.
      if (!res.destroyed) throw error;
    }
  });

  return router;
}

interface ExportedItem {
  order: number;
  line: number;
  placedAt: Date;
  status: string;
  product: string;
  quantity: number;
  priceCents: number;
}

const ITEMS_A_BATCH = 2_000;

/**
 * The whole table as CSV (RFC 4180), in batches. Neither this process nor PostgreSQL holds all of it. The
 * next batch is read when the client has received the last one, and the connection is free between batches.
 */
async function* csvOf(db: Database): AsyncGenerator<string> {
  yield 'order,line,placed_at,status,product,quantity,price_cents\r\n';
  let after: readonly [order: number, line: number] = [0, 0];
  for (;;) {
    const items = await db.query<ExportedItem>(
      `SELECT i.order_id AS "order", i.line, o.placed_at AS "placedAt", o.status, p.name AS product,
         i.quantity, i.unit_price_cents AS "priceCents"
       FROM hotpath_shop.order_items i
         JOIN hotpath_shop.orders o ON o.id = i.order_id
         JOIN hotpath_shop.products p ON p.id = i.product_id
       WHERE (i.order_id, i.line) > ($1, $2)
       ORDER BY i.order_id, i.line
       LIMIT ${ITEMS_A_BATCH}`,
      after,
    );
    const last = items.at(-1);
    if (!last) return;
    yield items.map(csvLine).join('');
    after = [last.order, last.line];
  }
}

function csvLine(item: ExportedItem): string {
  const { order, line, placedAt, status, product, quantity, priceCents } = item;
  return `${order},${line},${placedAt.toISOString()},${status},${csvText(product)},${quantity},${priceCents}\r\n`;
}

function csvText(text: string): string {
  // A spreadsheet would run a cell that begins like a formula; the apostrophe makes it text.
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${harmless.replaceAll('"', '""')}"`;
}
