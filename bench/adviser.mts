// The advice of the index adviser for many queries, each alone, on the shop with 2,000,000 order items and 1,000,000
// reviews: `npm run bench:adviser -- postgres://… [estimated] [part of a name]`. The database is filled if it is empty.
// `estimated` drops the extension HypoPG first; otherwise it is created.
//
// Prints a row for each query. Ends with 1 if an index is advised for a query that needs none.
import pg from 'pg';
import { monitorPool, postgres } from '../src/postgres/index.js';
import { FURTHER_CONTROLS, FURTHER_SLOW } from './adviser/further-queries.js';
import { type AdvisedQuery, CONTROLS, SLOW } from './adviser/queries.js';
import { fillShop } from './adviser/shop.js';

const [url, ...words] = process.argv.slice(2);
if (!url) throw new Error('a URL is needed: npm run bench:adviser -- postgres://…');
const isEstimated = words.includes('estimated');
const part = words.find((word) => word !== 'estimated') ?? '';

const admin = new pg.Pool({ connectionString: url, max: 2 });
await fillShop(admin, { orderItems: 2_000_000, reviews: 1_000_000 });
await admin.query(isEstimated ? 'DROP EXTENSION IF EXISTS hypopg' : 'CREATE EXTENSION IF NOT EXISTS hypopg');

async function adviseOn({ text, values }: AdvisedQuery) {
  // The other queries are no part of the workload.
  await admin.query('SELECT pg_stat_statements_reset()').catch(() => {});
  const pool = monitorPool(new pg.Pool({ connectionString: url, max: 2 }));
  const db = postgres(pool);
  for (let call = 0; call < 3; call++) await pool.query(text, values as unknown[]);
  const report = await db.indexes();
  await db.close();
  await pool.end();
  return report;
}

let mistakes = 0;
for (const query of [...SLOW, ...CONTROLS, ...FURTHER_SLOW, ...FURTHER_CONTROLS]) {
  if (!query.name.includes(part)) continue;
  const { missing, seconds } = await adviseOn(query);
  const list = missing.map(({ ddl }) => ddl.replace(/^CREATE INDEX CONCURRENTLY "[^"]*" ON "\w+"\./, ''));
  const isRight = query.accepts
    ? missing.length > 0 && missing.every(({ ddl }) => query.accepts!.test(ddl))
    : missing.length === 0;
  if (!query.accepts && !isRight) mistakes++;
  const [{ costBefore, costAfter } = { costBefore: 0, costAfter: 0 }] = missing.flatMap(
    ({ queries }) => queries,
  );
  const verdict = isRight ? 'right' : missing.length === 0 ? 'none' : 'look';
  const level = missing[0]?.level ?? '';
  const cost = missing.length > 0 ? `${Math.round(costBefore)} -> ${Math.round(costAfter)}` : '';
  console.log([verdict, query.name, level, cost, `${seconds.toFixed(2)} s`, list.join('; ')].join(' | '));
}
await admin.end();
process.exitCode = mistakes > 0 ? 1 : 0;
