import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { json } from 'node:stream/consumers';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { seedDatabase } from '../../../examples/products-api/seed.js';
import { rowChecksums, sendJson } from '../../examples/shop.js';
import { waitFor } from '../../helpers/http.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';
import { type Program, program, script } from '../../helpers/program.js';
import { RedisServer } from '../../helpers/redis.js';

let child: ChildProcess | undefined;
let redis: RedisServer | undefined;
let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres();
});

afterEach(async () => {
  child?.kill('SIGKILL');
  await redis?.stop();
  redis = undefined;
});

afterAll(() => postgres?.stop());

interface Two {
  readonly front: string;
  readonly instances: readonly [a: string, b: string];
  readonly text: string;
  readonly exited: Promise<unknown[]>;
}

const built = program('examples/products-api/two/main.ts');

/**
 * As `npm run start:two` runs the example, except that V8 does not optimise the WebAssembly of its PostgreSQL: it has few
 * queries to run here.
 */
const asUsersDo: Program = script('start:two', '--liftoff-only');

async function start(env: Record<string, string> = {}, { execArgv, file, args = [] } = built): Promise<Two> {
  const main = spawn(process.execPath, [...execArgv, file, ...args], {
    env: { PATH: process.env.PATH, PORT: '0', SEED_PRODUCTS: '1000', SEED_ORDER_ITEMS: '1000', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = main;
  const exited = once(main, 'exit');
  let text = '';
  for await (const line of createInterface({ input: main.stdout })) {
    text += `${line}\n`;
    const urls = [...text.matchAll(/^ {2}(http:\/\/localhost:\d+) {2}/gm)].map(([, url = '']) => url);
    const [front, a, b] = urls;
    if (front && a && b && line === '') return { front, instances: [a, b], text, exited };
  }
  throw new Error(`the example ended with ${main.exitCode} before it listened`);
}

/** The checksums of the rows in a database. @param isEmpty it gets the rows of the example first. */
async function rowsIn(connectionString: string, isEmpty = false): Promise<Record<string, string>> {
  const pool = new pg.Pool({ connectionString, max: 1 });
  try {
    if (isEmpty) await seedDatabase(pool, { products: 1_000, orderItems: 1_000 });
    return await rowChecksums(pool);
  } finally {
    await pool.end();
  }
}

/** The state of one product, and the instance that answered. */
async function product(url: string, host = new URL(url).host) {
  const sent = get(`${url}/api/products/1`, { agent: false, headers: { Host: host } });
  const [res] = (await once(sent, 'response')) as [IncomingMessage];
  const { priceCents } = (await json(res)) as { priceCents: number };
  const { 'x-instance': instance, 'x-cache': cache, 'x-sql-queries': statements } = res.headers;
  return { instance, cache, priceCents, statements };
}

describe('two instances of the example', () => {
  test('have the rows of any PostgreSQL, share entries and purges, and end together on SIGTERM', async () => {
    const { front, instances, text, exited } = await start({}, asUsersDo);
    const { host } = new URL(front);
    expect(text).toContain('its own');
    const embeddedUrl = /postgres:\S+/.exec(text)![0];
    expect(await rowsIn(embeddedUrl)).toEqual(await rowsIn(await postgres.createDatabase('rows'), true));
    // Alternates between the instances. Each entry is filled once and then read from Redis.
    await waitFor(async () => {
      const [one, other] = [await product(front), await product(front)];
      return (
        [one.instance, other.instance].sort().join() === 'a,b' &&
        [one.cache, other.cache].every((cache) => cache === 'HIT')
      );
    });
    const [a, b] = instances;
    for (const [writer, reader, priceCents] of [
      [a, b, 111],
      [b, a, 222],
    ] as const) {
      expect((await product(reader, host)).cache).toBe('HIT');
      expect((await sendJson('PATCH', `${writer}/api/products/1`, { priceCents })).status).toBe(200);
      await waitFor(async () => {
        const shown = await product(reader, host);
        return shown.cache === 'HIT' && shown.priceCents === priceCents && shown.statements === undefined;
      });
      // The entry filled by the reader is available to the writer.
      await waitFor(async () => (await product(writer, host)).cache === 'HIT');
    }
    // Another program changes the price by SQL.
    const other = new pg.Client(embeddedUrl);
    await other.connect();
    await other.query('UPDATE hotpath_shop.products SET price_cents = 333 WHERE id = 1');
    await other.end();
    for (const reader of instances)
      await waitFor(async () => (await product(reader, host)).priceCents === 333);
    child?.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    for (const url of [front, ...instances]) await expect(fetch(url)).rejects.toThrow();
  }, 300_000);

  test('use a running Redis, and leave it unchanged', async () => {
    redis = await RedisServer.start();
    const DATABASE_URL = await postgres.createDatabase('shop');
    const { front, text, exited } = await start({ REDIS_URL: redis.url, DATABASE_URL });
    expect(text).toContain('that of REDIS_URL');
    await waitFor(async () => {
      await product(front);
      return Number(await redis?.command('DBSIZE')) >= 2; // the log and the product
    });
    child?.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    expect(await redis.command('PING')).toBe('PONG');
  }, 300_000);

  test('name the package to install where Redis is missing', async () => {
    const main = spawn(process.execPath, [...built.execArgv, built.file], {
      env: { PATH: '/nowhere', PORT: '0' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = main;
    let said = '';
    main.stderr.on('data', (chunk) => (said += chunk));
    expect((await once(main, 'exit'))[0]).toBe(1);
    expect(said).toContain('apt-get install redis-server');
  });
});
