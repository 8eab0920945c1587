import { Router } from 'express';
import type { Database } from '../database.js';
import { idFrom, invalid, type ProductInput, productInput } from '../input.js';
import { Problem } from '../problems.js';
import { listProducts, PRODUCT_COLUMNS, readListQuery } from '../product-list.js';
import type { ShopEvents } from './events.js';

/** The shop's catalogue. `afterWrite` resolves when reads show a write. */
export function productRoutes(db: Database, events: ShopEvents, afterWrite: () => Promise<void>): Router {
  const router = Router();

  router.get('/products', async (req, res) => {
    res.json(await listProducts(db, readListQuery(req.query)));
  });

  router.get('/products/:id', async (req, res) => {
    res.json(await findProduct(db, idFrom(req.params.id)));
  });

  router.patch('/products/:id', async (req, res) => {
    const id = idFrom(req.params.id);
    const product = await updateProduct(db, id, productInput(req.body));
    await afterWrite();
    events.emit('product', product);
    res.json(product);
  });

  router.post('/products', async (req, res) => {
    const product = await createProduct(db, productInput(req.body));
    await afterWrite();
    events.emit('product', product);
    res.status(201).location(`/api/products/${product.id}`).json(product);
  });

  return router;
}

/** A product as the API shows it. */
export interface Product {
  id: number;
  name: string;
  description: string;
  category: string;
  priceCents: number;
  stock: number;
  createdAt: Date;
  updatedAt: Date;
}

const SELECT_PRODUCT = `SELECT ${Object.entries(PRODUCT_COLUMNS)
  .map(([field, column]) => `${column} AS "${field}"`)
  .join(', ')}`;

async function findProduct(db: Database, id: number): Promise<Product> {
  const [product] = await db.query<Product>(
    `${SELECT_PRODUCT}
     FROM hotpath_shop.products p JOIN hotpath_shop.categories c ON c.id = p.category_id
     WHERE p.id = $1`,
    [id],
  );
  if (!product) throw new Problem(404, 'Not Found', 'There is no such product.');
  return product;
}

async function updateProduct(db: Database, id: number, input: ProductInput): Promise<Product> {
  if (Object.keys(input).length === 0) throw invalid('Name at least one field to change.');
  // One statement for any set of fields: absent ones are NULL here, and keep their value.
  const [product] = await db.query<Product>(
    `WITH p AS (
       UPDATE hotpath_shop.products SET
         name = coalesce($2, name), description = coalesce($3, description),
         price_cents = coalesce($4, price_cents), stock = coalesce($5, stock),
         category_id = CASE WHEN $6::text IS NULL THEN category_id
           ELSE (SELECT id FROM hotpath_shop.categories WHERE slug = $6) END,
         updated_at = now()
       WHERE id = $1
         AND ($6::text IS NULL OR EXISTS (SELECT 1 FROM hotpath_shop.categories WHERE slug = $6))
       RETURNING *
     )
     ${SELECT_PRODUCT} FROM p JOIN hotpath_shop.categories c ON c.id = p.category_id`,
    [id, input.name, input.description, input.priceCents, input.stock, input.category],
  );
  if (product) return product;
  await findProduct(db, id);
  throw invalid('There is no such category.');
}

async function createProduct(db: Database, input: ProductInput): Promise<Product> {
  const { name, priceCents, category, description = '', stock = 0 } = input;
  if (name === undefined || priceCents === undefined || category === undefined) {
    throw invalid('A new product needs "name", "priceCents" and "category".');
  }
  const [product] = await db.query<Product>(
    `WITH p AS (
       INSERT INTO hotpath_shop.products (category_id, name, description, price_cents, stock)
       SELECT id, $2, $3, $4, $5 FROM hotpath_shop.categories WHERE slug = $1
       RETURNING *
     )
     ${SELECT_PRODUCT} FROM p JOIN hotpath_shop.categories c ON c.id = p.category_id`,
    [category, name, description, priceCents, stock],
  );
  if (!product) throw invalid('There is no such category.');
  return product;
}
