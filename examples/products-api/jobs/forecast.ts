import type { Database } from '../database.js';
import { invalid } from '../input.js';
import { Problem } from '../problems.js';
import { PRIORITIES, type Priority } from './types.js';

/** The part of a request that decides about its result. */
export interface ForecastInput {
  readonly productId: number;
  /** Days ahead. */
  readonly days: number;
  /** Simulated futures. */
  readonly runs: number;
}

/** All that a simulation needs, so that a worker needs no access to the shop. */
export interface ForecastTask {
  readonly input: ForecastInput;
  /** The units of each day of the last year on which some were sold. */
  readonly sales: readonly number[];
  /** Days in which these sales were made. */
  readonly observedDays: number;
  readonly stock: number;
  /** With the same seed, every run of a job gives the same result. */
  readonly seed: number;
}

/** Units sold in all from today to the end of each day. */
export interface ForecastResult {
  readonly mean: readonly number[];
  /** By the share of simulated futures with at most that many units. */
  readonly percentiles: Readonly<Record<'p5' | 'p25' | 'p50' | 'p75' | 'p95', readonly number[]>>;
  /** The share of futures in which the stock is sold before the last day ends. */
  readonly stockOutProbability: number;
  readonly stock: number;
}

const OBSERVED_DAYS = 365;

const FIELDS = {
  productId: { min: 1, max: 2_147_483_647, otherwise: undefined },
  days: { min: 1, max: 365, otherwise: 30 },
  runs: { min: 1_000, max: 50_000_000, otherwise: 1_000_000 },
} as const;

/** Reads the body of a request. @throws Problem that says what is accepted. */
export function readForecastRequest(body: unknown): { input: ForecastInput; priority: Priority } {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalid('The body must be a JSON object, sent as application/json.');
  const { priority = 'normal', ...numbers } = body as Record<string, unknown>;
  if (!PRIORITIES.includes(priority as Priority))
    throw invalid(`"priority" must be one of: ${PRIORITIES.join(', ')}.`);
  for (const name of Object.keys(numbers)) {
    if (!Object.hasOwn(FIELDS, name))
      throw invalid(
        `Unknown field "${name.slice(0, 50)}". Known: ${Object.keys(FIELDS).join(', ')}, priority.`,
      );
  }
  const read = (name: keyof typeof FIELDS): number => {
    const { min, max, otherwise } = FIELDS[name];
    const value = numbers[name] ?? otherwise;
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max)
      return value as number;
    throw invalid(`"${name}" must be a whole number from ${min} to ${max}.`);
  };
  const input = { productId: read('productId'), days: read('days'), runs: read('runs') };
  return { input, priority: priority as Priority };
}

/** Collects the data of a simulation. @throws Problem if there is no such product. */
export async function prepareForecast(db: Database, input: ForecastInput): Promise<ForecastTask> {
  const [product] = await db.query<{ stock: number; sales: number[] | null }>(
    `WITH latest AS (SELECT max(placed_at) AS at FROM hotpath_shop.orders),
     sold AS (
       SELECT date_trunc('day', o.placed_at) AS day, sum(i.quantity)::integer AS units
       FROM hotpath_shop.order_items i JOIN hotpath_shop.orders o ON o.id = i.order_id CROSS JOIN latest
       WHERE i.product_id = $1 AND o.status <> 'returned'
         AND o.placed_at > latest.at - ${OBSERVED_DAYS} * interval '1 day'
       GROUP BY 1 ORDER BY 1
     )
     SELECT p.stock, (SELECT json_agg(units ORDER BY day) FROM sold) AS sales
     FROM hotpath_shop.products p WHERE p.id = $1`,
    [input.productId],
  );
  if (!product) throw new Problem(404, 'Not Found', 'There is no such product.');
  const { stock, sales } = product;
  return { input, sales: sales ?? [], observedDays: OBSERVED_DAYS, stock, seed: seedOf(input) };
}

/** The same for the same input. */
function seedOf({ productId, days, runs }: ForecastInput): number {
  return (Math.imul(productId, 2_654_435_761) ^ Math.imul(days, 40_503) ^ runs) >>> 0;
}
