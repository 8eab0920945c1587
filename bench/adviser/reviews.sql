-- A table of the shop with kinds of columns that its own tables do not have. $reviews is replaced by an integer.
CREATE TABLE hotpath_shop.reviews (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  product_id  integer NOT NULL,
  customer_id integer NOT NULL,
  rating      smallint NOT NULL,
  title       text NOT NULL,
  body        text NOT NULL,
  language    varchar(5) NOT NULL,
  attributes  jsonb NOT NULL,
  tags        text[] NOT NULL,
  approved    boolean NOT NULL,
  created_at  timestamptz NOT NULL,
  day         date NOT NULL,
  deleted_at  timestamptz,
  helpful     integer NOT NULL
);

INSERT INTO hotpath_shop.reviews (product_id, customer_id, rating, title, body, language, attributes, tags, approved,
  created_at, day, deleted_at, helpful)
SELECT 1 + hotpath_shop.scatter(n, 21) % 20000,
  1 + hotpath_shop.scatter(n, 22) % 20000,
  1 + hotpath_shop.scatter(n, 23) % 5,
  'Review ' || hotpath_shop.scatter(n, 24) % 100000,
  'The ' || (ARRAY['lamp', 'bag', 'bowl', 'chair', 'tent', 'kettle', 'clock', 'shelf'])
    [1 + hotpath_shop.scatter(n, 25) % 8] || ' ' || md5(n::text),
  (ARRAY['en', 'en', 'en', 'de', 'fr', 'es'])[1 + hotpath_shop.scatter(n, 26) % 6],
  jsonb_build_object(
    'source', (ARRAY['web', 'app', 'mail'])[1 + hotpath_shop.scatter(n, 27) % 3],
    'order', hotpath_shop.scatter(n, 28) % 500000,
    'verified', hotpath_shop.scatter(n, 29) % 10 > 0),
  ARRAY['t' || hotpath_shop.scatter(n, 30) % 2000, 't' || hotpath_shop.scatter(n, 31) % 2000],
  hotpath_shop.scatter(n, 32) % 200 > 0,
  timestamptz '2024-01-01 00:00:00+00' + n * interval '50 seconds',
  (timestamp '2024-01-01' + n * interval '50 seconds')::date,
  CASE WHEN hotpath_shop.scatter(n, 33) % 50 = 0 THEN timestamptz '2025-12-01 00:00:00+00' END,
  hotpath_shop.scatter(n, 34) % 1000
FROM generate_series(1, $reviews) AS n;

CREATE INDEX ON hotpath_shop.reviews (product_id);
ANALYZE hotpath_shop.reviews;
