import type { ChangeMapping } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerFrom } from '../../helpers/cache.js';
import { closeAfterEach } from '../../helpers/close-after-each.js';
import { follow } from '../../helpers/followed-tables.js';
import { gate } from '../../helpers/gate.js';
import { express5, listen, waitFor } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';
import { RedisServer } from '../../helpers/redis.js';

const ORIGIN = 'http://shop.example';
const LISTS = ['/lists/1', '/lists/2', '/lists/3'];

let server: TestPostgres;
let redis: RedisServer;
let url: string;
let admin: pg.Client;
beforeAll(async () => {
  [server, redis] = await Promise.all([startPostgres(), RedisServer.start()]);
  url = await server.createDatabase('warmed');
  admin = new pg.Client(url);
  await admin.connect();
  await admin.query(
    'CREATE TABLE products (id int PRIMARY KEY, price int); INSERT INTO products VALUES (1, 1)',
  );
});
afterAll(async () => {
  await admin?.end();
  await Promise.all([server?.stop(), redis?.stop()]);
});

const later = closeAfterEach();
const products: ChangeMapping = { products: { columns: ['id'], tags: () => 'products' } };

/** An instance that follows the table, and then warms its lists, whose first runs wait for `open`. */
async function warmingInstance(prefix: string) {
  const routes = { '/lists/:id': { cache: { ttl: '1h', tags: ['products'], shared: true } } } as const;
  const cache = { redis: { url: redis.url, prefix, readTimeout: 5, writeTimeout: 5 } };
  const { perf, pool, db } = later(await follow(url, products, { config: { routes, cache } }));
  const app = express5();
  app.use(perf);
  perf.attach(app);
  const { opened, open } = gate();
  let runs = 0;
  app.get('/lists/:id', async (_req, res) => {
    runs++;
    const { rows } = await pool.query('SELECT price FROM products');
    await opened;
    res.json(rows);
  });
  perf.warming.register({ name: 'lists', urls: LISTS, critical: true, retries: 0 });
  const started = perf.warming.start({ origins: [ORIGIN] });
  await waitFor(() => runs === LISTS.length);
  return { perf, db, app, open, started, runs: () => runs };
}

/** The answers to the first clients. */
async function firstAnswers({ app }: { app: ReturnType<typeof express5> }) {
  const { port } = later(await listen(app));
  const answers = [];
  for (const path of LISTS) {
    const { xCache, text } = await answerFrom(port, { path, headers: { Host: 'shop.example' } });
    answers.push([xCache, text]);
  }
  return answers;
}

describe('warming beside changes of tables', () => {
  it('is not ended by a write, and stores what was read after it', async () => {
    const made = await warmingInstance('write:');
    await admin.query('UPDATE products SET price = 2');
    await made.db.flush();
    made.open();
    expect(await made.started).toMatchObject([{ state: 'succeeded' }]);
    expect(await firstAnswers(made)).toEqual(LISTS.map(() => ['HIT', '[{"price":2}]']));
    expect(made.runs()).toBe(2 * LISTS.length);
    await admin.query('UPDATE products SET price = 1');
  });

  it('is not ended by the end of a transaction that ran before the tables were followed', async () => {
    await admin.query('BEGIN; SELECT pg_current_xact_id()');
    const made = await warmingInstance('stray:');
    const { fullPurges } = made.db.changes()!;
    await admin.query('COMMIT');
    await made.db.flush();
    expect(made.db.changes()!.fullPurges).toBeGreaterThan(fullPurges);
    made.open();
    expect(await made.started).toMatchObject([{ state: 'succeeded' }]);
    expect(await firstAnswers(made)).toEqual(LISTS.map(() => ['HIT', '[{"price":1}]']));
    expect(made.perf.warming.check()).toEqual({ status: 'pass' });
  });

  it('is not ended by an instance of another version, which purges everything when it joins', async () => {
    const made = await warmingInstance('version:');
    const config = { cache: { redis: { url: redis.url, prefix: 'version:' } } };
    later(await follow(url, { products: {} }, { config }));
    await made.db.flush();
    made.open();
    expect(await made.started).toMatchObject([{ state: 'succeeded' }]);
    expect(await firstAnswers(made)).toEqual(LISTS.map(() => ['HIT', '[{"price":1}]']));
    expect(made.runs()).toBe(2 * LISTS.length);
  });
});
