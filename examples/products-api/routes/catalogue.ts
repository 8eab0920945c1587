import { Router } from 'express';
import type { Database } from '../database.js';
import { invalid, textParameter } from '../input.js';

/** Routes over the whole catalogue: statistics by category, and search. */
export function catalogueRoutes(db: Database): Router {
  const router = Router();

  router.get('/categories/stats', async (_req, res) => {
    // Reads every order item ever sold. It is slow because of the work, not because of waiting.
    const categories = await db.query(
      `SELECT c.slug, c.name,
         count(DISTINCT p.id)::integer AS "productsSold",
         count(DISTINCT o.customer_id)::integer AS customers,
         sum(i.quantity)::integer AS "unitsSold",
         sum(i.quantity::bigint * i.unit_price_cents)::float8 AS "revenueCents",
         round(avg(p.price_cents))::integer AS "averagePriceCents"
       FROM hotpath_shop.order_items i
         JOIN hotpath_shop.orders o ON o.id = i.order_id
         JOIN hotpath_shop.products p ON p.id = i.product_id
         JOIN hotpath_shop.categories c ON c.id = p.category_id
       WHERE o.status <> 'returned'
       GROUP BY c.id
       ORDER BY "revenueCents" DESC, c.id`,
    );
    res.json({ categories });
  });

  router.get('/search', async (req, res) => {
    const words = textParameter(req.query, 'q')?.trim();
    if (!words) throw invalid('"q" must hold at least one word.');
    const items = await db.query(
      `SELECT p.id, p.name, p.price_cents AS "priceCents"
       FROM hotpath_shop.products p, websearch_to_tsquery('english', $1) AS wanted
       WHERE p.search @@ wanted
       ORDER BY ts_rank(p.search, wanted) DESC, p.id
       LIMIT 50`,
      [words],
    );
    res.json({ q: words, items });
  });

  return router;
}
