-- Fills the shop. $products, $order_items and what follows from them are replaced by checked integers.
INSERT INTO hotpath_shop.categories (id, slug, name)
SELECT n, lower(replace(name, ' & ', '-')), name
FROM unnest(ARRAY['Audio', 'Bags', 'Books', 'Camping', 'Climbing', 'Cooking', 'Cycling', 'Desks', 'Fishing', 'Garden',
  'Glass & China', 'Hiking', 'Instruments', 'Kitchen', 'Lamps', 'Linen', 'Outdoor', 'Painting', 'Paper', 'Photo',
  'Running', 'Sailing', 'Shoes', 'Swimming', 'Tea & Coffee', 'Tools', 'Toys', 'Travel', 'Watches', 'Winter'])
  WITH ORDINALITY AS list(name, n);

INSERT INTO hotpath_shop.products (id, category_id, name, description, price_cents, stock, created_at, updated_at)
SELECT n,
  1 + hotpath_shop.scatter(n, 1) % 30,
  finish || ' ' || material || ' ' || thing || ' ' || n,
  'A ' || lower(finish) || ' ' || thing || ' made of ' || material || ', for ' || use || '. '
    || 'Sent within ' || (2 + hotpath_shop.scatter(n, 6) % 4) || ' days and kept in order for '
    || (2 + hotpath_shop.scatter(n, 7) % 9) || ' years; spare parts and repairs come from the same workshop.',
  199 + hotpath_shop.scatter(n, 8) % 49800,
  hotpath_shop.scatter(n, 9) % 500,
  timestamptz '2024-01-01 00:00:00+00' + hotpath_shop.scatter(n, 10) % 525600 * interval '1 minute',
  timestamptz '2025-01-01 00:00:00+00' + hotpath_shop.scatter(n, 11) % 262800 * interval '1 minute'
FROM generate_series(1, $products) AS n,
LATERAL (SELECT
  (ARRAY['Compact', 'Classic', 'Folding', 'Light', 'Large', 'Modern', 'Plain', 'Quiet', 'Sturdy', 'Slim', 'Warm',
    'Wide'])[1 + hotpath_shop.scatter(n, 2) % 12] AS finish,
  (ARRAY['oak', 'steel', 'linen', 'wool', 'copper', 'bamboo', 'glass', 'leather', 'cotton', 'cork'])
    [1 + hotpath_shop.scatter(n, 3) % 10] AS material,
  (ARRAY['lamp', 'bag', 'bowl', 'chair', 'tent', 'kettle', 'clock', 'shelf', 'basket', 'blanket', 'bottle', 'frame',
    'stool', 'tray', 'box'])[1 + hotpath_shop.scatter(n, 4) % 15] AS thing,
  (ARRAY['small kitchens', 'long journeys', 'rainy weekends', 'quiet evenings', 'busy workshops', 'first flats',
    'mountain huts', 'garden parties'])[1 + hotpath_shop.scatter(n, 5) % 8] AS use
) AS words;
SELECT setval(pg_get_serial_sequence('hotpath_shop.products', 'id'), $products);

INSERT INTO hotpath_shop.customers (id, name, email)
SELECT n,
  (ARRAY['Ada', 'Ben', 'Chen', 'Dora', 'Emil', 'Fatou', 'Goran', 'Hana', 'Ines', 'Jonas'])
    [1 + hotpath_shop.scatter(n, 12) % 10] || ' ' ||
  (ARRAY['Adler', 'Bauer', 'Costa', 'Diaz', 'Eriksen', 'Fischer', 'Garcia', 'Haas', 'Ito', 'Jansen', 'Kaya', 'Lopez'])
    [1 + hotpath_shop.scatter(n, 13) % 12],
  'customer-' || n || '@shop.example'
FROM generate_series(1, $customers) AS n;

INSERT INTO hotpath_shop.orders (id, customer_id, status, placed_at)
SELECT n,
  1 + hotpath_shop.scatter(n, 14) % $customers,
  (ARRAY['delivered', 'delivered', 'delivered', 'sent', 'paid', 'returned'])[1 + hotpath_shop.scatter(n, 15) % 6],
  timestamptz '2025-01-01 00:00:00+00' + hotpath_shop.scatter(n, 16) % 525600 * interval '1 minute'
FROM generate_series(1, $orders) AS n;

INSERT INTO hotpath_shop.order_items (order_id, line, product_id, quantity, unit_price_cents)
SELECT 1 + (n - 1) / 4,
  1 + (n - 1) % 4,
  product_id,
  1 + hotpath_shop.scatter(n, 18) % 3,
  199 + hotpath_shop.scatter(product_id, 8) % 49800
-- OFFSET 0 keeps the planner from computing product_id again for the price.
FROM (SELECT n, 1 + hotpath_shop.scatter(n, 17) % $products AS product_id
  FROM generate_series(1, $order_items) AS n OFFSET 0) AS items;

-- Keys and indexes after the rows: one sort each, where row by row they would cost several times as much.
ALTER TABLE hotpath_shop.orders ADD FOREIGN KEY (customer_id) REFERENCES hotpath_shop.customers;
ALTER TABLE hotpath_shop.products ADD FOREIGN KEY (category_id) REFERENCES hotpath_shop.categories;
ALTER TABLE hotpath_shop.order_items ADD PRIMARY KEY (order_id, line);
ALTER TABLE hotpath_shop.order_items ADD FOREIGN KEY (order_id) REFERENCES hotpath_shop.orders;
ALTER TABLE hotpath_shop.order_items ADD FOREIGN KEY (product_id) REFERENCES hotpath_shop.products;
CREATE INDEX ON hotpath_shop.products (category_id, id);
CREATE INDEX ON hotpath_shop.products (price_cents, id);
CREATE INDEX ON hotpath_shop.products USING gin (search);
CREATE INDEX ON hotpath_shop.orders (customer_id, placed_at DESC, id DESC);
CREATE INDEX ON hotpath_shop.order_items (product_id);

INSERT INTO hotpath_shop.seed (version, products, order_items) VALUES ($version, $products, $order_items);
ANALYZE hotpath_shop.categories, hotpath_shop.products, hotpath_shop.customers, hotpath_shop.orders,
  hotpath_shop.order_items;
