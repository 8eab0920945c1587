/** A query with the indexes that an expert accepts for it; none: it needs none. */
export interface AdvisedQuery {
  readonly name: string;
  readonly text: string;
  readonly values?: readonly unknown[];
  /** Fits the DDL of an index that is accepted. */
  readonly accepts?: RegExp;
}

/** Ten slow queries of the shop. */
export const SLOW: readonly AdvisedQuery[] = [
  {
    name: 'join and ORDER BY with LIMIT',
    text: `SELECT o.id, o.placed_at, c.name FROM hotpath_shop.orders o JOIN hotpath_shop.customers c ON c.id = o.customer_id
      WHERE o.status = $1 ORDER BY o.placed_at DESC LIMIT 20`,
    values: ['paid'],
    accepts: /"orders" USING btree \(("status", )?"placed_at"/,
  },
  {
    name: 'trigrams',
    text: 'SELECT id, title FROM hotpath_shop.reviews WHERE title ILIKE $1 LIMIT 50',
    values: ['%view 4711%'],
    accepts: /"reviews" USING gin \("title" .*gin_trgm_ops/,
  },
  {
    name: 'jsonb containment',
    text: `SELECT id, product_id FROM hotpath_shop.reviews WHERE attributes @> $1::jsonb`,
    values: ['{"order": 4711}'],
    accepts: /"reviews" USING gin \("attributes"/,
  },
  {
    name: 'partial',
    text: 'SELECT id, product_id, title FROM hotpath_shop.reviews WHERE NOT approved ORDER BY created_at LIMIT 50',
    accepts: /"reviews" USING btree \(("approved", )?"created_at".*\)( WHERE .*NOT approved)?/,
  },
  {
    name: 'arms of OR',
    text: 'SELECT id, rating FROM hotpath_shop.reviews WHERE customer_id = $1 OR product_id = $2',
    values: [4711, 815],
    accepts: /"reviews" USING btree \("customer_id"/,
  },
  {
    name: 'date range',
    text: `SELECT count(*), sum(rating) FROM hotpath_shop.reviews WHERE created_at >= $1 AND created_at < $2`,
    values: ['2025-03-01T00:00:00Z', '2025-03-03T00:00:00Z'],
    accepts: /"reviews" USING btree \("created_at"/,
  },
  {
    name: 'expression',
    text: 'SELECT id, price_cents FROM hotpath_shop.products WHERE lower(name) = lower($1)',
    values: ['Compact Oak Lamp 17'],
    accepts: /"products" USING btree \(\(lower\(name\)/,
  },
  {
    name: 'NOT EXISTS',
    text: `SELECT c.id FROM hotpath_shop.customers c WHERE c.id BETWEEN $1 AND $2
      AND NOT EXISTS (SELECT FROM hotpath_shop.reviews r WHERE r.customer_id = c.id AND r.rating = 5)`,
    values: [1000, 1020],
    accepts: /"reviews" USING btree \((("rating", )?"customer_id")/,
  },
  {
    name: 'keyset pagination',
    text: `SELECT id, status, placed_at FROM hotpath_shop.orders WHERE (placed_at, id) < ($1, $2) ORDER BY placed_at DESC, id DESC LIMIT 25`,
    values: ['2025-06-01T00:00:00Z', 250_000],
    accepts: /"orders" USING btree \("placed_at"/,
  },
  {
    name: 'window over an IN list',
    text: `SELECT * FROM (SELECT customer_id, product_id, rating, row_number() OVER (PARTITION BY customer_id ORDER BY created_at DESC) AS n
      FROM hotpath_shop.reviews WHERE customer_id IN ($1, $2, $3)) latest WHERE n <= 3`,
    values: [17, 18, 19],
    accepts: /"reviews" USING btree \("customer_id"/,
  },
];

/** Queries that need no further index. */
export const CONTROLS: readonly AdvisedQuery[] = [
  { name: 'small table', text: 'SELECT * FROM hotpath_shop.categories WHERE name = $1', values: ['Books'] },
  {
    name: 'low selectivity',
    text: 'SELECT id FROM hotpath_shop.orders WHERE status = $1',
    values: ['delivered'],
  },
  {
    name: 'already indexed',
    text: 'SELECT sum(quantity) FROM hotpath_shop.order_items WHERE product_id = $1',
    values: [4711],
  },
  { name: 'primary key', text: 'SELECT * FROM hotpath_shop.orders WHERE id = $1', values: [4711] },
  {
    name: 'full aggregate',
    text: 'SELECT product_id, sum(quantity) FROM hotpath_shop.order_items GROUP BY product_id ORDER BY 2 DESC LIMIT 10',
  },
  { name: 'count of all', text: 'SELECT count(*) FROM hotpath_shop.order_items' },
  {
    name: 'existing order',
    text: 'SELECT * FROM hotpath_shop.orders WHERE customer_id = $1 ORDER BY placed_at DESC, id DESC LIMIT 10',
    values: [4711],
  },
  { name: 'all rows sorted', text: 'SELECT * FROM hotpath_shop.orders ORDER BY placed_at' },
  { name: 'status groups', text: 'SELECT status, count(*) FROM hotpath_shop.orders GROUP BY status' },
];
