import type { AdvisedQuery } from './queries.js';

/** Further queries of other shapes, written after the adviser. */
export const FURTHER_SLOW: readonly AdvisedQuery[] = [
  {
    name: 'u01 lateral top n',
    text: `SELECT p.id, r.title FROM hotpath_shop.products p CROSS JOIN LATERAL (SELECT title FROM hotpath_shop.reviews r WHERE r.product_id = p.id AND r.rating = 5
      ORDER BY r.created_at DESC LIMIT 2) r WHERE p.category_id = $1`,
    values: [3],
    accepts:
      /"reviews" USING btree \("(product_id", ("rating", )?"created_at"|rating", "product_id", "created_at")/,
  },
  {
    name: 'u02 distinct on',
    text: `SELECT DISTINCT ON (customer_id) customer_id, id, created_at FROM hotpath_shop.reviews WHERE customer_id BETWEEN $1 AND $2 ORDER BY customer_id, created_at DESC`,
    values: [100, 140],
    accepts: /"reviews" USING btree \("customer_id"/,
  },
  {
    name: 'u03 jsonb text equality',
    text: `SELECT id FROM hotpath_shop.reviews WHERE attributes->>'order' = $1`,
    values: ['4711'],
    accepts: /"reviews" USING btree \(\(.*attributes ->> 'order'/,
  },
  {
    name: 'u04 array overlap',
    text: `SELECT id FROM hotpath_shop.reviews WHERE tags && $1::text[]`,
    values: [['t17', 't18']],
    accepts: /"reviews" USING gin \("tags"/,
  },
  {
    name: 'u05 full text expression',
    text: `SELECT id FROM hotpath_shop.reviews WHERE to_tsvector('english', body) @@ plainto_tsquery('english', $1) AND rating < 3 LIMIT 20`,
    values: ['c4ca4238a0b923820dcc509a6f75849b'],
    accepts: /"reviews" USING gin \(\(to_tsvector\('english'::regconfig, body\)\)\)/,
  },
  {
    name: 'u06 prefix',
    text: `SELECT r.id, name FROM hotpath_shop.customers JOIN hotpath_shop.reviews r ON r.customer_id = hotpath_shop.customers.id WHERE r.title LIKE $1`,
    values: ['Review 4711%'],
    accepts: /"reviews" USING btree \("title"|gin \("title"/,
  },
  {
    name: 'u07 mixed directions',
    text: `SELECT id, rating, created_at FROM hotpath_shop.reviews WHERE language = $1 ORDER BY rating DESC, created_at ASC LIMIT 30`,
    values: ['de'],
    accepts:
      /"reviews" USING btree \("language", "rating", "created_at" DESC|\("rating", "created_at" DESC|\("language", "rating" DESC, "created_at"\)/,
  },
  {
    name: 'u08 nulls last',
    text: `SELECT id, deleted_at FROM hotpath_shop.reviews WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC NULLS LAST, id LIMIT 20`,
    accepts:
      /"reviews" USING btree \("deleted_at" DESC NULLS LAST|"reviews" USING btree \("id"\) WHERE|deleted_at" DESC NULLS LAST, "id"/,
  },
  {
    name: 'u09 update',
    text: `UPDATE hotpath_shop.reviews SET helpful = helpful WHERE customer_id = $1 AND product_id = $2`,
    values: [99999999, 99999999],
    accepts: /./,
  },
  {
    name: 'u10 correlated max',
    text: `SELECT c.id, (SELECT max(r.created_at) FROM hotpath_shop.reviews r WHERE r.customer_id = c.id) FROM hotpath_shop.customers c WHERE c.id BETWEEN $1 AND $2`,
    values: [5, 25],
    accepts: /"reviews" USING btree \("customer_id"/,
  },
  {
    name: 'u11 three tables, aggregate',
    text: `SELECT p.category_id, sum(oi.quantity * oi.unit_price_cents) FROM hotpath_shop.orders o JOIN hotpath_shop.order_items oi ON oi.order_id = o.id
      JOIN hotpath_shop.products p ON p.id = oi.product_id WHERE o.placed_at >= $1 AND o.placed_at < $2 GROUP BY p.category_id`,
    values: ['2025-05-01T00:00:00Z', '2025-05-02T00:00:00Z'],
    accepts: /"orders" USING btree \("placed_at"/,
  },
  {
    name: 'u12 queue',
    text: `SELECT id FROM hotpath_shop.orders WHERE status = 'returned' AND placed_at < now() - interval '100 days' ORDER BY placed_at LIMIT 10 FOR UPDATE SKIP LOCKED`,
    accepts: /"orders" USING btree \(("status", )?"placed_at"/,
  },
  {
    name: 'u13 in subquery',
    text: `SELECT id, title FROM hotpath_shop.reviews WHERE customer_id IN (SELECT id FROM hotpath_shop.customers WHERE email = $1) ORDER BY created_at DESC`,
    values: ['customer-500@shop.example'],
    accepts: /"reviews" USING btree \("customer_id"/,
  },
  {
    name: 'u14 row list',
    text: `SELECT id FROM hotpath_shop.reviews WHERE (customer_id, rating) IN (($1, $2), ($3, $4))`,
    values: [17, 1, 18, 2],
    accepts: /"reviews" USING btree \("customer_id"/,
  },
  {
    name: 'u15 min and max',
    text: `SELECT min(placed_at), max(placed_at) FROM hotpath_shop.orders WHERE status = $1`,
    values: ['sent'],
    accepts: /"orders" USING btree \(("status", )?"placed_at"/,
  },
  {
    name: 'u16 union',
    text: `SELECT id, created_at AS at FROM hotpath_shop.reviews WHERE customer_id = $1 UNION ALL SELECT id, placed_at FROM hotpath_shop.orders WHERE customer_id = $1 ORDER BY at DESC LIMIT 20`,
    values: [77],
    accepts: /"reviews" USING btree \("customer_id"/,
  },
  {
    name: 'u17 cte with count',
    text: `WITH busy AS (SELECT customer_id, count(*) AS n FROM hotpath_shop.reviews WHERE day = $1 GROUP BY customer_id) SELECT * FROM busy WHERE n > 1 ORDER BY n DESC`,
    values: ['2025-02-03'],
    accepts: /"reviews" USING btree \("day"/,
  },
  {
    name: 'u18 page behind a filter on the primary key order',
    text: `SELECT id, title FROM hotpath_shop.reviews WHERE rating = $1 AND NOT approved AND id > $2 ORDER BY id LIMIT 50`,
    values: [1, 500000],
    accepts: /"reviews" USING btree \(.*"id"|"reviews" USING btree \("rating"\) WHERE .*NOT approved/,
  },
  {
    name: 'u19 left join is null',
    text: `SELECT o.id FROM hotpath_shop.orders o LEFT JOIN hotpath_shop.reviews r ON r.customer_id = o.customer_id AND r.product_id = $1 WHERE r.id IS NULL AND o.id BETWEEN $2 AND $3`,
    values: [5, 1000, 1010],
    accepts: /"reviews"/,
  },
  {
    name: 'u20 date of a timestamp without index on it',
    text: `SELECT count(*) FROM hotpath_shop.orders WHERE placed_at BETWEEN $1::timestamptz AND $1::timestamptz + interval '1 hour' AND status <> 'delivered'`,
    values: ['2025-04-01T10:00:00Z'],
    accepts: /"orders" USING btree \("placed_at"/,
  },
  {
    name: 'u21 deep join from a small set',
    text: `SELECT r.id, r.title FROM hotpath_shop.categories k JOIN hotpath_shop.products p ON p.category_id = k.id JOIN hotpath_shop.reviews r ON r.product_id = p.id
      WHERE k.slug = $1 AND r.created_at >= $2 ORDER BY r.created_at DESC LIMIT 10`,
    values: ['books', '2025-07-20T00:00:00Z'],
    accepts: /"reviews" USING btree \("(created_at|product_id", "created_at)"/,
  },
  {
    name: 'u22 delete of old rows',
    text: `DELETE FROM hotpath_shop.reviews WHERE deleted_at < $1`,
    values: ['2020-01-01T00:00:00Z'],
    accepts: /"reviews" USING btree \("deleted_at"/,
  },
  {
    name: 'u23 exists with range',
    text: `SELECT p.id, p.name FROM hotpath_shop.products p WHERE p.category_id = $1 AND EXISTS (SELECT FROM hotpath_shop.reviews r WHERE r.product_id = p.id AND r.created_at > $2 AND r.rating = 1)`,
    values: [7, '2025-07-30T00:00:00Z'],
    accepts: /"reviews" USING btree \("(product_id", |created_at|rating", ")/,
  },
  {
    name: 'u24 coalesce',
    text: `SELECT id FROM hotpath_shop.reviews WHERE coalesce(deleted_at, created_at) > $1 ORDER BY id LIMIT 100`,
    values: ['2026-01-01T00:00:00Z'],
    accepts: /COALESCE/,
  },
];

/** Further queries that need no further index. */
export const FURTHER_CONTROLS: readonly AdvisedQuery[] = [
  {
    name: 'c01 half of the table',
    text: 'SELECT count(*) FROM hotpath_shop.reviews WHERE rating >= $1',
    values: [3],
  },
  { name: 'c02 boolean of most rows', text: 'SELECT avg(rating) FROM hotpath_shop.reviews WHERE approved' },
  { name: 'c03 distinct values', text: 'SELECT DISTINCT language FROM hotpath_shop.reviews' },
  { name: 'c04 random', text: 'SELECT id FROM hotpath_shop.products ORDER BY random() LIMIT 5' },
  {
    name: 'c05 join of everything',
    text: 'SELECT c.id, count(*) FROM hotpath_shop.customers c JOIN hotpath_shop.orders o ON o.customer_id = c.id GROUP BY c.id',
  },
  {
    name: 'c06 unique key',
    text: 'SELECT id FROM hotpath_shop.customers WHERE email = $1',
    values: ['customer-5@shop.example'],
  },
  {
    name: 'c07 words of an indexed text',
    text: `SELECT id FROM hotpath_shop.products WHERE search @@ plainto_tsquery('english', $1)`,
    values: ['oak'],
  },
  {
    name: 'c08 unanchored short pattern',
    text: 'SELECT count(*) FROM hotpath_shop.reviews WHERE title LIKE $1',
    values: ['%7%'],
  },
  { name: 'c09 first rows', text: 'SELECT * FROM hotpath_shop.reviews LIMIT 10' },
  {
    name: 'c10 most of a year',
    text: 'SELECT count(*) FROM hotpath_shop.orders WHERE placed_at > $1',
    values: ['2025-03-01T00:00:00Z'],
  },
  {
    name: 'c11 a fifth of the rows',
    text: 'SELECT id, title FROM hotpath_shop.reviews WHERE rating = $1',
    values: [4],
  },
  {
    name: 'c12 common word',
    text: `SELECT id, body FROM hotpath_shop.reviews WHERE body ILIKE $1`,
    values: ['%lamp%'],
  },
  {
    name: 'c13 two keys of an index',
    text: 'SELECT * FROM hotpath_shop.order_items WHERE order_id = $1 AND line = $2',
    values: [7, 2],
  },
  { name: 'c14 volatile', text: 'SELECT id FROM hotpath_shop.orders WHERE id = (random() * 1000)::int' },
  {
    name: 'c15 settings',
    text: 'SELECT c.slug, count(*) FROM hotpath_shop.categories c JOIN hotpath_shop.products p ON p.category_id = c.id GROUP BY c.slug',
  },
  { name: 'c16 insert', text: `INSERT INTO hotpath_shop.categories SELECT 1, 'x', 'y' WHERE false` },
  {
    name: 'c17 prefix of an index',
    text: 'SELECT id FROM hotpath_shop.products WHERE category_id = $1 AND stock > 10',
    values: [5],
  },
  {
    name: 'c18 sum over joined halves',
    text: `SELECT sum(oi.quantity) FROM hotpath_shop.orders o JOIN hotpath_shop.order_items oi ON oi.order_id = o.id WHERE o.status = $1`,
    values: ['delivered'],
  },
];
