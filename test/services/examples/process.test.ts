import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setFlagsFromString } from 'node:v8';
import { changesMigration } from 'hotpath/postgres';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../../examples/products-api/database.js';
import { tableChanges } from '../../../examples/products-api/policies.js';
import { seedDatabase } from '../../../examples/products-api/seed.js';
import { settingsFromEnv } from '../../../examples/products-api/settings.js';
import { waitFor } from '../../helpers/http.js';
import { freePort } from '../../helpers/port.js';
import { startPostgres, type TestPostgres } from '../../helpers/postgres.js';
import { type Program, program, script } from '../../helpers/program.js';

let child: ChildProcess | undefined;
let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres();
});

afterEach(() => {
  child?.kill('SIGKILL');
});

afterAll(() => postgres?.stop());

const asUsersDo = script('start');
// V8 does not optimise the WebAssembly of the PostgreSQL that this process embeds: it has few queries to run.
setFlagsFromString('--liftoff-only');

async function start(
  env: Record<string, string>,
  { execArgv, file, args = [] }: Program = program('examples/products-api/main.ts'),
  onLine: (line: string) => Promise<void> | void = () => {},
): Promise<{ url: string; exited: Promise<unknown[]>; line: string }> {
  const main = spawn(process.execPath, [...execArgv, file, ...args], {
    env: { PATH: process.env.PATH, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = main;
  const exited = once(main, 'exit');
  for await (const line of createInterface({ input: main.stdout })) {
    await onLine(line);
    const url = /http:\/\/localhost:\d+/.exec(line)?.[0];
    if (url !== undefined) return { url, exited, line };
  }
  throw new Error(`the example ended with ${main.exitCode} before it listened`);
}

/** A download that waits after its first bytes, until `rest()` reads on. */
async function beginDownload(url: string): Promise<{ rest(): Promise<string> }> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
  response.setEncoding('utf8');
  const parts = response[Symbol.asyncIterator]();
  const first = await parts.next();
  return {
    async rest() {
      let text = first.value as string;
      for (let part = await parts.next(); !part.done; part = await parts.next()) text += part.value;
      return text;
    },
  };
}

describe('the example as a process', () => {
  test('starts with an embedded PostgreSQL, with all its rows, and ends on SIGTERM', async () => {
    // Takes some 8 seconds alone on a small machine, and longer beside other work.
    const port = await freePort();
    const lines: string[] = [];
    let starting: Promise<readonly string[]> | undefined;
    const read = async (path: string) => {
      const response = await fetch(`http://localhost:${port}${path}`);
      return `${response.status} ${response.headers.get('retry-after')} ${await response.text()}`;
    };
    const { url, exited, line } = await start({ PORT: String(port) }, asUsersDo, (next) => {
      lines.push(next);
      starting ??= Promise.all(['/', '/api/readyz', '/healthz'].map(read));
    });
    expect(line).toContain('embedded PostgreSQL');
    expect(lines[0]).toMatch(/^filling the database: 20,000 products \(\d %\)$/);
    expect(lines).toContainEqual(expect.stringContaining('200,000 order items'));
    const [shown, probe, alive] = await starting!;
    expect(shown).toMatch(/^503 1 <!doctype html>.*20,000 products/s);
    expect(probe).toMatch(/^503 1 The shop is starting/);
    expect(alive).toMatch(/^200 /);
    const first = await fetch(`${url}/api/products`, { headers: { 'Accept-Encoding': 'gzip, deflate, br' } });
    const seen = ['x-cache', 'content-encoding', 'x-sql-queries'].map((name) => first.headers.get(name));
    expect(seen).toEqual(['HIT', 'br', null]);
    // Encoded before, because a body that is encoded while it is sent has no length.
    expect(first.headers.get('content-length')).not.toBeNull();
    expect(await first.json()).toMatchObject({ total: 20_000 });
    // The statistics are being warmed, and the embedded PostgreSQL runs one statement at a time.
    await waitFor(async () => (await fetch(`${url}/readyz`)).status === 200);
    // The slow query runs in PostgreSQL and does not delay other requests.
    const slow = fetch(`${url}/api/categories/stats`);
    expect((await fetch(`${url}/`)).status).toBe(200);
    expect((await slow).status).toBe(200);
    // Another program changes a price by SQL, and the cache follows.
    const product = `${url}/api/products/7`;
    for (const expected of ['MISS', 'HIT'])
      expect((await fetch(product)).headers.get('x-cache')).toBe(expected);
    const other = new pg.Client(/postgres:\S+/.exec(lines.join('\n'))![0]);
    await other.connect();
    await other.query('UPDATE hotpath_shop.products SET price_cents = 4242 WHERE id = 7');
    await other.end();
    await waitFor(async () => (await (await fetch(product)).text()).includes('"priceCents":4242'));
    child?.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  }, 300_000);

  test('finishes requests in flight on SIGTERM, accepts no more, ends event streams, exits [K02]', async () => {
    const { url, exited } = await start({
      DATABASE_URL: await postgres.createDatabase('in-flight'),
      SEED_PRODUCTS: '1000',
      SEED_ORDER_ITEMS: '100000',
    });
    const events = await beginDownload(`${url}/api/events`);
    const download = await beginDownload(`${url}/api/orders/export.csv`);
    child?.kill('SIGTERM');
    // The end of the stream shows that the signal was handled. Only then does the download continue.
    expect(await events.rest()).toContain('event: hello');
    await expect(fetch(url)).rejects.toThrow();
    const lines = (await download.rest()).split('\r\n');
    expect(lines).toHaveLength(1 + 100_000 + 1);
    expect(await exited).toEqual([0, null]);
  }, 300_000);
});

describe('the example while it warms its cache', () => {
  test('serves requests, is not ready, and exits cleanly on SIGTERM', async () => {
    const DATABASE_URL = await postgres.createDatabase('warming');
    const pool = new pg.Pool({ connectionString: DATABASE_URL });
    try {
      await seedDatabase(pool, { products: 1000, orderItems: 1000 });
      // The installation of triggers would wait for the lock.
      await pool.query(changesMigration(tableChanges));
      const blocker = await pool.connect();
      await blocker.query('BEGIN; LOCK TABLE hotpath_shop.products IN ACCESS EXCLUSIVE MODE');
      const PORT = String(await freePort());
      const { execArgv, file } = program('examples/products-api/main.ts');
      const sizes = { SEED_PRODUCTS: '1000', SEED_ORDER_ITEMS: '1000' };
      child = spawn(process.execPath, [...execArgv, file], {
        env: { PATH: process.env.PATH, PORT, DATABASE_URL, ...sizes },
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      const exited = once(child, 'exit');
      const status = (path: string) =>
        fetch(`http://localhost:${PORT}${path}`).then(
          (response) => response.status,
          () => undefined,
        );
      // Before it has its database, it has no metrics either.
      await waitFor(async () => (await status('/metrics')) === 200 && (await status('/readyz')) === 503);
      expect(await status('/healthz')).toBe(200);
      child.kill('SIGTERM');
      await waitFor(async () => (await status('/healthz')) === undefined);
      await blocker.query('ROLLBACK');
      blocker.release();
      expect(await exited).toEqual([0, null]);
    } finally {
      await pool.end();
    }
  }, 300_000);
});

describe('the example on a port that is in use', () => {
  test('says so at once, and names another', async () => {
    const taken = createServer().listen(0);
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const { execArgv, file } = program('examples/products-api/main.ts');
    const main = spawn(process.execPath, [...execArgv, file], {
      env: { PATH: process.env.PATH, PORT: String(port) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = main;
    const [printed, complaint, [code]] = await Promise.all([
      text(main.stdout),
      text(main.stderr),
      once(main, 'exit'),
    ]);
    taken.close();
    expect(code).toBe(1);
    expect(printed).toBe('');
    expect(complaint).toBe(
      `Port ${port} is in use by another program. Choose another: PORT=${port + 1} npm start\n`,
    );
  });
});

describe('the embedded database', () => {
  test('runs the next query after an SQL error, and queries of several clients at once', async () => {
    const { pool, close } = await openDatabase();
    try {
      await expect(pool.query('SELECT nothing')).rejects.toThrow('"nothing" does not exist');
      const others = [1, 2].map(() => new pg.Client(pool.options as pg.ClientConfig));
      for (const other of others) await other.connect();
      const read = async (from: pg.Pool | pg.Client) => {
        for (let n = 0; n < 50; n++)
          expect((await from.query('SELECT $1::int AS n', [n])).rows).toEqual([{ n }]);
      };
      await Promise.all([pool, ...others].map(read));
      // The session of a client that leaves within a transaction goes on to the next one.
      const leaving = new pg.Client(pool.options as pg.ClientConfig);
      await leaving.connect();
      await leaving.query('BEGIN; CREATE TABLE left_behind ()');
      const next = pool.query(`SELECT to_regclass('left_behind') AS found`);
      await leaving.end();
      expect((await next).rows).toEqual([{ found: null }]);
      for (const other of others) await other.end();
    } finally {
      await close();
    }
  });
});

describe('the settings', () => {
  test('use defaults for an empty environment', () => {
    expect(settingsFromEnv({})).toMatchObject({
      port: 3_000,
      databaseUrl: undefined,
      products: 20_000,
      orderItems: 200_000,
      allowedHosts: ['localhost', '127.0.0.1', '[::1]'],
      demo: true,
    });
  });

  test('turn the demonstration off in production, and with DEMO=0', () => {
    expect(settingsFromEnv({ NODE_ENV: 'production' }).demo).toBe(false);
    expect(settingsFromEnv({ DEMO: '0' }).demo).toBe(false);
  });

  test.each([
    ['PORT', '65536'],
    ['PORT', '80a'],
    ['RATE_LIMIT', '-1'],
    ['SEED_PRODUCTS', '1e4'],
  ])('name the variable %s when its value %s is invalid', (name, value) => {
    expect(() => settingsFromEnv({ [name]: value })).toThrow(`${name} is "${value}"`);
  });
});
