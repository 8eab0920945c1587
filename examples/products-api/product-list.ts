import type { Request } from 'express';
import type { Database } from './database.js';
import { integerParameter, invalid, textParameter } from './input.js';

/** The accepted values of `fields=`, with their SQL: no text of a request becomes SQL. */
export const PRODUCT_COLUMNS: Readonly<Record<string, string>> = {
  id: 'p.id',
  name: 'p.name',
  description: 'p.description',
  category: 'c.slug',
  priceCents: 'p.price_cents',
  stock: 'p.stock',
  createdAt: 'p.created_at',
  updatedAt: 'p.updated_at',
};

/** The accepted values of `sort=`. The id at the end makes every order total, so that pages never overlap. */
const SORT_ORDERS: Readonly<Record<string, string>> = {
  id: 'p.id',
  price: 'p.price_cents, p.id',
  '-price': 'p.price_cents DESC, p.id DESC',
  newest: 'p.created_at DESC, p.id DESC',
};

/** The query parameters that the list reads; the cache's key contains only these. */
export const LIST_PARAMETERS = ['page', 'pageSize', 'sort', 'fields', 'category', 'minPrice', 'maxPrice'];

const MAX_PAGE_SIZE = 100;
const MAX_PRICE = 100_000_000;

/** The validated parameters of a list. */
export interface ListQuery {
  page: number;
  pageSize: number;
  orderBy: string;
  fields: readonly string[];
  category?: string | undefined;
  minPrice?: number | undefined;
  maxPrice?: number | undefined;
}

/** One page of products. */
export interface ProductPage {
  page: number;
  pageSize: number;
  total: number;
  items: Record<string, unknown>[];
}

/** Reads and validates the parameters. A page size above 100 becomes 100; anything else invalid is a 400. */
export function readListQuery(query: Request['query']): ListQuery {
  return {
    page: integerParameter(query, 'page', 1, 100_000) ?? 1,
    pageSize: Math.min(integerParameter(query, 'pageSize', 1, 1_000_000) ?? 20, MAX_PAGE_SIZE),
    orderBy: allowed('sort', textParameter(query, 'sort') ?? 'id', SORT_ORDERS),
    fields: readFields(textParameter(query, 'fields')),
    category: textParameter(query, 'category', 50),
    minPrice: integerParameter(query, 'minPrice', 0, MAX_PRICE),
    maxPrice: integerParameter(query, 'maxPrice', 0, MAX_PRICE),
  };
}

/** Selects one page, with only the requested columns. */
export async function listProducts(db: Database, query: ListQuery): Promise<ProductPage> {
  const values: unknown[] = [];
  const bind = (value: unknown) => `$${values.push(value)}`;
  const conditions: string[] = [];
  if (query.category !== undefined) {
    const slug = bind(query.category);
    conditions.push(`p.category_id = (SELECT id FROM hotpath_shop.categories WHERE slug = ${slug})`);
  }
  if (query.minPrice !== undefined) conditions.push(`p.price_cents >= ${bind(query.minPrice)}`);
  if (query.maxPrice !== undefined) conditions.push(`p.price_cents <= ${bind(query.maxPrice)}`);
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;

  const [count] = await db.query<{ total: number }>(
    `SELECT count(*)::integer AS total FROM hotpath_shop.products p ${where}`,
    [...values],
  );
  const columns = query.fields.map((field) => `${PRODUCT_COLUMNS[field]} AS "${field}"`).join(', ');
  const join = query.fields.includes('category')
    ? 'JOIN hotpath_shop.categories c ON c.id = p.category_id'
    : '';
  const items = await db.query(
    `SELECT ${columns} FROM hotpath_shop.products p ${join} ${where}
     ORDER BY ${query.orderBy} LIMIT ${bind(query.pageSize)} OFFSET ${bind((query.page - 1) * query.pageSize)}`,
    values,
  );
  return { page: query.page, pageSize: query.pageSize, total: count?.total ?? 0, items };
}

function readFields(text: string | undefined): string[] {
  const known = Object.keys(PRODUCT_COLUMNS);
  if (text === undefined) return known;
  const asked = new Set(text.split(','));
  for (const field of asked) allowed('fields', field, PRODUCT_COLUMNS);
  // In the table's order, so that equal requests get equal responses.
  return known.filter((field) => asked.has(field));
}

function allowed(name: string, value: string, choices: Readonly<Record<string, string>>): string {
  const choice = Object.hasOwn(choices, value) ? choices[value] : undefined;
  if (choice !== undefined) return choice;
  throw invalid(`"${name}" may be made of: ${Object.keys(choices).join(', ')}.`);
}
